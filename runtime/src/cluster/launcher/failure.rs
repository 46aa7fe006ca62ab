//! What it means when a process that was to be a node ends.

use rustix::io::Errno;

use super::CallKind;

/// A node that could not be started: where, why, and what to do.
#[derive(Clone, Debug, Eq, PartialEq, thiserror::Error)]
#[error("cannot start a node on {host}: {cause} {remedy}")]
pub struct LaunchFailure {
    /// The host, or the hosts of an srun.
    pub host: String,
    /// What went wrong, a sentence.
    pub cause: String,
    /// What can be done about it, a sentence.
    pub remedy: String,
}

/// How a process has ended.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) enum Ending {
    /// With this exit status.
    Code(i32),
    /// By this signal.
    Signal(i32),
}

/// What the end of a process means, given the last lines of its standard error; none if it ended as
/// a node should.
pub(super) fn explain(
    kind: CallKind,
    host: &str,
    program: &str,
    ending: Ending,
    lines: &[String],
) -> Option<LaunchFailure> {
    let (cause, remedy) = match (kind, ending) {
        (_, Ending::Code(0)) => return None,
        (CallKind::Ssh, Ending::Code(255)) => ssh_failed(program, host, lines),
        (CallKind::Ssh, Ending::Code(code @ (126 | 127))) => {
            let what = if code == 127 { "was not found" } else { "cannot be run" };
            (
                format!("faasm-run {what} there{}.", quote_last(lines)),
                "Install the same faasm-run at the same path, or say where it is with --prefix DIR \
                 (DIR/bin/faasm-run) or the variable FAASM_RUN."
                    .to_owned(),
            )
        }
        (CallKind::Slurm, Ending::Code(code)) => (
            format!("{program} ended with status {code}{}.", quote_last(lines)),
            "Check that the job still has its nodes (`squeue`) and that faasm-run is at the same \
             path on them."
                .to_owned(),
        ),
        (_, Ending::Code(code)) => (
            format!("it ended with status {code}{}.", quote_last(lines)),
            "Its own messages say why.".to_owned(),
        ),
        (_, Ending::Signal(signal)) => (
            format!("{program} was ended by signal {signal}."),
            "Somebody or a lack of memory has killed it; see that machine's log.".to_owned(),
        ),
    };
    Some(LaunchFailure { host: host.to_owned(), cause, remedy })
}

/// The failure when a program could not even be called.
pub(super) fn not_called(host: &str, program: &str, error: &std::io::Error) -> LaunchFailure {
    let has_run_out = matches!(
        error.raw_os_error().map(Errno::from_raw_os_error),
        Some(Errno::MFILE | Errno::NFILE | Errno::AGAIN | Errno::NOMEM)
    );
    if has_run_out {
        return LaunchFailure {
            host: host.to_owned(),
            cause: format!("no further process can be started here: {error}."),
            remedy:
                "Allow more descriptors and processes with `ulimit -n` and `ulimit -u`, or ask for \
                     fewer nodes."
                    .to_owned(),
        };
    }
    LaunchFailure {
        host: host.to_owned(),
        cause: format!("{program} cannot be called: {error}."),
        remedy:
            "Install it, name another program with --launcher-exec, or choose another way with \
                 --launcher."
                .to_owned(),
    }
}

/// The messages of OpenSSH are the same in all languages.
fn ssh_failed(program: &str, host: &str, lines: &[String]) -> (String, String) {
    let said = |text: &str| lines.iter().any(|line| line.contains(text));
    let known: [(&[&str], &str, String); 6] = [
        (
            &["REMOTE HOST IDENTIFICATION HAS CHANGED"],
            "the host's key is not the one that is known.",
            format!(
                "If the machine was set up anew, remove the old key with `ssh-keygen -R {host}` and \
                 connect once by hand; otherwise somebody else answers."
            ),
        ),
        (
            &[
                "Host key verification failed",
                "No ED25519 host key is known",
                "host key is known for",
            ],
            "the host's key is not known yet.",
            format!(
                "Connect once by hand (`ssh {host}`) and check it, or accept new hosts with \
                 --launcher-args \"-o StrictHostKeyChecking=accept-new\"."
            ),
        ),
        (
            &["Permission denied", "Too many authentication failures"],
            "it does not let us in.",
            format!(
                "`ssh {host} true` must work without a password: use an agent or `ssh-copy-id`, name \
                 another user as `user@{host}`, or a key with --launcher-args \"-i FILE\"."
            ),
        ),
        (
            &["Could not resolve hostname"],
            "there is no such host.",
            "Check its name in --host or the file of hosts.".to_owned(),
        ),
        (
            &["Connection refused"],
            "nobody answers at its ssh port.",
            "Start its ssh server, or give the port with --launcher-args \"-p PORT\".".to_owned(),
        ),
        (
            &["timed out", "No route to host", "Network is unreachable"],
            "it cannot be reached.",
            "Check that it is up and that no firewall is between.".to_owned(),
        ),
    ];
    for (texts, cause, remedy) in known {
        if texts.iter().any(|text| said(text)) {
            return (cause.to_owned(), remedy);
        }
    }
    (
        format!("{program} failed{}.", quote_last(lines)),
        format!("Try `{program} {host} true`, which must work without a password."),
    )
}

/// `: the last line`, for the middle of a sentence.
fn quote_last(lines: &[String]) -> String {
    lines
        .iter()
        .rev()
        .map(|line| line.trim())
        .find(|line| !line.is_empty())
        .map_or_else(String::new, |line| format!(": {}", line.trim_end_matches('.')))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn told(kind: CallKind, ending: Ending, line: &str) -> String {
        let lines = [String::new(), line.to_owned(), String::new()];
        explain(kind, "n7", "ssh", ending, &lines).map_or_else(String::new, |f| f.to_string())
    }

    #[test]
    fn the_order_is_over_is_no_failure() {
        for kind in [CallKind::Local, CallKind::Ssh, CallKind::Slurm] {
            assert_eq!(told(kind, Ending::Code(0), "bye"), "");
        }
    }

    #[test]
    fn failures_of_ssh_name_host_cause_and_remedy() {
        for (line, cause, remedy) in [
            ("Host key verification failed.", "key is not known yet", "`ssh n7`"),
            (
                "@ WARNING: REMOTE HOST IDENTIFICATION HAS CHANGED! @",
                "not the one",
                "ssh-keygen -R n7",
            ),
            ("ann@n7: Permission denied (publickey).", "does not let us in", "ssh-copy-id"),
            (
                "ssh: Could not resolve hostname n7: Name or service not known",
                "no such host",
                "--host",
            ),
            ("ssh: connect to host n7 port 22: Connection refused", "nobody answers", "-p PORT"),
            (
                "ssh: connect to host n7 port 22: Connection timed out",
                "cannot be reached",
                "firewall",
            ),
            (
                "kex_exchange: something new",
                "ssh failed: kex_exchange: something new.",
                "`ssh n7 true`",
            ),
        ] {
            let text = told(CallKind::Ssh, Ending::Code(255), line);
            assert!(text.starts_with("cannot start a node on n7: "), "{text}");
            assert!(text.contains(cause) && text.contains(remedy), "{line}: {text}");
        }
    }

    #[test]
    fn failures_of_the_program_are_told_apart() {
        let text = told(CallKind::Ssh, Ending::Code(127), "sh: 1: exec: /opt/faasm-run: not found");
        assert!(
            text.contains("was not found there: sh: 1: exec") && text.contains("--prefix"),
            "{text}"
        );
        let text = told(CallKind::Ssh, Ending::Code(126), "Permission denied");
        assert!(text.contains("cannot be run there"), "{text}");
        let text = told(CallKind::Ssh, Ending::Code(1), "faasm-run: the token is wrong.");
        assert!(text.contains("status 1: faasm-run: the token is wrong."), "{text}");
        let text = told(CallKind::Slurm, Ending::Code(1), "srun: error: Unable to create step");
        assert!(text.contains("Unable to create step") && text.contains("squeue"), "{text}");
        let text = told(CallKind::Local, Ending::Signal(9), "");
        assert!(text.contains("signal 9"), "{text}");
        let error = std::io::Error::from(std::io::ErrorKind::NotFound);
        assert!(not_called("n7", "ssh", &error).to_string().contains("--launcher-exec"));
    }
}
