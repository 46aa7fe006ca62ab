//! Ports and published names (MPI-5.0 sections 11.9.2 and 11.9.4), the `soft` number of processes
//! (section 11.8.1) and the `host`s they may be on (section 11.8.4).

use alloc::collections::{BTreeMap, BTreeSet};
use alloc::format;
use alloc::string::{String, ToString};
use alloc::vec::Vec;

use crate::error::{ErrorClass, MpiError, Result};

/// Most ports, and most names, that are known at the same time.
const ENTRIES_MAX: usize = 1 << 16;

/// A port: the process that opened it, and its number among those.
#[derive(
    Copy, Clone, Debug, Eq, Ord, PartialEq, PartialOrd, serde::Serialize, serde::Deserialize,
)]
pub struct Port {
    /// The process.
    pub process: u32,
    /// What distinguishes it from the process's other ports.
    pub number: u32,
    /// What distinguishes its job from others.
    pub job: u32,
}

impl core::fmt::Display for Port {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        write!(f, "faasm-port:{:08x}:{}:{}", self.job, self.process, self.number)
    }
}

impl Port {
    /// The port with this name.
    ///
    /// # Errors
    /// `MPI_ERR_PORT` when it is no name of a port.
    pub fn parse(name: &str) -> Result<Self> {
        let read = || {
            let mut parts = name.strip_prefix("faasm-port:")?.split(':');
            let job = u32::from_str_radix(parts.next()?, 16).ok()?;
            let (process, number) = (parts.next()?.parse().ok()?, parts.next()?.parse().ok()?);
            parts.next().is_none().then_some(Self { process, number, job })
        };
        read().ok_or_else(|| {
            let detail = format!("{name:?} is not a name that MPI_Open_port gave");
            MpiError::argument(ErrorClass::Port, "port_name", detail)
        })
    }
}

/// The open ports and the published names of a job.
#[derive(Clone, Debug, Default, Eq, PartialEq, serde::Serialize, serde::Deserialize)]
pub struct Registry {
    ports: BTreeSet<Port>,
    names: BTreeMap<String, String>,
    last: u32,
}

impl Registry {
    /// Whether it has no port and no name.
    pub fn is_empty(&self) -> bool {
        self.ports.is_empty() && self.names.is_empty()
    }

    /// Opens a port of `process`.
    ///
    /// # Errors
    /// `MPI_ERR_NO_MEM` when there are too many.
    pub fn open(&mut self, job: u32, process: u32) -> Result<Port> {
        if self.ports.len() >= ENTRIES_MAX {
            let detail = format!("{ENTRIES_MAX} ports are open; close some with MPI_Close_port");
            return Err(MpiError::new(ErrorClass::NoMem, detail));
        }
        self.last = (self.last + 1) & i32::MAX.cast_unsigned();
        let port = Port { process, number: self.last, job };
        self.ports.insert(port);
        Ok(port)
    }

    /// Closes a port.
    ///
    /// # Errors
    /// `MPI_ERR_PORT` when it is not open.
    pub fn close(&mut self, port: Port) -> Result<()> {
        self.find(port)?;
        self.ports.remove(&port);
        Ok(())
    }

    /// Closes the ports of a process that has failed, and takes their names back.
    pub fn forget(&mut self, process: u32) {
        self.ports.retain(|port| port.process != process);
        let is_its = |port: &str| Port::parse(port).is_ok_and(|port| port.process == process);
        self.names.retain(|_, port| !is_its(port));
    }

    /// Checks that a port is open.
    ///
    /// # Errors
    /// `MPI_ERR_PORT` when it is not.
    pub fn find(&self, port: Port) -> Result<()> {
        if self.ports.contains(&port) {
            return Ok(());
        }
        let detail = format!(
            "no port of this job is open as {port}; it was closed, or belongs to another job, with \
             which processes cannot be connected"
        );
        Err(MpiError::argument(ErrorClass::Port, "port_name", detail))
    }

    /// Publishes a port under the name of a service.
    ///
    /// # Errors
    /// `MPI_ERR_SERVICE` when the name is in use; `MPI_ERR_NO_MEM` when there are too many.
    pub fn publish(&mut self, service: &str, port: &str) -> Result<()> {
        if self.names.contains_key(service) {
            let detail = format!("{service:?} is published already; unpublish it first");
            return Err(MpiError::argument(ErrorClass::Service, "service_name", detail));
        }
        if self.names.len() >= ENTRIES_MAX {
            let detail = format!("{ENTRIES_MAX} names are published; unpublish some");
            return Err(MpiError::new(ErrorClass::NoMem, detail));
        }
        self.names.insert(service.to_string(), port.to_string());
        Ok(())
    }

    /// Takes a name back.
    ///
    /// # Errors
    /// `MPI_ERR_SERVICE` when it was not published with this port.
    pub fn unpublish(&mut self, service: &str, port: &str) -> Result<()> {
        if self.names.get(service).is_none_or(|published| published != port) {
            let detail = format!("{service:?} is not published with this port");
            return Err(MpiError::argument(ErrorClass::Service, "service_name", detail));
        }
        self.names.remove(service);
        Ok(())
    }

    /// The port that is published under a name.
    ///
    /// # Errors
    /// `MPI_ERR_NAME` when none is.
    pub fn look_up(&self, service: &str) -> Result<&str> {
        self.names.get(service).map(String::as_str).ok_or_else(|| {
            let detail = format!(
                "no process of this job has published {service:?} with MPI_Publish_name; names are \
                 known within a job"
            );
            MpiError::argument(ErrorClass::Name, "service_name", detail)
        })
    }
}

/// The largest number up to `most` that the value of the key `soft` allows: ranges `a`, `a:b` and
/// `a:b:step`, with commas between.
///
/// # Errors
/// `MPI_ERR_INFO_VALUE` when it is malformed; `MPI_ERR_SPAWN` when it allows no number up to `most`.
pub fn soft(value: &str, most: u32) -> Result<u32> {
    let malformed = || {
        let detail = format!("{value:?} is no list of numbers and ranges such as 1,4:16:4");
        MpiError::argument(ErrorClass::InfoValue, "info", detail)
    };
    let mut best: Option<u32> = None;
    for range in value.split(',') {
        let mut numbers = range.split(':').map(|text| text.trim().parse::<i64>());
        let mut next = || numbers.next().transpose().map_err(|_| malformed());
        let first = next()?.ok_or_else(malformed)?;
        let (last, step) = (next()?.unwrap_or(first), next()?.unwrap_or(1));
        if step == 0 || next()?.is_some() {
            return Err(malformed());
        }
        best = best.max(largest((first, last, step), i64::from(most)));
    }
    best.ok_or_else(|| {
        let detail = format!("the key soft, {value:?}, allows no number from 0 to {most}");
        MpiError::argument(ErrorClass::Spawn, "info", detail)
    })
}

/// A host that processes may be spawned on.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct HostShare {
    /// Its name or address, an IPv6 one without brackets.
    pub name: String,
    /// Processes of the program that may be there at most, if the list says.
    pub slots: Option<u32>,
}

/// Most hosts of a list.
pub const HOSTS_MAX: usize = 4096;

/// The hosts of the value of the key `host`: names, each maybe with a number of slots as in `a:2,b`. Slots of a
/// host that is named repeatedly add up; a mention without a number is one as soon as another one counts.
///
/// # Errors
/// `MPI_ERR_INFO_VALUE` when it is malformed or too long.
pub fn hosts(value: &str) -> Result<Vec<HostShare>> {
    let malformed = || {
        let detail = format!("{value:?} is no list of hosts such as a,b:2");
        MpiError::argument(ErrorClass::InfoValue, "info", detail)
    };
    let mut all: Vec<(HostShare, u32)> = Vec::new();
    for text in value.split(',') {
        let share = host(text.trim()).ok_or_else(malformed)?;
        let known = all.iter_mut().find(|(known, _)| known.name == share.name);
        let Some((known, mentions)) = known else {
            if all.len() == HOSTS_MAX {
                return Err(malformed());
            }
            all.push((share, 1));
            continue;
        };
        if known.slots.is_some() || share.slots.is_some() {
            let (before, more) = (known.slots.unwrap_or(*mentions), share.slots.unwrap_or(1));
            known.slots = Some(before.saturating_add(more));
        }
        *mentions = mentions.saturating_add(1);
    }
    Ok(all.into_iter().map(|(share, _)| share).collect())
}

/// `name`, `name:slots`, `[address]` or `[address]:slots`.
fn host(text: &str) -> Option<HostShare> {
    let (name, rest) = match text.strip_prefix('[') {
        Some(address) => address.split_once(']')?,
        // An address of IPv6 without brackets has no slots.
        None if text.matches(':').count() > 1 => (text, ""),
        None => text.find(':').map_or((text, ""), |at| text.split_at(at)),
    };
    let slots = match rest.strip_prefix(':') {
        Some(slots) => Some(slots.trim().parse().ok().filter(|slots| *slots > 0)?),
        None if rest.is_empty() => None,
        None => return None,
    };
    let is_name = !name.is_empty() && !name.contains(char::is_whitespace);
    is_name.then(|| HostShare { name: name.to_string(), slots })
}

/// The largest number of a range that is from 0 to `most`.
fn largest((first, last, step): (i64, i64, i64), most: i64) -> Option<u32> {
    let (low, high, stride) = match step > 0 {
        true => (first, last, step),
        // Counted from its first number, whichever way it runs.
        false => {
            let steps = first.checked_sub(last)?.checked_div(step.checked_neg()?)?;
            (first + steps.max(0) * step, if steps < 0 { i64::MIN } else { first }, -step)
        }
    };
    let top = high.min(most);
    let fits = top.checked_sub(low).filter(|room| *room >= 0)?;
    u32::try_from(low + fits / stride * stride).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn class<T: core::fmt::Debug>(result: Result<T>) -> ErrorClass {
        result.expect_err("it fails").class
    }

    #[test]
    fn ports_are_known_by_their_names_until_they_are_closed() {
        let mut registry = Registry::default();
        let port = registry.open(7, 3).expect("room");
        assert_ne!(registry.open(7, 3), Ok(port));
        assert_eq!(Port::parse(&port.to_string()), Ok(port));
        assert_eq!(registry.find(port), Ok(()));
        assert_eq!(registry.close(port), Ok(()));
        assert_eq!(class(registry.close(port)), ErrorClass::Port);
        for name in ["", "faasm-port:", "faasm-port:1:2", "faasm-port:1:2:3:4", "tcp://x"] {
            assert_eq!(class(Port::parse(name)), ErrorClass::Port, "{name}");
        }
    }

    #[test]
    fn names_are_published_once() {
        let mut registry = Registry::default();
        assert_eq!(registry.publish("ocean", "a"), Ok(()));
        assert_eq!(class(registry.publish("ocean", "b")), ErrorClass::Service);
        assert_eq!(registry.look_up("ocean"), Ok("a"));
        assert_eq!(class(registry.unpublish("ocean", "b")), ErrorClass::Service);
        assert_eq!(registry.unpublish("ocean", "a"), Ok(()));
        assert_eq!(class(registry.look_up("ocean")), ErrorClass::Name);
    }

    #[test]
    fn what_a_failed_process_had_is_forgotten() {
        let mut registry = Registry::default();
        let [lost, kept] = [3, 4].map(|process| registry.open(7, process).expect("room"));
        for (name, port) in [("sea", lost), ("ocean", lost), ("lake", kept)] {
            assert_eq!(registry.publish(name, &port.to_string()), Ok(()));
        }
        registry.forget(3);
        assert_eq!(class(registry.find(lost)), ErrorClass::Port);
        assert_eq!(registry.find(kept), Ok(()));
        assert_eq!(class(registry.look_up("ocean")), ErrorClass::Name);
        assert_eq!(registry.publish("sea", &kept.to_string()), Ok(()));
        assert_eq!(registry.look_up("lake"), Ok(&*kept.to_string()));
    }

    #[test]
    fn soft_takes_the_largest_number_that_is_allowed() {
        let cases = [
            ("1:4", 10, 4),
            ("1:4", 3, 3),
            ("2:10:3", 10, 8),
            ("2:10:3", 7, 5),
            ("10:2:-3", 9, 7),
            ("1,5,3", 4, 3),
            ("0", 4, 0),
            (" 6 : 8 ", 7, 7),
        ];
        for (value, most, expected) in cases {
            assert_eq!(soft(value, most), Ok(expected), "{value} up to {most}");
            let listed = (0..=most).rev().find(|number| allows(value, *number));
            assert_eq!(listed, Some(expected), "{value} up to {most}");
        }
        assert_eq!(class(soft("5:9", 4)), ErrorClass::Spawn);
        for value in ["", "x", "1:2:0", "1:2:3:4", "1,,2"] {
            assert_eq!(class(soft(value, 4)), ErrorClass::InfoValue, "{value}");
        }
    }

    #[test]
    fn hosts_have_names_and_maybe_slots() {
        let listed = |value| {
            let shares = hosts(value).expect("it is a list").into_iter();
            shares.map(|share| (share.name, share.slots)).collect::<Vec<_>>()
        };
        let named = |name: &str, slots| (name.to_string(), slots);
        assert_eq!(listed("a, b:3"), [named("a", None), named("b", Some(3))]);
        assert_eq!(listed("a,a"), [named("a", None)]);
        assert_eq!(listed("a,b,a:2,a"), [named("a", Some(4)), named("b", None)]);
        assert_eq!(listed("[::1]:2,fe80::1"), [named("::1", Some(2)), named("fe80::1", None)]);
        for value in ["", "a,", "a:", "a:0", "a:x", "[::1", "[::1]2", "a b", ":2"] {
            assert_eq!(class(hosts(value)), ErrorClass::InfoValue, "{value:?}");
        }
    }

    /// Whether the numbers of a correct list have this one, by counting through them.
    fn allows(value: &str, number: u32) -> bool {
        value.split(',').any(|range| {
            let mut parts = range.split(':').map(|text| text.trim().parse::<i64>().unwrap());
            let first = parts.next().unwrap();
            let (last, step) = (parts.next().unwrap_or(first), parts.next().unwrap_or(1));
            let mut at = first;
            while (step > 0 && at <= last) || (step < 0 && at >= last) {
                if at == i64::from(number) {
                    return true;
                }
                at += step;
            }
            false
        })
    }
}
