//! Lists of hosts, as mpirun and Hydra write them.
//!
//! ```text
//! # comment
//! node1 slots=4 max_slots=8     mpirun: ranks that fit, and the most there may ever be
//! node2:4                       Hydra: the same without a limit
//! ann@node3                     another user there
//! [2001:db8::7]:2               an IPv6 address is in brackets
//! ```
//!
//! and on the command line `--host node1:2,ann@node3`. A host that is named repeatedly has the sum
//! of its slots. Nothing of a list is trusted: a name becomes an argument of ssh, so that one which
//! could be an option of it is refused.

use std::{fmt, io::Read as _, path::Path};

/// A host and how many ranks fit on it.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Host {
    /// Name or address, an IPv6 one without brackets.
    pub name: String,
    /// The user there, if it is another one.
    pub user: Option<String>,
    /// Ranks that fit; unknown if the list does not say.
    pub slots: Option<u32>,
    /// Most ranks there may be, even when oversubscribed.
    pub slots_max: Option<u32>,
    /// How often the host was named without a number of slots, and at least 1.
    pub mentions: u32,
}

/// The hosts of a job in the order in which they were named first.
#[derive(Clone, Debug, Default, Eq, PartialEq)]
pub struct HostList {
    hosts: Vec<Host>,
}

/// What is wrong with a list of hosts.
#[derive(Clone, Debug, Eq, PartialEq, thiserror::Error)]
#[error("{place}: {cause} {remedy}")]
pub struct HostError {
    /// File and line, or the option, with the text.
    place: String,
    cause: String,
    remedy: String,
}

impl HostList {
    /// The hosts of a file's text; `file` is its name, for errors.
    ///
    /// # Errors
    /// The first line that is not understood, or a file without hosts.
    pub fn parse_file(file: &str, text: &str) -> Result<Self, HostError> {
        let mut list = Self::default();
        for (number, line) in (1..).zip(text.lines()) {
            let line = line.split('#').next().unwrap_or_default().trim();
            if line.is_empty() {
                continue;
            }
            let at = |problem: Problem| problem.at(format!("{file}:{number}: `{}`", shown(line)));
            parse_line(line).and_then(|host| list.add(host)).map_err(at)?;
        }
        if list.hosts.is_empty() {
            let remedy = "Write one host a line, as in `node1 slots=4`.";
            return Err(Problem::new("The file names no host.", remedy).at(file.to_owned()));
        }
        Ok(list)
    }

    /// The hosts of a list on the command line: `a:2,b`.
    ///
    /// # Errors
    /// The first name that is not understood.
    pub fn parse_list(text: &str) -> Result<Self, HostError> {
        let mut list = Self::default();
        for name in text.split(',') {
            let at = |problem: Problem| problem.at(format!("--host {}", shown(name)));
            parse_host(name.trim()).and_then(|host| list.add(host)).map_err(at)?;
        }
        Ok(list)
    }

    /// Reads a file of hosts.
    ///
    /// # Errors
    /// A file that cannot be read, is too long or is not understood.
    pub fn read(path: &Path) -> Result<Self, HostError> {
        let file = path.display().to_string();
        let mut bytes = Vec::new();
        let read = std::fs::File::open(path)
            .and_then(|file| file.take(FILE_BYTES_MAX + 1).read_to_end(&mut bytes));
        if let Err(error) = read {
            let cause = format!("The list of hosts cannot be read: {error}.");
            return Err(Problem::new(cause, "Check --hostfile.").at(file));
        }
        if bytes.len() as u64 > FILE_BYTES_MAX {
            let cause = format!("This is longer than {FILE_BYTES_MAX} bytes.");
            return Err(Problem::new(cause, "Is it a list of hosts? Check --hostfile.").at(file));
        }
        match std::str::from_utf8(&bytes) {
            Ok(text) => Self::parse_file(&file, text),
            Err(_) => {
                let remedy = "A list of hosts is plain text. Check --hostfile.";
                Err(Problem::new("This is not UTF-8 text.", remedy).at(file))
            }
        }
    }

    /// Adds the hosts of another list; slots of a host in both add up.
    ///
    /// # Errors
    /// Two users for one host, or too many hosts.
    pub fn extend(&mut self, other: Self) -> Result<(), HostError> {
        for host in other.hosts {
            let name = host.name.clone();
            self.add(host).map_err(|problem| problem.at(name))?;
        }
        Ok(())
    }

    /// Only the hosts that `chosen` names, as mpirun does when it is given a file and `--host`.
    /// Slots are those of `chosen` where it says how many.
    ///
    /// # Errors
    /// A chosen host that this list does not have.
    pub fn restrict(&self, chosen: &Self) -> Result<Self, HostError> {
        let pick = |choice: &Host| {
            let known = self.hosts.iter().find(|host| host.name == choice.name);
            let known = known.ok_or_else(|| {
                let cause = "This host is not in the list of hosts.";
                let remedy = "Add it to the file of --hostfile, or leave one of both options out.";
                Problem::new(cause, remedy).at(format!("--host {}", choice.name))
            })?;
            let mut host = known.clone();
            host.slots = choice.slots.or(host.slots);
            host.user = choice.user.clone().or(host.user);
            Ok(host)
        };
        Ok(Self { hosts: chosen.hosts.iter().map(pick).collect::<Result<_, _>>()? })
    }

    /// The hosts.
    pub fn hosts(&self) -> &[Host] {
        &self.hosts
    }

    /// Adds a host, or the slots of one that is known.
    fn add(&mut self, host: Host) -> Result<(), Problem> {
        let Some(known) = self.hosts.iter_mut().find(|known| known.name == host.name) else {
            if self.hosts.len() == HOSTS_MAX {
                let cause = format!("There are more than {HOSTS_MAX} hosts.");
                return Err(Problem::new(cause, "Use fewer."));
            }
            self.hosts.push(host);
            return Ok(());
        };
        if known.user.is_some() && host.user.is_some() && known.user != host.user {
            let cause = format!("{} was named before with another user.", known.name);
            return Err(Problem::new(cause, "A host has one node process and one user."));
        }
        known.user = known.user.take().or(host.user);
        known.slots_max = known.slots_max.or(host.slots_max);
        // A mention without a number is one slot as soon as another mention counts slots.
        let (before, more) = (known.slots, host.slots);
        if before.is_none() && more.is_none() {
            known.mentions = known.mentions.saturating_add(host.mentions);
            return Ok(());
        }
        let sum = before.unwrap_or(known.mentions).checked_add(more.unwrap_or(host.mentions));
        let sum = sum.filter(|sum| *sum <= SLOTS_MAX).ok_or_else(|| {
            let cause = format!("{} has more than {SLOTS_MAX} slots together.", known.name);
            Problem::new(cause, "Give fewer.")
        })?;
        check_max(sum, known.slots_max)?;
        (known.slots, known.mentions) = (Some(sum), 1);
        Ok(())
    }
}

/// The list as a file that leads to the same list.
impl fmt::Display for HostList {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.hosts.iter().try_for_each(|host| {
            (0..host.mentions).try_for_each(|again| match again {
                0 => writeln!(f, "{host}"),
                _ => writeln!(f, "{}", Bracketed(&host.name)),
            })
        })
    }
}

impl fmt::Display for Host {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if let Some(user) = &self.user {
            write!(f, "{user}@")?;
        }
        write!(f, "{}", Bracketed(&self.name))?;
        if let Some(slots) = self.slots {
            write!(f, " slots={slots}")?;
        }
        self.slots_max.map_or(Ok(()), |slots_max| write!(f, " max_slots={slots_max}"))
    }
}

struct Bracketed<'a>(&'a str);

impl fmt::Display for Bracketed<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.0.contains(':') { write!(f, "[{}]", self.0) } else { f.write_str(self.0) }
    }
}

/// Cause and remedy of a [`HostError`], each a full sentence.
struct Problem {
    cause: String,
    remedy: String,
}

impl Problem {
    fn new(cause: impl Into<String>, remedy: impl Into<String>) -> Self {
        Self { cause: cause.into(), remedy: remedy.into() }
    }

    fn at(self, place: String) -> HostError {
        HostError { place, cause: self.cause, remedy: self.remedy }
    }
}

/// `[user@]host[:slots] [key=value ...]`, without comment.
fn parse_line(line: &str) -> Result<Host, Problem> {
    // Blanks around `=` are allowed; what is left of them separates words.
    let pieces: Vec<&str> = line.split('=').map(str::trim).collect();
    let line = pieces.join("=");
    let mut words = line.split_whitespace();
    let mut host = parse_host(words.next().unwrap_or_default())?;
    for word in words {
        let unknown = || {
            let remedy = "A host may have `slots=N`, `max_slots=N` and `user=NAME`.";
            Problem::new(format!("`{}` says nothing about a host.", shown(word)), remedy)
        };
        let (key, value) = word.split_once('=').ok_or_else(unknown)?;
        match key.to_ascii_lowercase().as_str() {
            "slots" | "count" | "cpu" | "cpus" => host.slots = Some(slots(value)?),
            "max_slots" | "max-slots" | "slots_max" | "slots-max" => {
                host.slots_max = Some(slots(value)?);
            }
            "user" | "username" | "user_name" | "user-name" => host.user = Some(user(value)?),
            _ => return Err(unknown()),
        }
    }
    if let Some(slots) = host.slots {
        check_max(slots, host.slots_max)?;
    }
    Ok(host)
}

/// `[user@]host[:slots]`.
fn parse_host(word: &str) -> Result<Host, Problem> {
    let (user, rest) = match word.rsplit_once('@') {
        Some((name, rest)) => (Some(user(name)?), rest),
        None => (None, word),
    };
    let (name, count) = match rest.strip_prefix('[') {
        Some(rest) => {
            let (name, rest) = rest.split_once(']').ok_or_else(|| {
                Problem::new("A bracket is not closed.", "Write it as in `[2001:db8::7]:4`.")
            })?;
            let count = match rest.strip_prefix(':') {
                None if !rest.is_empty() => return Err(bad_name(rest)),
                count => count,
            };
            (address(name)?, count)
        }
        None => match rest.split_once(':') {
            Some((_, count)) if count.contains(':') => {
                let cause = "An address with several colons must be in brackets.";
                return Err(Problem::new(cause, "Write it as in `[2001:db8::7]:4`."));
            }
            Some((name, count)) => (host_name(name)?, Some(count)),
            None => (host_name(rest)?, None),
        },
    };
    let slots = count.map(slots).transpose()?;
    Ok(Host { name, user, slots, slots_max: None, mentions: 1 })
}

fn slots(text: &str) -> Result<u32, Problem> {
    text.parse().ok().filter(|slots| (1..=SLOTS_MAX).contains(slots)).ok_or_else(|| {
        let cause = format!("`{}` is not a number of slots.", shown(text));
        Problem::new(cause, format!("Give a whole number from 1 to {SLOTS_MAX}."))
    })
}

fn check_max(slots: u32, slots_max: Option<u32>) -> Result<(), Problem> {
    match slots_max {
        Some(slots_max) if slots > slots_max => Err(Problem::new(
            format!("The host has {slots} slots, but max_slots is {slots_max}."),
            "Lower the one or raise the other.",
        )),
        _ => Ok(()),
    }
}

fn host_name(text: &str) -> Result<String, Problem> {
    let is_right = |c: char| c.is_ascii_alphanumeric() || matches!(c, '.' | '-' | '_');
    name(text, is_right).ok_or_else(|| bad_name(text))
}

fn user(text: &str) -> Result<String, Problem> {
    let is_right = |c: char| c.is_ascii_alphanumeric() || matches!(c, '.' | '-' | '_' | '+' | '\\');
    name(text, is_right).ok_or_else(|| {
        let cause = format!("`{}` is not the name of a user.", shown(text));
        Problem::new(cause, "Write it as in `ann@node1`.")
    })
}

/// An IPv6 address, with a zone if it is link-local.
fn address(text: &str) -> Result<String, Problem> {
    let (address, zone) = match text.split_once('%') {
        Some((address, zone)) => (address, Some(zone)),
        None => (text, None),
    };
    let is_zone = |zone| name(zone, |c| c.is_ascii_alphanumeric() || c == '-').is_some();
    if address.parse::<std::net::Ipv6Addr>().is_ok() && zone.is_none_or(is_zone) {
        return Ok(text.to_owned());
    }
    let cause = format!("`{}` is not an IPv6 address.", shown(text));
    Err(Problem::new(cause, "Only such an address is in brackets, as in `[2001:db8::7]:4`."))
}

/// A word that no program takes for an option.
fn name(text: &str, is_right: impl Fn(char) -> bool) -> Option<String> {
    let fits = !text.is_empty() && text.len() <= NAME_BYTES_MAX && !text.starts_with('-');
    (fits && text.chars().all(is_right)).then(|| text.to_owned())
}

fn bad_name(text: &str) -> Problem {
    let cause = format!("`{}` is not the name of a host.", shown(text));
    Problem::new(cause, "Names have letters, digits, `.`, `-` and `_`, as in `node1:4`.")
}

/// A piece of the input that is fit for an error message.
fn shown(text: &str) -> String {
    let clean: String =
        text.chars().take(SHOWN_CHARS_MAX).map(|c| if c.is_control() { '?' } else { c }).collect();
    if text.chars().count() > SHOWN_CHARS_MAX { format!("{clean}...") } else { clean }
}

/// Far more hosts than a full mesh of links serves well.
const HOSTS_MAX: usize = 4096;
/// Far more ranks than fit into the address space of a machine.
const SLOTS_MAX: u32 = 1_000_000;
/// A name of the domain name system has at most 253 bytes.
const NAME_BYTES_MAX: usize = 253;
/// A line for each host, with room for comments.
const FILE_BYTES_MAX: u64 = 1 << 20;
/// How much of a wrong line is repeated.
const SHOWN_CHARS_MAX: usize = 60;

#[cfg(test)]
#[path = "hostfile_tests.rs"]
mod tests;
