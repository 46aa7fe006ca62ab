//! Questions about ports and names, as processes ask the node that keeps them.
//!
//! ```text
//! question:  what: u8 | process: u32 | service: bytes | port: bytes
//! answer:    0: u8 | text: bytes      or      1: u8 | error
//! ```

use faasm_mpi_engine::collective::cluster::{Reader, Writer};
use faasm_mpi_engine::dynamic::{Port, Registry};
use faasm_mpi_engine::error::{ErrorClass, MpiError, Result};

use crate::world::World;

pub use crate::world::REGISTRY_NODE;

/// What is asked.
#[derive(Copy, Clone, Debug, Eq, PartialEq)]
pub(crate) enum What {
    /// Open a port of the process.
    Open,
    /// Close a port.
    Close,
    /// Whether a port is open.
    Find,
    /// Publish a port.
    Publish,
    /// Take a name back.
    Unpublish,
    /// The port under a name.
    LookUp,
}

const ALL: [What; 6] =
    [What::Open, What::Close, What::Find, What::Publish, What::Unpublish, What::LookUp];

/// A question of `process`.
pub(crate) fn question(what: What, process: u32, service: &str, port: &str) -> Vec<u8> {
    let mut out = Writer::new();
    out.u8(ALL.iter().position(|one| *one == what).unwrap_or(ALL.len()) as u8);
    out.u32(process);
    out.bytes(service.as_bytes());
    out.bytes(port.as_bytes());
    out.into_bytes()
}

/// Answers a question on the node that keeps ports and names. For the runtime, too, when the question
/// came from another node.
pub fn answer(world: &World, question: &[u8]) -> Vec<u8> {
    let told = world.with_registry(|registry| {
        let failed = world.failures();
        failed.iter().for_each(|process| registry.forget(*process));
        act(registry, (world.identity(), &failed), question)
    });
    let mut out = Writer::new();
    match told {
        Ok(text) => {
            out.u8(0);
            out.bytes(text.as_bytes());
        }
        Err(error) => {
            out.u8(1);
            out.error(&error);
        }
    }
    out.into_bytes()
}

fn act(registry: &mut Registry, (job, failed): (u32, &[u32]), question: &[u8]) -> Result<String> {
    let mut reader = Reader::new(question);
    let mut read = || {
        let what = *ALL.get(usize::from(reader.u8()?))?;
        let process = reader.u32()?;
        let mut text = || std::str::from_utf8(reader.bytes()?).ok();
        Some((what, process, text()?, text()?))
    };
    let (what, process, service, port) = read().ok_or_else(malformed)?;
    match what {
        What::Open => registry.open(job, process).map(|port| port.to_string()),
        What::Close => registry.close(Port::parse(port)?).map(|()| String::new()),
        What::Find => {
            let port = Port::parse(port)?;
            if failed.contains(&port.process) {
                let detail = format!("process {}, which opened the port, has failed", port.process);
                return Err(MpiError::argument(ErrorClass::ProcFailed, "port_name", detail));
            }
            registry.find(port).map(|()| String::new())
        }
        What::Publish => registry.publish(service, port).map(|()| String::new()),
        What::Unpublish => registry.unpublish(service, port).map(|()| String::new()),
        What::LookUp => registry.look_up(service).map(str::to_owned),
    }
}

/// What an answer says.
pub(crate) fn told(answer: &[u8]) -> Result<String> {
    let mut reader = Reader::new(answer);
    match reader.u8() {
        Some(0) => {
            let text = reader.bytes().and_then(|bytes| std::str::from_utf8(bytes).ok());
            text.map(str::to_owned).ok_or_else(malformed)
        }
        Some(1) => Err(reader.error().ok_or_else(malformed)?),
        _ => Err(malformed()),
    }
}

fn malformed() -> MpiError {
    let detail = "a question about a port or name cannot be understood; do all nodes run the same \
                  version of this program?";
    MpiError::new(ErrorClass::Intern, detail)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::world::Placement;

    #[test]
    fn questions_are_answered_and_nonsense_is_refused() {
        let world = World::new(vec![0], vec![0], Placement::one_node(1));
        let ask = |what, service: &str, port: &str| {
            told(&answer(&world, &question(what, 3, service, port)))
        };
        let port = ask(What::Open, "", "").expect("room");
        assert_eq!(Port::parse(&port).map(|port| port.process), Ok(3));
        assert_eq!(ask(What::Find, "", &port), Ok(String::new()));
        assert_eq!(ask(What::Publish, "sea", &port), Ok(String::new()));
        assert_eq!(ask(What::LookUp, "sea", ""), Ok(port.clone()));
        assert_eq!(ask(What::Unpublish, "sea", &port), Ok(String::new()));
        assert_eq!(ask(What::Close, "", &port), Ok(String::new()));
        let class = |result: Result<String>| result.map_err(|error| error.class);
        assert_eq!(class(ask(What::Find, "", &port)), Err(ErrorClass::Port));
        let port = ask(What::Open, "", "").expect("room");
        assert_eq!(ask(What::Publish, "sea", &port), Ok(String::new()));
        assert!(world.keep_failure(3));
        assert_eq!(class(ask(What::Find, "", &port)), Err(ErrorClass::ProcFailed));
        assert_eq!(class(ask(What::LookUp, "sea", "")), Err(ErrorClass::Name));
        for nonsense in [&[][..], &[9, 0, 0, 0, 0], &[0, 1]] {
            assert_eq!(class(told(&answer(&world, nonsense))), Err(ErrorClass::Intern));
        }
    }
}
