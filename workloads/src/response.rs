//! Response files: `@file` on a command line stands for the words in the file.

use std::{fs, path::PathBuf};

use crate::error::{Error, Result};

/// Replaces each `@file` in `arguments` by the words in the file, which may name further files.
///
/// As with gcc, an `@file` that does not exist stays as it is.
///
/// # Errors
/// Fails when a file exists but cannot be read, or when files include each other endlessly.
pub(crate) fn expand(arguments: Vec<String>) -> Result<Vec<String>> {
    let mut expanded = Vec::with_capacity(arguments.len());
    for argument in arguments {
        expand_one(argument, 0, &mut expanded)?;
    }
    Ok(expanded)
}

fn expand_one(argument: String, depth: usize, expanded: &mut Vec<String>) -> Result<()> {
    let path = match argument.strip_prefix('@').map(PathBuf::from) {
        Some(path) if path.is_file() => path,
        _ => {
            expanded.push(argument);
            return Ok(());
        }
    };
    if depth >= DEPTH_MAX {
        return Err(Error::ResponseTooDeep { path, depth_max: DEPTH_MAX });
    }
    let text = fs::read_to_string(&path).map_err(Error::file("read", &path))?;
    for word in split(&text) {
        expand_one(word, depth + 1, expanded)?;
    }
    Ok(())
}

/// Splits `text` into words as gcc does: white space separates, quotes group, a backslash takes the next
/// character literally.
fn split(text: &str) -> Vec<String> {
    let mut words = Vec::new();
    let mut word: Option<String> = None;
    let mut quote = None;
    let mut characters = text.chars();
    while let Some(character) = characters.next() {
        match (character, quote) {
            ('\\', _) => word.get_or_insert_default().extend(characters.next()),
            (_, Some(open)) if character == open => quote = None,
            (_, Some(_)) => word.get_or_insert_default().push(character),
            ('"' | '\'', None) => {
                quote = Some(character);
                word.get_or_insert_default();
            }
            _ if character.is_whitespace() => words.extend(word.take()),
            _ => word.get_or_insert_default().push(character),
        }
    }
    words.extend(word);
    words
}

/// Writes `words` so that [`split`] and clang read the same words again.
pub(crate) fn join(words: &[String]) -> String {
    let mut text = String::new();
    for word in words {
        text.push('"');
        for character in word.chars() {
            if matches!(character, '"' | '\\') {
                text.push('\\');
            }
            text.push(character);
        }
        text.push_str("\"\n");
    }
    text
}

/// How deep response files may name further ones.
const DEPTH_MAX: usize = 16;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn words_are_split_like_gcc() {
        let words = split("-DA=\"b c\" 'd e'\n  -I\\ f \"\" g\\\\h");
        assert_eq!(words, ["-DA=b c", "d e", "-I f", "", "g\\h"]);
    }

    #[test]
    fn join_and_split_are_inverse() {
        let words = ["a b", "", "\"q\"", "back\\slash", "'", "x\ny"].map(str::to_owned);
        assert_eq!(split(&join(&words)), words);
    }

    #[test]
    fn files_expand_recursively_and_a_cycle_is_an_error() {
        let dir = tempfile::tempdir().expect("a temporary directory");
        let inner = dir.path().join("inner");
        let outer = dir.path().join("outer");
        fs::write(&inner, "b c").expect("written");
        fs::write(&outer, format!("a @{}", inner.display())).expect("written");
        let words = expand(vec![format!("@{}", outer.display()), "@nowhere".into()]);
        assert_eq!(words.expect("expanded"), ["a", "b", "c", "@nowhere"]);
        fs::write(&inner, format!("@{}", outer.display())).expect("written");
        assert!(expand(vec![format!("@{}", outer.display())]).is_err());
    }
}
