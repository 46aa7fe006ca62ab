//! Ranks that move between nodes while their job runs: the job does what it would have done.

use std::{
    collections::BTreeSet,
    path::Path,
    sync::atomic::{AtomicUsize, Ordering},
    time::{Duration, Instant},
};

use faasm_vm::snapshot::TrackerKind;
use faasm_workloads::manifest::Guest;

use crate::{
    checkpoint::{RANKS_MAX, families, movable_guests, shared_pairs, steps},
    guests::compiled,
    suite::{check_all, check_run, manifest},
    support::{Ran, Running, build_dir, compile, faasm_run, guests_dir, random},
};

/// Number of nodes; ranks go back and forth between them.
const NODES: u32 = 2;

/// How long it may take until something can be done.
const PATIENCE: Duration = Duration::from_secs(60);

/// How long a job runs at least when nothing disturbs it, so that there is time for orders.
const LASTS: Duration = Duration::from_millis(1500);

/// The first stops nowhere, for it does not call MPI; the second compares what its environment tells of the node it began on with
/// the one it is on.
const UNMOVED: [&str; 2] = ["no_mpi", "environment"];
/// Those with threads and with calls for failing ranks, beside the others.
const MOVED_BESIDES: [&str; 3] = ["hybrid_halo", "threads_multiple", "ulfm_calls"];

/// A job on two nodes whose ranks can be moved, with a directory of its own for orders.
fn begin(state: &Path, np: u32, rest: impl FnOnce(&mut std::process::Command)) -> Running {
    let mut command = faasm_run();
    command.env("FAASM_STATE_DIR", state.join("state"));
    command.args(["--local-nodes", &NODES.to_string(), "--migratable"]);
    command.args(["-n", &np.to_string()]);
    rest(&mut command);
    Running::start(&mut command, "")
}

fn order(state: &Path, words: &[&str]) -> Ran {
    let mut command = faasm_run();
    command.env("FAASM_STATE_DIR", state.join("state")).args(words);
    Running::start(&mut command, "").wait()
}

/// Gives orders until the job takes the first one, or has ended.
fn order_soon(state: &Path, running: &Running, words: &[&str]) -> Ran {
    loop {
        let ran = order(state, words);
        if ran.status == Some(0) || running.has_ended() {
            return ran;
        }
        assert!(ran.stderr.contains("takes no orders"), "{ran:#?}");
        std::thread::sleep(Duration::from_millis(5));
    }
}

#[test]
fn a_rank_moves_to_another_node_and_back() {
    let dir = tempfile::tempdir().expect("a directory");
    let mut number = 400;
    let run = |number: u32| {
        begin(dir.path(), 4, |command| {
            command.arg(steps()).arg(number.to_string()).current_dir(dir.path());
        })
    };
    let expected = loop {
        let ran = run(number).wait();
        assert_eq!(ran.status, Some(0), "{ran:#?}");
        if ran.took >= LASTS {
            break ran;
        }
        number *= 2;
    };
    let running = run(number);
    let process = running.id().to_string();
    for (ranks, node) in [("0", "1"), ("0", "0"), ("3,2", "0"), ("0,1,2,3", "1"), ("1", "0")] {
        let ran = order_soon(dir.path(), &running, &["migrate", &process, ranks, node]);
        assert!(ran.status == Some(0) && ran.stdout.contains("stopped for"), "{ran:#?}");
    }
    let ran = order(dir.path(), &["drain", &process, "1"]);
    assert!(ran.status == Some(0) && ran.stdout.contains("3 ranks"), "{ran:#?}");
    let again = order(dir.path(), &["drain", &process, "1"]);
    assert!(again.stdout.contains("already"), "{again:#?}");
    for (words, why) in [
        (["migrate", &process, "4", "1"], "ranks 0 to 3"),
        (["migrate", &process, "1", "7"], "no node 7"),
        (["migrate", "2", "1", "1"], "takes no orders"),
    ] {
        let ran = order(dir.path(), &words);
        assert!(ran.status == Some(1) && ran.stderr.contains(why), "{ran:#?}");
    }
    assert!(!running.has_ended(), "the orders came too late");
    let ran = running.wait();
    assert_eq!((ran.status, &ran.stdout), (Some(0), &expected.stdout), "{ran:#?}");
    let log = std::fs::read_to_string(dir.path().join("steps.log")).expect("it was written");
    assert_eq!(expected.stdout.strip_prefix(&log).map(|rest| rest.lines().count()), Some(1));
}

/// A rank writes to its memory all the time, faster than a look at it takes: all of what it wrote is there in the end.
#[test]
fn memory_that_is_written_while_it_is_copied_arrives_whole() {
    let dir = tempfile::tempdir().expect("a directory");
    let program = build_dir().join("gap.wasm");
    compile(&guests_dir().join("bench/gap.c"), &[], &program).expect("it compiles");
    let running = begin(dir.path(), 2, |command| {
        command.arg(&program).args(["24", "200"]).current_dir(dir.path());
    });
    let process = running.id().to_string();
    let followed = TrackerKind::available().contains(&TrackerKind::WriteProtection);
    for node in ["1", "0", "1", "0"] {
        let ran = order_soon(dir.path(), &running, &["migrate", &process, "0", node]);
        assert_eq!(ran.stdout.contains("of copying"), followed, "{ran:#?}");
    }
    std::fs::write(dir.path().join("end"), "").expect("a file");
    let ran = running.wait();
    let end = ran.stdout.lines().find(|line| line.starts_with("END")).unwrap_or_default();
    assert!(ran.status == Some(0) && end.ends_with(" right"), "{ran:#?}");
}

/// Ranks that stay go on while it is waited for one that computes, and stand still only while the job goes over.
#[test]
fn others_do_not_wait_for_one_that_computes() {
    const COMPUTES_MS: u64 = 800;
    let dir = tempfile::tempdir().expect("a directory");
    let program = build_dir().join("bystanders.wasm");
    compile(&guests_dir().join("bench/bystanders.c"), &[], &program).expect("it compiles");
    let running = begin(dir.path(), 4, |command| {
        command.arg(&program).arg(COMPUTES_MS.to_string()).current_dir(dir.path());
    });
    let process = running.id().to_string();
    for node in ["0", "1", "0", "1"] {
        let ran = order_soon(dir.path(), &running, &["migrate", &process, "3", node]);
        assert!(ran.status == Some(0) && ran.stdout.contains("stopped for"), "{ran:#?}");
    }
    std::fs::write(dir.path().join("end"), "").expect("a file");
    let ran = running.wait();
    let words = |line: &str| line.split(' ').filter_map(|word| word.parse().ok()).collect();
    let of = |kind: &'static str| ran.stdout.lines().filter(move |line| line.starts_with(kind));
    let end: Vec<u64> = of("END").next().map(words).unwrap_or_default();
    assert!(ran.status == Some(0) && end.iter().all(|count| *count > 0), "{ran:#?}");
    let gaps = of("GAP").filter_map(|line| words(line).get(1).copied());
    let longest = Duration::from_nanos(gaps.max().unwrap_or_default());
    assert!(longest < Duration::from_millis(COMPUTES_MS / 2), "{longest:?}: {ran:#?}");
}

/// Ranks with a window of shared memory move together, and not one without the other.
#[test]
fn ranks_that_share_memory_move_together() {
    let dir = tempfile::tempdir().expect("a directory");
    let running = begin(dir.path(), 4, |command| {
        command.arg(shared_pairs()).args(["1", "until"]).current_dir(dir.path());
    });
    let process = running.id().to_string();
    let orders = [
        ("2,3", "0", true),
        ("0", "1", false),
        ("0,1", "1", true),
        ("0,1,2,3", "1", true),
        ("1,2", "0", false),
    ];
    for (ranks, node, moves) in orders {
        let words = ["migrate", &process, ranks, node];
        let ran = match moves {
            true => order_soon(dir.path(), &running, &words),
            false => order(dir.path(), &words),
        };
        assert_eq!(ran.status == Some(0), moves, "{ranks} to {node}: {ran:#?}");
        assert!(moves || ran.stderr.contains("of the pair"), "{ran:#?}");
    }
    let ran = order(dir.path(), &["drain", &process, "1"]);
    assert!(ran.status == Some(0) && ran.stdout.contains("4 ranks"), "{ran:#?}");
    std::fs::write(dir.path().join("end"), "").expect("a file");
    let ran = running.wait();
    assert!(ran.status == Some(0) && ran.stdout.contains("ok rma_shared_pairs"), "{ran:#?}");
}

/// Processes that were spawned go to other nodes as ranks do, with a program that only their own node has seen.
#[test]
fn families_of_processes_move() {
    let dir = tempfile::tempdir().expect("a directory");
    let program = families();
    // What is spawned is another program than that of the ranks, by one section that says nothing.
    let mut bytes = std::fs::read(&program).expect("it is there");
    bytes.extend(b"\x00\x05\x04more");
    let name = program.file_name().expect("it has one");
    std::fs::write(dir.path().join(name), bytes).expect("a file");
    let running = begin(dir.path(), 3, |command| {
        command.arg(&program).args(["1", "until"]).current_dir(dir.path());
    });
    let process = running.id().to_string();
    let [first, second, leaf] = spawned(dir.path(), &running);
    for (ranks, node) in [
        (format!("{first},{second},{leaf}"), "0"),
        (format!("1,{leaf}"), "1"),
        (format!("{first},{second}"), "1"),
        ("2".to_owned(), "0"),
        (leaf.to_string(), "0"),
    ] {
        let begun = Instant::now();
        let ran = loop {
            let ran = order(dir.path(), &["migrate", &process, &ranks, node]);
            // It may not be possible at every instant.
            if ran.status == Some(0) || begun.elapsed() > PATIENCE || running.has_ended() {
                break ran;
            }
        };
        assert!(ran.status == Some(0) && ran.stdout.contains("stopped for"), "{ran:#?}");
    }
    let ran = order(dir.path(), &["drain", &process, "0"]);
    assert!(ran.status == Some(0) && ran.stdout.contains("run on"), "{ran:#?}");
    std::fs::write(dir.path().join("end"), "").expect("a file");
    let ran = running.wait();
    assert!(ran.status == Some(0) && ran.stdout.contains("ok dynamic_lives"), "{ran:#?}");
}

/// The numbers of the three spawned processes of a job of three ranks, once all are there.
fn spawned<const COUNT: usize>(state: &Path, running: &Running) -> [u64; COUNT] {
    let (begun, process) = (Instant::now(), running.id().to_string());
    loop {
        let ran = order(state, &["top", &process, "--json", "--interval", "0.1"]);
        let view = serde_json::from_str::<serde_json::Value>(&ran.stdout).unwrap_or_default();
        let ranks = view["ranks"].as_array().cloned().unwrap_or_default();
        // One that ends soon sends nothing.
        let lives = |rank: &&serde_json::Value| {
            rank["state"] != "ended" && rank["messages"].as_u64() > Some(0)
        };
        let numbers = ranks.iter().filter(lives).filter_map(|rank| rank["rank"].as_u64());
        let numbers: Vec<u64> = numbers.filter(|number| *number > 2).collect();
        if let Ok(numbers) = numbers.try_into() {
            return numbers;
        }
        assert!(begun.elapsed() < PATIENCE && !running.has_ended(), "{ran:#?}");
    }
}

#[test]
fn guests_do_the_same_while_their_ranks_move() {
    let ordered = AtomicUsize::new(0);
    let mut guests = movable_guests();
    let all = guests.len();
    guests.retain(|guest| !UNMOVED.contains(&&*guest.name));
    guests.extend(manifest().into_iter().filter(|one| MOVED_BESIDES.contains(&&*one.name)));
    assert_eq!(guests.len(), all - UNMOVED.len() + MOVED_BESIDES.len(), "a guest has gone");
    // Ranks that read the standard input stay where it is read.
    guests.retain(|guest| ranks(guest).is_some() && guest.stdin.is_empty());
    assert!(guests.len() > 80, "only {} guests", guests.len());
    check_all(&guests, |guest| {
        let np = ranks(guest).unwrap_or(NODES);
        run_and_shuffle(guest, np)?;
        ordered.fetch_add(run_and_move(guest, np)?, Ordering::Relaxed);
        Ok(())
    });
    let ordered = ordered.into_inner();
    // Some are over before all of their ranks can have been told to move.
    assert!(ordered > 10, "{ordered} ranks moved by order");
}

/// Runs a guest while its ranks move by orders, first those that never have; counts them.
fn run_and_move(guest: &Guest, np: u32) -> Result<usize, String> {
    let program = compiled(guest)?;
    let dir = tempfile::tempdir().expect("a directory");
    let running = begin(dir.path(), np, |command| {
        command.arg(&program).args(&guest.args).envs(&guest.env).current_dir(dir.path());
    });
    let process = running.id().to_string();
    let mut seed = u64::from(running.id());
    let (mut orders, mut moved) = (Vec::new(), 0);
    let mut unmoved: BTreeSet<u32> = (0..np).collect();
    // As they are placed at the beginning.
    let mut places: Vec<u32> = (0..np).map(|rank| rank / np.div_ceil(NODES)).collect();
    while !running.has_ended() {
        let ranks: Vec<u32> = match unmoved.is_empty() {
            true => vec![random(&mut seed) % np],
            false => unmoved.iter().copied().collect(),
        };
        let node = random(&mut seed) % NODES;
        let names: Vec<String> = ranks.iter().map(u32::to_string).collect();
        let words = ["migrate", &process, &names.join(","), &node.to_string()];
        let ran = order(dir.path(), &words);
        if ran.stdout.contains("stopped for") {
            for rank in ranks.iter().filter(|rank| places[**rank as usize] != node) {
                unmoved.remove(rank);
                moved += 1;
            }
            ranks.iter().for_each(|rank| places[*rank as usize] = node);
        }
        orders.push(ran.stdout + &ran.stderr);
        if orders.last().is_some_and(|told| told.contains("takes no orders")) {
            std::thread::sleep(Duration::from_millis(5));
        }
    }
    let ran = running.wait();
    check_run(guest, &ran).map_err(|wrong| format!("np {np}: {wrong}: {ran:#?} {orders:#?}"))?;
    Ok(moved)
}

/// Runs a guest each of whose ranks moves at some call at least, and some move more often.
fn run_and_shuffle(guest: &Guest, np: u32) -> Result<(), String> {
    let program = compiled(guest)?;
    let dir = tempfile::tempdir().expect("a directory");
    let running = begin(dir.path(), np, |command| {
        command.args(["-v", "--migrate-policy", "shuffle"]);
        command.arg(&program).args(&guest.args).envs(&guest.env).current_dir(dir.path());
    });
    let ran = running.wait();
    check_run(guest, &ran).map_err(|wrong| format!("np {np}, shuffled: {wrong}: {ran:#?}"))?;
    let told = ran.stderr.lines().filter_map(|line| {
        line.split_once(": rank ")?.1.split_once(" moves to ").map(|(rank, _)| rank)
    });
    let moved: BTreeSet<u32> = told.filter_map(|rank| rank.parse().ok()).collect();
    let unmoved: Vec<u32> = (0..np).filter(|rank| !moved.contains(rank)).collect();
    match unmoved.is_empty() {
        true => Ok(()),
        false => Err(format!("ranks {unmoved:?} of {np} did not move: {ran:#?}")),
    }
}

/// The largest number of ranks that is no more than there should be here, if it puts some on every node.
fn ranks(guest: &Guest) -> Option<u32> {
    guest.np.iter().copied().filter(|np| (NODES..=RANKS_MAX).contains(np)).max()
}
