//! The command line: every promise about exit statuses, messages, output and signals.

use std::{
    fs,
    io::{BufRead as _, BufReader},
    path::{Path, PathBuf},
    process::Stdio,
    sync::LazyLock,
    time::{Duration, Instant},
};

use rustix::process::Signal;

use crate::support::{Ran, Running, build_dir, compile, faasm_run, guests_dir, run};

/// The guest that does what its first argument says.
static LAUNCHER: LazyLock<PathBuf> = LazyLock::new(|| guest("faasm/launcher.c"));

/// Compiles a guest for one test.
fn guest(source: &str) -> PathBuf {
    let source = guests_dir().join(source);
    let name = source.file_stem().expect("a file");
    let program = build_dir().join(name).with_added_extension("cli.wasm");
    let options = ["-g", "-O1"].map(String::from);
    compile(&source, &options, &program).unwrap_or_else(|error| panic!("{error}"));
    program
}

fn launcher() -> &'static str {
    LAUNCHER.to_str().expect("a UTF-8 path")
}

/// Runs the launcher guest: options of `faasm-run`, then what the guest is to do.
fn launch(options: &[&str], guest: &[&str]) -> Ran {
    run(&[options, &[launcher()], guest].concat())
}

fn start(options: &[&str], guest: &[&str]) -> Running {
    let mut command = faasm_run();
    command.args(options).arg(launcher()).args(guest);
    Running::start(&mut command, "")
}

/// Waits until a job has surely started and does what it was told to.
fn settle() {
    std::thread::sleep(Duration::from_secs(1));
}

#[test]
fn ranks_are_numbered() {
    let ran = launch(&["-n", "3"], &["hello"]).expect_status(0);
    assert_eq!(ran.sorted_lines(), ["rank 0 of 3", "rank 1 of 3", "rank 2 of 3"]);
    assert_eq!(ran.stderr, "");
}

#[test]
fn arguments_reach_the_program_untouched() {
    let ran = launch(&["-n", "1"], &["args", "-n", "two words", "--help"]).expect_status(0);
    assert_eq!(ran.stdout, "[-n]\n[two words]\n[--help]\n");
}

#[test]
fn several_programs_form_one_job() {
    let parts = ["-n", "1", launcher(), "hello", ":", "-n", "2", launcher(), "hello"];
    let ran = run(&parts).expect_status(0);
    assert_eq!(ran.sorted_lines(), ["rank 0 of 3", "rank 1 of 3", "rank 2 of 3"]);
}

#[test]
fn variables_are_inherited_set_and_given_by_rank() {
    let guest = ["env", "HOME_OF_TEST", "A", "OMPI_COMM_WORLD_RANK", "PMI_SIZE"];
    let mut command = faasm_run();
    command.env("HOME_OF_TEST", "ours").args(["-n", "1", "-x", "A=b=c", launcher()]).args(guest);
    let ran = Running::start(&mut command, "").wait().expect_status(0);
    assert_eq!(ran.stdout, "HOME_OF_TEST=ours\nA=b=c\nOMPI_COMM_WORLD_RANK=0\nPMI_SIZE=1\n");
    let first = [
        "-genvnone",
        "-genv",
        "A",
        "all",
        "-n",
        "1",
        "-x",
        "A=one",
        launcher(),
        "env",
        "A",
        "HOME",
    ];
    let second = [":", "-n", "1", launcher(), "env", "A"];
    let ran = run(&[&first[..], &second].concat()).expect_status(0);
    assert_eq!(ran.sorted_lines(), ["A=all", "A=one", "HOME=(unset)"]);
}

#[test]
fn wrong_command_lines_say_what_to_type() {
    for (arguments, text) in [
        (&["-n", "0", "x.wasm"][..], "-n 0"),
        (&["-n", "abc", "x.wasm"], "-n abc"),
        (&["-n", "2"], "No program"),
        (&["--frobnicate", "x.wasm"], "--frobnicate"),
        (&["--hostfile", "hosts", "x.wasm"], "--hostfile"),
        (&["-n", "2", "absent.wasm"], "absent.wasm"),
        (&["-n", "2", "absent.c"], "absent.c"),
        (&["-n", "1", "Cargo.toml"], "Cargo.toml"),
        (&["-n", "1", "/bin/true"], "faasm-cc"),
        (&["-n", "1", "/"], "directory"),
        (&["-n", "1", "--wdir", "/absent", launcher()], "/absent"),
        (&["-n", "1", "--dir", "/absent::/a", launcher()], "/absent"),
        (&["-n", "100000", launcher()], "ranks"),
    ] {
        let ran = run(arguments).expect_status(1).expect_stderr(text);
        assert!(ran.stderr.starts_with("faasm-run: ") && ran.stdout.is_empty(), "{ran:#?}");
        assert_eq!(ran.stderr.lines().count(), 1, "one paragraph: {ran:#?}");
    }
}

#[test]
fn help_and_version_are_printed() {
    assert!(run(&["--help"]).expect_status(0).stdout.contains("--tag-output"));
    assert!(run(&["--version"]).expect_status(0).stdout.starts_with("faasm-run "));
}

#[test]
fn options_of_mpirun_leave_a_note() {
    let options = ["--oversubscribe", "--mca", "btl", "self", "-n", "1"];
    launch(&options, &[]).expect_status(0).expect_stderr("note: --mca btl self:");
    let quiet = launch(&["-q", "--oversubscribe", "-n", "1"], &[]).expect_status(0);
    assert_eq!(quiet.stderr, "");
}

#[test]
fn the_exit_status_is_that_of_the_program() {
    launch(&["-n", "4"], &["exit", "2", "7"])
        .expect_status(7)
        .expect_stderr("rank 2: exited with code 7");
    launch(&["-n", "4"], &["abort", "1", "9"]).expect_status(9).expect_stderr("rank 1");
    launch(&["-n", "2"], &["abort", "1", "512"]).expect_status(1);
}

#[test]
fn a_trap_ends_the_job_with_its_place() {
    let ran = launch(&["-n", "3"], &["trap", "1", "0"])
        .expect_status(134)
        .expect_stderr("rank 1: trapped");
    for name in ["innermost", "main", "launcher.c:"] {
        assert!(ran.stderr.contains(name), "{name}: {}", ran.stderr);
    }
    launch(&["-n", "3"], &["trap", "2", "1"]).expect_status(139).expect_stderr("rank 2: trapped");
}

#[test]
fn leaving_without_finalize_is_an_error() {
    launch(&["-n", "2"], &["leave", "1"]).expect_status(1).expect_stderr("MPI_Finalize");
}

#[test]
fn a_deadlock_is_explained() {
    let ran = launch(&["-n", "3"], &["deadlock"]).expect_status(1).expect_stderr("deadlock");
    for (rank, peer) in [(0, 1), (1, 2), (2, 0)] {
        let line = format!("rank {rank}: waits in MPI_Recv (peer {peer}, tag 7, MPI_COMM_WORLD)");
        assert!(ran.stderr.contains(&line), "{line}: {}", ran.stderr);
    }
}

#[test]
fn a_timeout_shows_what_the_ranks_did() {
    for mode in ["sleep", "compute"] {
        let ran = launch(&["-n", "2", "--timeout", "0.5"], &[mode]).expect_status(110);
        let ran = ran.expect_stderr("--timeout").expect_stderr("rank 1: ");
        assert!(ran.took < Duration::from_secs(5), "{:?}", ran.took);
    }
}

#[test]
fn signals_end_the_job_within_a_second() {
    for (mode, signal, status) in
        [("sleep", Signal::INT, 130), ("sleep", Signal::TERM, 143), ("compute", Signal::INT, 130)]
    {
        let running = start(&["-n", "4"], &[mode]);
        settle();
        let asked = Instant::now();
        running.signal(signal);
        let ran = running.wait().expect_status(status);
        assert!(asked.elapsed() < Duration::from_millis(1500), "{mode}: {:?}", asked.elapsed());
        assert_eq!(ran.stdout.lines().count(), 4, "{ran:#?}");
    }
}

#[test]
fn a_rank_that_computes_for_ever_does_not_keep_the_others() {
    let program = guest("apps/endless.c");
    let program = program.to_str().expect("a UTF-8 path");
    let ran = run(&["-n", "3", "--timeout", "0.5", program]).expect_status(110);
    assert_eq!(ran.stdout, "computing\n");
    ran.expect_stderr("rank 0: running").expect_stderr("rank 1: waits in MPI_Barrier");
}

#[test]
fn a_job_that_waits_uses_no_processor_time() {
    let mut command = faasm_run();
    command.args(["-n", "64"]).arg(guest("apps/wait_for_input.c"));
    let running = Running::start_waiting(&mut command);
    settle();
    let before = running.processor_time();
    settle();
    let used = running.processor_time() - before;
    running.signal(Signal::INT);
    running.wait().expect_status(130);
    assert!(used <= Duration::from_millis(10), "{used:?} of processor time in a second of waiting");
}

#[test]
fn a_job_whose_output_nobody_reads_can_be_ended() {
    let mut command = faasm_run();
    command.args(["-n", "2", launcher(), "flood"]).stdout(Stdio::piped());
    let mut child = command.spawn().expect("faasm-run starts");
    settle();
    let asked = Instant::now();
    let process = rustix::process::Pid::from_child(&child);
    rustix::process::kill_process(process, Signal::INT).expect("it still runs");
    let status = child.wait().expect("it is our child");
    assert_eq!(status.code(), Some(130));
    assert!(asked.elapsed() < Duration::from_millis(1500), "{:?}", asked.elapsed());
}

#[test]
fn a_signal_shows_the_state_of_all_ranks() {
    let running = start(&["-n", "3"], &["sleep"]);
    settle();
    running.signal(Signal::USR1);
    settle();
    running.signal(Signal::INT);
    let ran = running.wait().expect_status(130);
    for rank in 0..3 {
        assert!(ran.stderr.contains(&format!("  rank {rank}: ")), "{}", ran.stderr);
    }
}

#[test]
fn output_is_tagged_merged_and_kept_in_files() {
    let ran = launch(&["-n", "2", "-l"], &["both"]).expect_status(0);
    assert_eq!(ran.sorted_lines(), ["[1,0]<stdout>: out 0", "[1,1]<stdout>: out 1"]);
    let ran = launch(&["-n", "2", "--merge-stderr"], &["both"]).expect_status(0);
    assert_eq!(ran.sorted_lines(), ["err 0", "err 1", "out 0", "out 1"]);
    let dir = tempfile::tempdir().expect("a directory");
    let out = dir.path().join("out");
    let option = format!("{}:nocopy", out.display());
    let ran = launch(&["-n", "2", "--output-filename", &option], &["both"]).expect_status(0);
    assert_eq!((ran.stdout.as_str(), ran.stderr.as_str()), ("", ""));
    let read = |file: &str| fs::read_to_string(out.join(file)).expect(file);
    assert_eq!(
        (read("rank.1/stdout"), read("rank.0/stderr")),
        ("out 1\n".into(), "err 0\n".into())
    );
}

#[test]
fn a_last_line_without_end_stays_so() {
    assert_eq!(launch(&["-n", "1"], &["unfinished"]).expect_status(0).stdout, "no line end");
}

#[test]
fn a_reader_that_leaves_ends_the_job_quietly() {
    let mut command = faasm_run();
    command.args(["-n", "2", launcher(), "flood"]).stdout(Stdio::piped()).stderr(Stdio::piped());
    let mut child = command.spawn().expect("faasm-run starts");
    let mut line = String::new();
    BufReader::new(child.stdout.take().expect("it is piped")).read_line(&mut line).expect("a line");
    assert!(line.ends_with("is still printing\n"), "{line:?}");
    let output = child.wait_with_output().expect("it ends");
    assert_eq!((output.status.code(), output.stderr), (Some(141), Vec::new()));
}

#[test]
fn input_goes_where_it_was_sent() {
    for (policy, readers) in [("0", &[0][..]), ("1", &[1]), ("all", &[0, 1, 2]), ("none", &[])] {
        let mut command = faasm_run();
        command.args(["-n", "3", "--stdin", policy, launcher(), "read"]);
        let ran = Running::start(&mut command, "a\nb\n").wait().expect_status(0);
        let mut expected: Vec<String> = (0..3).map(|rank| format!("{rank} end")).collect();
        expected
            .extend(readers.iter().flat_map(|r| [format!("{r} read a"), format!("{r} read b")]));
        expected.sort();
        assert_eq!(ran.sorted_lines(), expected, "--stdin {policy}");
    }
}

#[test]
fn files_are_those_of_the_named_directories() {
    let dir = tempfile::tempdir().expect("a directory");
    let path = |name: &str| {
        let path = dir.path().join(name);
        fs::create_dir_all(&path).expect("created");
        path.to_str().expect("a UTF-8 path").to_owned()
    };
    let (work, more, fixed) = (path("work"), path("more"), path("fixed"));
    let (more, fixed) = (format!("{more}::/more"), format!("{fixed}::/fixed:ro"));
    let options = ["-n", "1", "--wdir", &work, "--dir", &more, "--dir", &fixed];
    let ran =
        launch(&options, &["open", "a", "/more/b", "/fixed/c", "../d", "/etc/e"]).expect_status(0);
    let opened: Vec<bool> = ran.stdout.lines().map(|line| line.ends_with(": opened")).collect();
    assert_eq!(opened, [true, true, false, false, false], "{}", ran.stdout);
    assert!(Path::new(&work).join("a").exists() && !dir.path().join("d").exists());
}

#[test]
fn the_summary_counts_ranks() {
    let ran = launch(&["-n", "3", "--report"], &["hello"]).expect_status(0);
    ran.expect_stderr("faasm-run: 3 ranks on 1 node (").expect_stderr("messages");
}

#[test]
fn a_missing_function_is_named_before_any_rank_starts() {
    let text = r#"(module
        (import "mpi" "MPI_Not_there" (func (param i32) (result i32)))
        (import "mpi" "MPI_Nor_there" (func))
        (memory (export "memory") 1)
        (func (export "_start") unreachable))"#;
    let dir = tempfile::tempdir().expect("a directory");
    let program = dir.path().join("missing.wasm");
    fs::write(&program, wat::parse_str(text).expect("valid text")).expect("written");
    let ran = run(&["-n", "2", program.to_str().expect("a UTF-8 path")]).expect_status(1);
    ran.expect_stderr("MPI_Not_there")
        .expect_stderr("MPI_Nor_there")
        .expect_stderr("no rank was started");
}

#[test]
fn sources_are_compiled_once_for_each_state() {
    let dir = tempfile::tempdir().expect("a directory");
    let source = dir.path().join("hello world.c");
    let header = dir.path().join("answer.h");
    let text = "#include <stdio.h>\n#include \"answer.h\"\n\
                int main(void) { printf(\"%d\\n\", ANSWER); return 0; }\n";
    fs::write(&source, text).expect("written");
    let source = source.to_str().expect("a UTF-8 path");
    for answer in ["41", "41", "42"] {
        fs::write(&header, format!("#define ANSWER {answer}\n")).expect("written");
        assert_eq!(run(&["-n", "1", source]).expect_status(0).stdout, format!("{answer}\n"));
    }
    fs::write(&header, "#define ANSWER ;;;\n").expect("written");
    run(&["-n", "1", source]).expect_status(1).expect_stderr("could not be compiled");
}

#[test]
fn a_damaged_cache_entry_is_noticed_and_replaced() {
    let dir = tempfile::tempdir().expect("a directory");
    let go = || {
        let mut command = faasm_run();
        command.env("FAASM_CACHE_DIR", dir.path()).args(["-n", "1", launcher()]);
        Running::start(&mut command, "").wait().expect_status(0)
    };
    assert_eq!(go().stdout, "rank 0 of 1\n");
    let damaged = damage_files(dir.path());
    assert!(damaged > 0, "nothing was kept");
    assert_eq!(go().stdout, "rank 0 of 1\n");
    assert_eq!(go().stderr, "", "the entry was replaced");
}

/// Changes a byte in the middle of every file below `dir`; returns how many there are.
fn damage_files(dir: &Path) -> usize {
    let entries =
        fs::read_dir(dir).expect("a directory").map(|entry| entry.expect("an entry").path());
    entries
        .map(|path| {
            if path.is_dir() {
                return damage_files(&path);
            }
            let mut bytes = fs::read(&path).expect("a file");
            if let Some(byte) = bytes.len().checked_sub(1).map(|last| &mut bytes[last / 2]) {
                *byte ^= 0xff;
            }
            fs::remove_file(&path).expect("removed");
            fs::write(&path, bytes).expect("written");
            1
        })
        .sum()
}
