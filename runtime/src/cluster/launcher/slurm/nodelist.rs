//! Slurm's compact lists: `n[01-03,7],m1` of hosts and `2(x3),1` of numbers for each host.

/// The hosts of a list, in its order.
///
/// # Errors
/// Where the list is not understood, or is too long.
pub fn expand_nodelist(list: &str) -> Result<Vec<String>, String> {
    let mut hosts = Vec::new();
    for item in split_outside_brackets(list)? {
        expand_item(item, &mut hosts)?;
    }
    Ok(hosts)
}

/// The number of each host in a list such as `2(x3),1`.
///
/// # Errors
/// Where the list is not understood, or is too long.
pub fn expand_counts(list: &str) -> Result<Vec<u32>, String> {
    let mut counts = Vec::new();
    for item in list.split(',') {
        let wrong = || format!("\"{}\" is not a number of tasks", item.escape_default());
        let (count, times) = match item.split_once("(x") {
            Some((count, times)) => (count, times.strip_suffix(')').ok_or_else(wrong)?),
            None => (item, "1"),
        };
        let count: u32 = count.parse().map_err(|_| wrong())?;
        let times: usize = times.parse().map_err(|_| wrong())?;
        if times > HOSTS_MAX - counts.len() {
            return Err(format!("there are more than {HOSTS_MAX} hosts"));
        }
        counts.extend(std::iter::repeat_n(count, times));
    }
    Ok(counts)
}

/// The items between commas that stand in no bracket.
fn split_outside_brackets(list: &str) -> Result<Vec<&str>, String> {
    let (mut items, mut start, mut inside) = (Vec::new(), 0, false);
    for (at, byte) in list.bytes().enumerate() {
        match byte {
            b'[' | b']' if inside == (byte == b'[') => {
                return Err(format!("a bracket is wrong at {}", list[at..].escape_default()));
            }
            b'[' | b']' => inside = !inside,
            b',' if !inside => {
                items.push(&list[start..at]);
                start = at + 1;
            }
            _ => {}
        }
    }
    if inside {
        return Err("a bracket is not closed".to_owned());
    }
    items.push(&list[start..]);
    Ok(items)
}

/// `prefix[ranges]rest`, where the rest may have brackets, too.
fn expand_item(item: &str, hosts: &mut Vec<String>) -> Result<(), String> {
    let mut names = vec![String::new()];
    let mut rest = item;
    while let Some((before, after)) = rest.split_once('[') {
        let (ranges, after) = after.split_once(']').ok_or("a bracket is not closed")?;
        let numbers = expand_ranges(ranges)?;
        if names.len().saturating_mul(numbers.len()) > HOSTS_MAX {
            return Err(format!("there are more than {HOSTS_MAX} hosts"));
        }
        let longer = |name: &String| {
            let number = |number: &String| format!("{name}{before}{number}");
            numbers.iter().map(number).collect::<Vec<_>>()
        };
        names = names.iter().flat_map(longer).collect();
        rest = after;
    }
    names.iter_mut().for_each(|name| name.push_str(rest));
    if names.iter().any(|name| !is_name(name)) {
        return Err(format!("\"{}\" is not the name of a host", item.escape_default()));
    }
    hosts.append(&mut names);
    match hosts.len() > HOSTS_MAX {
        true => Err(format!("there are more than {HOSTS_MAX} hosts")),
        false => Ok(()),
    }
}

/// `01-03,7`: numbers keep the width of their first one.
fn expand_ranges(ranges: &str) -> Result<Vec<String>, String> {
    let mut numbers = Vec::new();
    for range in ranges.split(',') {
        let wrong = || format!("\"{}\" is not a range of numbers", range.escape_default());
        let (first, last) = range.split_once('-').unwrap_or((range, range));
        let number = |text: &str| {
            let digits = text.len() <= 9 && text.bytes().all(|byte| byte.is_ascii_digit());
            text.parse::<usize>().ok().filter(|_| digits).ok_or_else(wrong)
        };
        let (low, high) = (number(first)?, number(last)?);
        if low > high {
            return Err(wrong());
        }
        if high - low >= HOSTS_MAX - numbers.len() {
            return Err(format!("there are more than {HOSTS_MAX} hosts"));
        }
        numbers.extend((low..=high).map(|number| format!("{number:0width$}", width = first.len())));
    }
    Ok(numbers)
}

/// A word that no program takes for an option.
fn is_name(name: &str) -> bool {
    let is_right = |c: char| c.is_ascii_alphanumeric() || matches!(c, '.' | '-' | '_');
    !name.is_empty() && !name.starts_with('-') && name.len() <= 253 && name.chars().all(is_right)
}

/// Far more hosts than a full mesh of links serves well.
const HOSTS_MAX: usize = 4096;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lists_of_hosts() {
        for (list, expected) in [
            ("n1", "n1"),
            ("n[01-03,7],m1", "n01 n02 n03 n7 m1"),
            ("n[09-11]", "n09 n10 n11"),
            ("n[8-10].site", "n8.site n9.site n10.site"),
            ("r[1-2]n[1-2],x", "r1n1 r1n2 r2n1 r2n2 x"),
            ("a,b,c-d", "a b c-d"),
            ("n[000]", "n000"),
        ] {
            let hosts = expand_nodelist(list).unwrap_or_else(|error| panic!("{list}: {error}"));
            assert_eq!(hosts.join(" "), expected, "{list}");
        }
    }

    #[test]
    fn wrong_lists_of_hosts() {
        for list in [
            "",
            "n[",
            "n]",
            "n[1",
            "n[]",
            "n[3-1]",
            "n[a]",
            "n[1-]",
            "a,,b",
            "-o[1-2]",
            "n[1-9999999]",
            "n[[1]]",
            "n[0-99][0-99]",
            "n[+1]",
            "a b",
            "n[1-2000],m[1-2000],o[1-2000]",
        ] {
            assert!(expand_nodelist(list).is_err(), "{list}");
        }
    }

    #[test]
    fn lists_of_numbers() {
        assert_eq!(expand_counts("2(x3),1"), Ok(vec![2, 2, 2, 1]));
        assert_eq!(expand_counts("16"), Ok(vec![16]));
        for list in ["", "2(x", "2(x3", "2x3", "a", "1(x9999999)", "1,", "1(x3000),1(x3000)"] {
            assert!(expand_counts(list).is_err(), "{list}");
        }
    }
}
