//! The part of a pod in a Kubernetes job.
//!
//! All pods of an indexed job run the same command line. Pod 0 is the coordinator and has a node of
//! its own; the others are nodes. The manifest in `runtime/deploy/kubernetes` sets the variables.

/// What a pod does.
#[derive(Clone, Debug, Eq, PartialEq)]
pub enum Pod {
    /// Pod 0: runs the job, with a node here and this many that join.
    Coordinator {
        /// Nodes that join from other pods.
        others: u32,
        /// The port on which it listens.
        port: u16,
        /// The file with the token.
        token_file: String,
    },
    /// Another pod: a node.
    Node {
        /// Where the coordinator is found, `host:port`.
        join: String,
        /// The file with the token.
        token_file: String,
    },
}

/// A pod whose variables contradict each other.
#[derive(Clone, Debug, Eq, PartialEq, thiserror::Error)]
#[error(
    "the variable {name} of this pod {cause}; correct it in the manifest (see runtime/deploy/kubernetes)"
)]
pub struct PodError {
    name: &'static str,
    cause: String,
}

/// The pod that these variables describe; none outside of such a job.
///
/// # Errors
/// A variable is missing or makes no sense.
pub fn detect(variable: &dyn Fn(&str) -> Option<String>) -> Result<Option<Pod>, PodError> {
    // An indexed job may also run one program for each pod: only ours names a coordinator.
    let (Some(index), Some(join)) = (variable(INDEX), variable(COORDINATOR)) else {
        return Ok(None);
    };
    let required = |name: &'static str| {
        variable(name).ok_or_else(|| PodError { name, cause: "is missing".to_owned() })
    };
    let wrong = |name: &'static str, value: &str| {
        let cause = format!("is \"{}\", which makes no sense", value.escape_default());
        PodError { name, cause }
    };
    let number =
        |name: &'static str, value: &str| value.parse::<u32>().map_err(|_| wrong(name, value));
    let token_file = required(TOKEN_FILE)?;
    let pods = required(NODES)?;
    let (index, pods) = (number(INDEX, &index)?, number(NODES, &pods)?);
    if index >= pods {
        let cause = format!("is {pods}, but there is a pod {index}: it must be `completions`");
        return Err(PodError { name: NODES, cause });
    }
    let port = join.rsplit_once(':').and_then(|(_, port)| port.parse().ok());
    let port = port.filter(|port| *port != 0).ok_or_else(|| wrong(COORDINATOR, &join))?;
    Ok(Some(match index {
        0 => Pod::Coordinator { others: pods - 1, port, token_file },
        _ => Pod::Node { join, token_file },
    }))
}

/// Set by Kubernetes in the pods of an indexed job.
const INDEX: &str = "JOB_COMPLETION_INDEX";
/// `host:port` of pod 0.
const COORDINATOR: &str = "FAASM_COORDINATOR";
/// Number of pods.
const NODES: &str = "FAASM_NODES";
/// Where the secret is mounted.
const TOKEN_FILE: &str = "FAASM_TOKEN_FILE";

#[cfg(test)]
mod tests {
    use super::*;

    fn pod(variables: &[(&str, &str)]) -> Result<Option<Pod>, PodError> {
        detect(&|name| {
            let found = variables.iter().find(|(known, _)| *known == name);
            found.map(|(_, value)| (*value).to_owned())
        })
    }

    const JOB: [(&str, &str); 3] =
        [(COORDINATOR, "faasm-0.faasm:7077"), (NODES, "4"), (TOKEN_FILE, "/run/token")];

    #[test]
    fn the_index_decides() {
        assert_eq!(pod(&JOB), Ok(None));
        assert_eq!(pod(&[(INDEX, "3")]), Ok(None));
        let token_file = "/run/token".to_owned();
        let first = Pod::Coordinator { others: 3, port: 7077, token_file: token_file.clone() };
        assert_eq!(pod(&[&[(INDEX, "0")], &JOB[..]].concat()), Ok(Some(first)));
        let node = Pod::Node { join: "faasm-0.faasm:7077".into(), token_file };
        assert_eq!(pod(&[&[(INDEX, "3")], &JOB[..]].concat()), Ok(Some(node)));
    }

    #[test]
    fn errors_name_the_variable() {
        for (variables, part) in [
            ([&[(INDEX, "4")], &JOB[..]].concat(), "FAASM_NODES of this pod is 4, but"),
            ([&[(INDEX, "x")], &JOB[..]].concat(), "JOB_COMPLETION_INDEX of this pod is \"x\""),
            ([&[(INDEX, "0")], &JOB[..1]].concat(), "FAASM_TOKEN_FILE of this pod is missing"),
            ([&[(INDEX, "0"), (COORDINATOR, "a")], &JOB[1..]].concat(), "is \"a\""),
        ] {
            let error = pod(&variables).expect_err("it is wrong").to_string();
            assert!(error.contains(part) && error.contains("manifest"), "{error}");
        }
    }
}
