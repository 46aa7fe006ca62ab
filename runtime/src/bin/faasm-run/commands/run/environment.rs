//! Which environment variables the ranks see.

use std::{collections::BTreeMap, ffi::OsString};

use crate::args::{EnvBase, EnvRule};

/// Variables before the rules of the command line are applied.
pub(super) struct Environment {
    variables: BTreeMap<String, String>,
    /// Where a rule that passes on a variable takes it from.
    ours: fn(&str) -> Option<OsString>,
}

impl Environment {
    /// Nothing, with rules that take values from our environment.
    pub(super) fn ours() -> Self {
        Self { variables: BTreeMap::new(), ours: |name| std::env::var_os(name) }
    }

    /// What `base` says of our environment. Variables that are no text stay out: a guest's are
    /// text.
    pub(super) fn based_on(base: EnvBase) -> Self {
        let mut environment = Self::ours();
        if base == EnvBase::All {
            let texts = std::env::vars_os().filter_map(|(key, value)| {
                Some((key.into_string().ok()?, value.into_string().ok()?))
            });
            environment.variables.extend(texts);
            // A secret of the launcher, not of the job.
            environment.variables.remove("FAASM_TOKEN");
        }
        environment
    }

    /// Applies rules in their order; a variable that cannot be passed on is named unless `quiet`.
    pub(super) fn apply(mut self, rules: &[EnvRule], quiet: bool) -> BTreeMap<String, String> {
        for rule in rules {
            match rule {
                EnvRule::Set(name, value) => {
                    self.variables.insert(name.clone(), value.clone());
                }
                EnvRule::Forward(name) => match (self.ours)(name).map(OsString::into_string) {
                    Some(Ok(value)) => {
                        self.variables.insert(name.clone(), value);
                    }
                    Some(Err(_)) if !quiet => {
                        eprintln!("faasm-run: note: {name} is not UTF-8 and is not passed on");
                    }
                    None if !quiet => {
                        eprintln!("faasm-run: note: {name} is not set and is not passed on");
                    }
                    Some(Err(_)) | None => {}
                },
            }
        }
        self.variables
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rules_apply_in_order() {
        let set = |name: &str, value: &str| EnvRule::Set(name.into(), value.into());
        let environment = Environment {
            variables: BTreeMap::from([("A".into(), "1".into()), ("B".into(), "1".into())]),
            ours: |name| (name == "C").then(|| "ours".into()),
        };
        let rules = [
            set("A", "2"),
            set("C", "3"),
            EnvRule::Forward("C".into()),
            EnvRule::Forward("D".into()),
        ];
        let expected = [("A", "2"), ("B", "1"), ("C", "ours")];
        let applied = environment.apply(&rules, true);
        assert!(applied.iter().map(|(key, value)| (&**key, &**value)).eq(expected), "{applied:?}");
    }
}
