//! One conversation with the parser for each rule, and at least one for each option.

use super::{flag::Action, nodes::Display, table::FLAGS, *};

fn words(line: &str) -> Vec<OsString> {
    line.split_whitespace().map(OsString::from).collect()
}

fn run(line: &str) -> Invocation {
    match parse(words(line)) {
        Ok(Request::Run(invocation)) => *invocation,
        other => panic!("{line}: {other:?}"),
    }
}

fn error(line: &str) -> String {
    parse(words(line)).expect_err(line).to_string()
}

type Check = fn(&Invocation) -> bool;

/// A command line that uses the option, and what it must lead to.
static CASES: &[(&str, &str, Check)] = &[
    ("n", "-n 4 p", |job| job.apps[0].ranks == Some(4)),
    ("n", "-np 4 p", |job| job.apps[0].ranks == Some(4)),
    ("n", "--np=4 p", |job| job.apps[0].ranks == Some(4)),
    ("n", "-c 2147483647 p", |job| job.apps[0].ranks == Some(2_147_483_647)),
    ("n", "p", |job| job.apps[0].ranks.is_none()),
    ("npernode", "--npernode 3 p", |job| job.apps[0].ranks_per_node == Some(3)),
    ("npernode", "-ppn 3 -n 5 p", |job| {
        job.apps[0].ranks == Some(5) && job.apps[0].ranks_per_node == Some(3)
    }),
    ("npernode", "-N 1 p : -N 2 q", |job| job.apps[1].ranks_per_node == Some(2)),
    ("hostfile", "--hostfile a -f b p", |job| job.nodes.hostfiles == ["a", "b"]),
    ("host", "--host a:2,b:2 -H u@c p", |job| {
        job.nodes.hosts == ["a:2,b:2", "u@c"] && job.nodes.names_nodes()
    }),
    ("local-nodes", "--local-nodes 4 p", |job| job.nodes.local_nodes == Some(4)),
    ("await-nodes", "--await-nodes 3 p", |job| job.nodes.await_nodes == Some(3)),
    ("cluster", "--cluster p", |job| job.nodes.cluster == Some(ClusterAddress::Here)),
    ("cluster", "--cluster h:7077 p", |job| {
        job.nodes.cluster == Some(ClusterAddress::At("h:7077".into())) && job.apps[0].program == "p"
    }),
    ("cluster", "--cluster=h:7077 p", |job| {
        job.nodes.cluster == Some(ClusterAddress::At("h:7077".into()))
    }),
    ("map-by", "--map-by ppr:6:node p", |job| job.apps[0].ranks_per_node == Some(6)),
    ("map-by", "--map-by core:pe=2 p", |job| {
        job.nodes.map_by == Some(Mapping::Slot) && job.notes.len() == 1
    }),
    ("map-by", "--map-by node:OVERSUBSCRIBE p", |job| {
        job.nodes.map_by == Some(Mapping::Node) && job.nodes.oversubscribe == Some(true)
    }),
    ("map-by", "--map-by slot:span,nooversubscribe p", |job| {
        job.nodes.map_by == Some(Mapping::Node) && job.nodes.oversubscribe == Some(false)
    }),
    ("map-by", "--map-by :oversubscribe p", |job| job.nodes.oversubscribe == Some(true)),
    ("map-by", "--map-by locality:4x8:periodic:oversubscribe p", |job| {
        job.nodes.map_by == Some(Mapping::Grid { dims: vec![4, 8], periodic: true })
    }),
    ("map-by", "--map-by locality:@edges p", |job| {
        job.nodes.map_by == Some(Mapping::EdgeFile("edges".into()))
    }),
    ("rank-by", "--rank-by node p", |job| job.nodes.rank_by == Some(Numbering::Node)),
    ("rank-by", "--rank-by core p", |job| job.nodes.rank_by == Some(Numbering::Slot)),
    ("bynode", "-bynode p", |job| job.nodes.map_by == Some(Mapping::Node)),
    ("byslot", "-byslot p", |job| job.nodes.map_by == Some(Mapping::Slot)),
    ("oversubscribe", "--oversubscribe p", |job| job.nodes.oversubscribe == Some(true)),
    ("nooversubscribe", "--nooversubscribe p", |job| job.nodes.oversubscribe == Some(false)),
    ("display", "--display map,bind:allocation p", |job| {
        job.nodes.display == Display { map: true, allocation: true, bindings: true }
    }),
    ("display-map", "--display-map p", |job| job.nodes.display.map),
    ("display-allocation", "--display-allocation p", |job| job.nodes.display.allocation),
    ("report-bindings", "--report-bindings p", |job| job.nodes.display.bindings),
    ("launcher", "--launcher slurm p", |job| job.nodes.launcher == Some(LauncherKind::Slurm)),
    ("launcher", "-launcher fork p", |job| job.nodes.launcher == Some(LauncherKind::Local)),
    ("launcher", "-launcher rsh p", |job| job.nodes.launcher == Some(LauncherKind::Ssh)),
    ("launcher-exec", "--launcher-exec /bin/ssh p", |job| {
        job.nodes.launcher_exec.as_deref() == Some("/bin/ssh")
    }),
    ("launcher-args", "--launcher-args -4 --launcher-args -6 p", |job| {
        job.nodes.launcher_args == ["-4", "-6"]
    }),
    ("prefix", "--prefix /opt p", |job| job.nodes.prefix.as_deref() == Some("/opt")),
    ("listen", "--listen 0.0.0.0:0 p", |job| job.nodes.listen.as_deref() == Some("0.0.0.0:0")),
    ("token-file", "--token-file t p", |job| job.nodes.token_file.as_deref() == Some("t")),
    ("node-timeout", "--node-timeout 2.5 p", |job| {
        job.nodes.node_timeout == Some(Duration::from_millis(2500))
    }),
    ("x", "-x A=b=c -x D p", |job| {
        job.apps[0].env == [EnvRule::Set("A".into(), "b=c".into()), EnvRule::Forward("D".into())]
    }),
    ("env", "-n 1 -env A 1 p : -n 1 q", |job| {
        job.apps[0].env == [EnvRule::Set("A".into(), "1".into())] && job.apps[1].env.is_empty()
    }),
    ("genv", "-genv A 1 p", |job| job.env == [EnvRule::Set("A".into(), "1".into())]),
    ("genvlist", "--genvlist A,B p", |job| {
        job.env_base == EnvBase::Empty
            && job.env == [EnvRule::Forward("A".into()), EnvRule::Forward("B".into())]
    }),
    ("genvall", "-genvnone -genvall p", |job| job.env_base == EnvBase::All),
    ("genvnone", "-genvnone p", |job| job.env_base == EnvBase::Empty),
    ("wdir", "-wdir /tmp p", |job| job.apps[0].wdir.as_deref() == Some("/tmp")),
    ("wdir", "-wd /tmp p", |job| job.apps[0].wdir.as_deref() == Some("/tmp")),
    ("dir", "--dir a::/b:ro p", |job| {
        job.dirs == [Dir { host: "a".into(), guest: "/b".into(), read_only: true }]
    }),
    ("dir", "--dir /a p", |job| {
        job.dirs == [Dir { host: "/a".into(), guest: "/a".into(), read_only: false }]
    }),
    ("stdin", "p", |job| job.stdin == Stdin::Rank(0)),
    ("stdin", "-n 4 --stdin 3 p", |job| job.stdin == Stdin::Rank(3)),
    ("stdin", "--stdin all p", |job| job.stdin == Stdin::All),
    ("stdin", "-stdin none p", |job| job.stdin == Stdin::None),
    ("tag-output", "-l p", |job| job.tag_output),
    ("tag-output", "-tag-output p", |job| job.tag_output),
    ("merge-stderr", "--merge-stderr p", |job| job.merge_stderr),
    ("output-filename", "--output-filename o p", |job| {
        job.output_files == Some(OutputFiles { dir: "o".into(), copy: true })
    }),
    ("output-filename", "--output-filename o:nojobid,nocopy p", |job| {
        job.output_files == Some(OutputFiles { dir: "o".into(), copy: false })
    }),
    ("output", "--output tag,merge,dir=o p", |job| {
        job.tag_output && job.merge_stderr && job.output_files.is_some()
    }),
    ("timeout", "--timeout 1.5 p", |job| job.timeout == Some(Duration::from_millis(1500))),
    ("report", "--report p", |job| job.report),
    ("omp-threads", "--omp-threads 3 p", |job| {
        job.env == [EnvRule::Set("OMP_NUM_THREADS".into(), "3".into())]
    }),
    ("omp-nodes", "--omp-nodes 3 p", |job| {
        let set = EnvRule::Set("FAASM_OMP_NODES".into(), "3".into());
        let placed = (job.nodes.local_nodes, job.nodes.map_by.clone());
        job.apps[0].ranks == Some(3) && job.env == [set] && placed == (Some(3), Some(Mapping::Node))
    }),
    ("omp-nodes", "--host a,b --omp-nodes 2 p", |job| job.nodes.local_nodes.is_none()),
    ("omp-elastic", "--omp-elastic p", |job| {
        job.env == [EnvRule::Set("FAASM_OMP_ELASTIC".into(), "1".into())]
    }),
    ("workers", "--workers 3 p", |job| job.workers == NonZeroUsize::new(3)),
    ("with-ft", "--with-ft ulfm p", |job| job.tolerates_failures),
    ("with-ft", "--with-ft none p", |job| !job.tolerates_failures),
    ("enable-recovery", "--enable-recovery p", |job| job.tolerates_failures),
    ("mca", "--mca mpi_ft_enable 1 p", |job| job.tolerates_failures && job.notes.is_empty()),
    ("mca", "--mca btl self p", |job| !job.tolerates_failures && job.notes.len() == 1),
    ("migratable", "--migratable p", |job| job.migratable && job.rebuild_stack.is_none()),
    ("rebuild-stack", "--rebuild-stack 3 p", |job| {
        job.migratable && job.rebuild_stack == NonZeroU32::new(3)
    }),
    ("checkpoint-dir", "--checkpoint-dir d p", |job| {
        job.migratable && job.checkpoints.dir.as_deref() == Some("d")
    }),
    ("checkpoint-every", "--checkpoint-dir d --checkpoint-every 2m p", |job| {
        job.checkpoints.every == Some(Duration::from_secs(120))
    }),
    ("checkpoint-keep", "--checkpoint-dir d --checkpoint-keep 3 p", |job| {
        job.checkpoints.keep == Some(3)
    }),
    ("migrate-policy", "--migrate-policy balance p", |job| {
        job.policy.policy == faasm_runtime::MovePolicy::Balance && job.migratable
    }),
    ("migrate-policy", "--migrate-policy shuffle p", |job| {
        job.policy.policy == faasm_runtime::MovePolicy::Shuffle && job.migratable
    }),
    ("migrate-policy", "--migrate-policy none p", |job| !job.migratable),
    ("migrate-every", "--migrate-every 200ms p", |job| {
        job.policy.every == Duration::from_millis(200)
    }),
    ("on-failure", "--on-failure restart p", |job| job.on_failure == Some(3)),
    ("on-failure", "--on-failure restart:7 p", |job| job.on_failure == Some(7)),
    ("on-failure", "--on-failure end p", |job| job.on_failure.is_none()),
    ("checkpoint-on-term", "--checkpoint-dir d --checkpoint-on-term p", |job| {
        job.checkpoints.on_term
    }),
    ("v", "-v --verbose p", |job| job.verbosity == 2),
    ("q", "-q p", |job| job.quiet),
];

#[test]
fn each_option_does_what_it_says() {
    for (_, line, check) in CASES {
        let job = run(line);
        assert!(check(&job), "{line}: {job:?}");
    }
}

#[test]
fn each_option_has_a_case() {
    let has_effect =
        |flag: &&flag::Flag| matches!(flag.action, Action::Set(_) | Action::SetOptional(_));
    for flag in FLAGS.iter().filter(has_effect) {
        assert!(
            CASES.iter().any(|(name, ..)| *name == flag.names[0]),
            "no case for {:?}",
            flag.names
        );
    }
}

#[test]
fn options_without_effect_leave_a_note_and_nothing_else() {
    for flag in FLAGS.iter().filter(|flag| matches!(flag.action, Action::Note(_))) {
        for name in flag.names {
            let job = run(&format!("--{name} {} -n 2 p", "value ".repeat(flag.values.len())));
            assert_eq!(job.notes.len(), 1, "{name}: {job:?}");
            let (notes, words) = (job.notes.clone(), job.words.clone());
            let plain = Invocation { notes, words, ..run("-n 2 p") };
            assert_eq!(job, plain, "{name}");
        }
    }
}

#[test]
fn what_would_run_something_else_is_an_error() {
    for flag in FLAGS.iter().filter(|flag| matches!(flag.action, Action::Refuse { .. })) {
        for name in flag.names {
            assert!(error(&format!("--{name} value p")).contains(name));
        }
    }
}

#[test]
fn everything_after_the_program_is_its_own() {
    let job = run("-n 2 p -n 3 --help --timeout x -- y");
    assert_eq!(job.apps[0].ranks, Some(2));
    assert_eq!(job.apps[0].args, ["-n", "3", "--help", "--timeout", "x", "--", "y"]);
    assert_eq!(run("-n 2 -- -odd-name a").apps[0].program, "-odd-name");
    assert_eq!(run("-").apps[0].program, "-");
}

#[test]
fn a_colon_begins_another_program() {
    let job = run("-n 1 -wdir /a p 1 : -n 2 -x K=v q 2 3 : -n 4 r");
    let seen: Vec<_> =
        job.apps.iter().map(|app| (app.ranks, &*app.program, app.args.len())).collect();
    assert_eq!(seen, [(Some(1), "p", 1), (Some(2), "q", 2), (Some(4), "r", 0)]);
    assert!(job.apps[1].wdir.is_none() && job.apps[2].env.is_empty());
}

#[test]
fn options_of_the_whole_job_may_stand_in_any_part() {
    assert!(run("-n 1 p : -n 1 --report q").report);
}

#[test]
fn help_and_version_win_over_what_is_missing() {
    assert!(matches!(parse(words("--help")), Ok(Request::Help(_))));
    assert!(matches!(parse(words("-n 2 -h")), Ok(Request::Help(_))));
    assert_eq!(parse(words("-V")), Ok(Request::Version));
}

/// A wrong command line, and what its message must name.
static ERRORS: &[(&str, &[&str])] = &[
    ("", &["program", "faasm-run -n 4 prog.wasm"]),
    ("-n 4", &["No program"]),
    ("-n 0 p", &["-n 0", "\"0\" is not a number of ranks", "from 1"]),
    ("-n abc p", &["-n abc", "\"abc\""]),
    ("-n -1 p", &["-n -1", "\"-1\""]),
    ("-n 2147483648 p", &["2147483648"]),
    ("-n", &["-n", "ends before", "<N>"]),
    ("-n4 p", &["-n4", "`-n 4`"]),
    ("--timeuot 3 p", &["--timeuot", "`--timeout`"]),
    ("--rebuild-stack 0 p", &["\"0\"", "--rebuild-stack 10"]),
    ("--timeout 0 p", &["--timeout 0", "seconds"]),
    ("--timeout inf p", &["\"inf\""]),
    ("--timeout nan p", &["\"nan\""]),
    ("--timeout -3 p", &["\"-3\""]),
    ("--report=yes p", &["--report=yes", "no value"]),
    ("--stdin some p", &["\"some\"", "`none`"]),
    ("-n 2 --stdin 2 p", &["--stdin 2", "no rank 2"]),
    ("--omp-threads 0 p", &["--omp-threads 0", "from 1"]),
    ("--omp-nodes 1 p", &["--omp-nodes 1", "from 2 to 16"]),
    ("--omp-nodes 2 -n 2 p", &["--omp-nodes 2", "Leave -n"]),
    ("--omp-nodes 2 --omp-elastic p", &["--omp-nodes 2", "--omp-elastic"]),
    ("--omp-nodes 2 --checkpoint-dir d p", &["--omp-nodes 2", "checkpoints"]),
    ("--workers 0 p", &["--workers 0", "from 1"]),
    ("-x =v p", &["-x =v", "environment variable"]),
    ("--genvlist A,,B p", &["environment variable"]),
    ("--dir ::/b p", &["--dir ::/b", "empty"]),
    ("--output-filename o:zip p", &["\"zip\"", "nocopy"]),
    ("--output xml p", &["\"xml\"", "dir=DIR"]),
    ("--map-by ppr:2:socket p", &["ppr:2:socket", "-n N"]),
    ("--map-by seq p", &["\"seq\"", "ppr:N:node"]),
    ("--map-by node:fast p", &["\"fast\"", "oversubscribe"]),
    ("--map-by locality p", &["locality:8x8"]),
    ("--map-by locality:8x0 p", &["\"8x0\""]),
    ("--rank-by luck p", &["\"luck\""]),
    ("--host a,,b p", &["--host a,,b", "no name"]),
    ("--local-nodes 0 p", &["\"0\" is not a number of nodes"]),
    ("--local-nodes 2 --host a p", &["--local-nodes", "--host localhost"]),
    ("--cluster --hostfile f p", &["--cluster"]),
    ("--cluster=x p", &["--cluster=x", "host:port"]),
    ("--launcher telnet p", &["\"telnet\"", "ssh"]),
    ("--launcher-args ' p", &["not closed"]),
    ("--display moon p", &["\"moon\""]),
    ("--node-timeout 0 p", &["\"0\"", "--node-timeout 5"]),
    ("--listen 7077 p", &["\"7077\""]),
    ("-mca k", &["-mca", "<VALUE>"]),
    ("a : b", &["a", "no number of ranks"]),
    ("-n 1 a :", &["No program"]),
    (": -n 1 a", &["No program"]),
    ("-n 2147483647 a : -n 1 b", &["2147483648 ranks together"]),
];

#[test]
fn errors_name_argument_cause_and_remedy() {
    for (line, parts) in ERRORS {
        let message = error(line);
        for part in *parts {
            assert!(message.contains(part), "{line}: {message}");
        }
    }
}
