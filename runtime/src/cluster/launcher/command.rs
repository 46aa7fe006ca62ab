//! The commands that start nodes, without running them.

use std::{ffi::OsString, path::Path};

use super::{Call, CallKind, LaunchOrder, SlurmLauncher, SshLauncher};
use crate::cluster::hostfile::Host;

/// A child on this machine.
pub(super) fn local(order: &LaunchOrder, host: &Host) -> Call {
    let mut args = node_args(order);
    args.extend(["--name".into(), host.name.clone()]);
    Call {
        host: host.name.clone(),
        kind: CallKind::Local,
        program: order.program.clone().into_os_string(),
        args: args.into_iter().map(Into::into).collect(),
    }
}

/// `ssh -x -o BatchMode=yes ... [user@]host 'exec faasm-run node ...'`.
///
/// The other side's shell reads the command, so each word of it is quoted.
pub(super) fn ssh(ssh: &SshLauncher, order: &LaunchOrder, host: &Host) -> Call {
    let mut args: Vec<OsString> = ["-x", "-T", "-o", "BatchMode=yes"].map(Into::into).into();
    args.extend(ssh.args.iter().map(Into::into));
    args.push(match &host.user {
        Some(user) => format!("{user}@{}", host.name).into(),
        None => host.name.clone().into(),
    });
    let mut words = vec![path_text(&ssh.remote_program)];
    words.extend(node_args(order));
    words.extend(["--name".into(), host.name.clone()]);
    let words: Vec<String> = words.iter().map(|word| quoted(word)).collect();
    args.push(format!("exec {}", words.join(" ")).into());
    let program = ssh.program.clone().into_os_string();
    Call { host: host.name.clone(), kind: CallKind::Ssh, program, args }
}

/// One srun for all hosts, with one task on each.
///
/// The allocation's resources are shared with steps that run already (`--overlap`), and all of a
/// machine's memory is given to its node.
pub(super) fn slurm(slurm: &SlurmLauncher, order: &LaunchOrder) -> Call {
    let names: Vec<&str> = order.hosts.iter().map(|host| host.name.as_str()).collect();
    let nodes = names.len();
    let mut args: Vec<OsString> = vec![
        format!("--nodes={nodes}").into(),
        format!("--ntasks={nodes}").into(),
        "--ntasks-per-node=1".into(),
        format!("--nodelist={}", names.join(",")).into(),
        "--overlap".into(),
        "--mem=0".into(),
        "--mpi=none".into(),
        // The end of one node is told by the links; the others must live on to hear of it.
        "--kill-on-bad-exit=0".into(),
        "--wait=0".into(),
        "--job-name=faasm-node".into(),
    ];
    args.extend(slurm.args.iter().map(Into::into));
    args.push(slurm.remote_program.clone().into_os_string());
    args.extend(node_args(order).into_iter().map(OsString::from));
    let program = slurm.program.clone().into_os_string();
    let host = match names[..] {
        [name] => name.to_owned(),
        _ => format!("{} and {} more", names.first().copied().unwrap_or_default(), nodes - 1),
    };
    Call { host, kind: CallKind::Slurm, program, args }
}

fn node_args(order: &LaunchOrder) -> Vec<String> {
    let mut args: Vec<String> =
        ["node", "--once", "--token-from-stdin", "--join"].map(Into::into).into();
    args.push(order.join.join(","));
    args.extend(order.node_args.iter().cloned());
    args
}

/// A path for another machine's shell. One that is not text cannot be quoted there; it is then not
/// found, which the error says.
fn path_text(path: &Path) -> String {
    path.to_string_lossy().into_owned()
}

/// A word that a shell reads as it is.
fn quoted(word: &str) -> String {
    let plain = |c: char| c.is_ascii_alphanumeric() || "-_./:,=@%+[]".contains(c);
    if !word.is_empty() && word.chars().all(|c| plain(c) && !matches!(c, '[' | ']')) {
        return word.to_owned();
    }
    format!("'{}'", word.replace('\'', r"'\''"))
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::*;
    use crate::cluster::hostfile::HostList;

    fn order(hosts: &str) -> LaunchOrder {
        LaunchOrder {
            hosts: HostList::parse_list(hosts).expect("hosts").hosts().to_vec(),
            program: "/opt/bin/faasm-run".into(),
            join: vec!["10.0.0.1:7".into(), "[::1]:7".into()],
            tokens: vec!["secret".into()],
            node_args: vec!["--workers".into(), "2".into()],
            on_line: Arc::new(|_, _| {}),
        }
    }

    fn line(call: &Call) -> String {
        let words = [&call.program].into_iter().chain(&call.args);
        words.map(|word| word.to_string_lossy()).collect::<Vec<_>>().join(" ")
    }

    #[test]
    fn a_local_node() {
        let order = order("n1");
        assert_eq!(
            line(&local(&order, &order.hosts[0])),
            "/opt/bin/faasm-run node --once --token-from-stdin --join 10.0.0.1:7,[::1]:7 --workers 2 \
             --name n1"
        );
    }

    #[test]
    fn a_node_by_ssh() {
        let order = order("ann@n1,n2");
        let mut launcher = SshLauncher::new("/opt/it's here/faasm-run".into());
        launcher.args = vec!["-p".into(), "2222".into()];
        let call = ssh(&launcher, &order, &order.hosts[0]);
        assert_eq!(
            line(&call),
            "ssh -x -T -o BatchMode=yes -p 2222 ann@n1 exec '/opt/it'\\''s here/faasm-run' node --once \
             --token-from-stdin --join '10.0.0.1:7,[::1]:7' --workers 2 --name n1"
        );
        assert_eq!(call.args.len(), 8, "the command is one argument");
        assert!(line(&ssh(&launcher, &order, &order.hosts[1])).contains(" n2 exec"));
    }

    #[test]
    fn nodes_by_srun() {
        let call = slurm(&SlurmLauncher::new("/opt/faasm-run".into()), &order("n1,n2"));
        let text = line(&call);
        assert!(
            text.starts_with("srun --nodes=2 --ntasks=2 --ntasks-per-node=1 --nodelist=n1,n2 ")
        );
        assert!(text.ends_with(
            "/opt/faasm-run node --once --token-from-stdin --join 10.0.0.1:7,[::1]:7 --workers 2"
        ));
        assert_eq!(call.host, "n1 and 1 more");
    }

    #[test]
    fn no_command_has_a_token() {
        let order = order("n1");
        let launcher = SshLauncher::new("/r".into());
        for call in [
            local(&order, &order.hosts[0]),
            ssh(&launcher, &order, &order.hosts[0]),
            slurm(&SlurmLauncher::new("/r".into()), &order),
        ] {
            assert!(!line(&call).contains("secret"));
        }
        assert!(!format!("{order:?}").contains("secret"));
    }

    #[test]
    fn words_reach_the_other_shell_unchanged() {
        for word in ["", "a b", "$HOME", "`x`", "a'b", "a;b", "*", "[x]", "~", "a\nb", "é"] {
            let output = std::process::Command::new("sh")
                .arg("-c")
                .arg(format!("printf %s {}", quoted(word)))
                .output()
                .expect("every machine has a shell");
            assert_eq!(String::from_utf8_lossy(&output.stdout), word);
        }
    }
}
