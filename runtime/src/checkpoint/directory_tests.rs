use std::process::Command;
use std::sync::Arc;

use super::*;
use crate::checkpoint::faults::{Fault, Planned, lose};
use crate::checkpoint::writer::FULL_EVERY;
use crate::checkpoint::{Births, Bits, Common, Cut, Deposit, SavedApp, SavedDir, Writer};
use crate::host::wasi::FileTableState;

const RANKS: u32 = 3;

fn description() -> Description {
    let app = SavedApp { name: "p.wasm".to_owned(), hash: "77".to_owned(), ranks: RANKS };
    Description { apps: vec![app], command: vec!["p.wasm".to_owned()], directory: "/".to_owned() }
}

fn memory(rank: u32) -> GuestMemory {
    let memory = GuestMemory::for_test(5 * BLOCK_BYTES as usize);
    memory.write_u32(GuestAddr::new(100), rank + 7).expect("inside");
    let mut noise = vec![0; 2 * BLOCK_BYTES as usize];
    blake3::Hasher::new().finalize_xof().fill(&mut noise);
    memory.write(GuestAddr::new(2 * BLOCK_BYTES), &noise).expect("inside");
    memory
}

fn deposits(memories: &[GuestMemory]) -> Vec<Deposit> {
    let deposit = |(rank, memory): (u32, &GuestMemory)| {
        let image = RankImage {
            memory_bytes: memory.len(),
            globals: vec![(0, Bits::Bits32(rank.cast_signed()))],
            frames: vec![Bits::Bits64(1 << 40), Bits::Bits128(u128::MAX)],
            mpi: vec![rank as u8; 9],
            files: FileTableState::default(),
            offers: Vec::new(),
            threads: None,
        };
        Deposit { rank, image, memory: memory.clone(), bonds: vec![vec![rank, 0]] }
    };
    (0..).zip(memories).map(deposit).collect()
}

fn common(world: Vec<u8>, elapsed_ns: u64, processes: usize) -> Common {
    Common { world, processes: processes as u32, elapsed_ns }
}

fn check(dir: &Path, number: u32, memories: &[GuestMemory]) -> Result<(), CheckpointError> {
    let checkpoint = Checkpoint::open(dir, Some(number))?;
    assert_eq!((checkpoint.number(), checkpoint.ranks()), (number, RANKS));
    assert_eq!(checkpoint.description(), &description());
    let bonds: Vec<_> = (0..memories.len() as u32).map(|rank| vec![rank, 0]).collect();
    assert_eq!(checkpoint.bonds(), bonds);
    for (rank, memory) in (0..).zip(memories) {
        let image = checkpoint.image(rank)?;
        assert_eq!(image, deposits(memories)[rank as usize].image);
        let restored = GuestMemory::for_test(image.memory_bytes as usize);
        restored.fill(GuestAddr::new(0), 3, restored.len()).expect("inside");
        checkpoint.fill(rank, &restored)?;
        let all = |memory: &GuestMemory| memory.read_vec(GuestAddr::new(0), memory.len());
        assert_eq!(all(&restored).expect("inside"), all(memory).expect("inside"));
    }
    Ok(())
}

#[test]
fn cuts_come_back_and_later_ones_are_short() {
    let dir = tempfile::tempdir().expect("a directory");
    let mut writer =
        Writer::new(dir.path(), 2, description(), &[("77".to_owned(), b"code")]).expect("made");
    let memories: Vec<_> = (0..RANKS).map(memory).collect();
    let first = writer
        .write(common(vec![1], 5, memories.len()), (&deposits(&memories), &[]), &Births::default())
        .expect("written");
    check(dir.path(), 1, &memories).expect("whole");
    let second = writer
        .write(common(vec![1], 6, memories.len()), (&deposits(&memories), &[]), &Births::default())
        .expect("written");
    assert!(second.bytes < first.bytes / 10, "{second:?} after {first:?}");
    for number in 3..40 {
        memories[1].write_u32(GuestAddr::new(number * 8000), 1).expect("inside");
        writer
            .write(
                common(vec![1], 6, memories.len()),
                (&deposits(&memories), &[]),
                &Births::default(),
            )
            .expect("written");
        let newest = number as u32;
        check(dir.path(), newest, &memories).expect("whole");
        assert!(matches!(
            check(dir.path(), newest - 2, &memories),
            Err(CheckpointError::None { .. })
        ));
    }
    assert!(numbers(dir.path()).len() <= 2 + FULL_EVERY as usize, "old files go");
    let program = Checkpoint::open(dir.path(), None).expect("the latest").program("77");
    assert_eq!(fs::read(program).expect("it is there"), b"code");
}

#[test]
fn a_changed_byte_is_found_wherever_it_is() {
    let dir = tempfile::tempdir().expect("a directory");
    let mut writer = Writer::new(dir.path(), 2, description(), &[]).expect("made");
    let memories: Vec<_> = (0..RANKS).map(memory).collect();
    writer
        .write(
            common(vec![1, 2, 3], 5, memories.len()),
            (&deposits(&memories), &[]),
            &Births::default(),
        )
        .expect("written");
    let place = cut_dir(dir.path(), 1);
    for name in [MANIFEST.to_owned(), rank_name(0)] {
        let path = place.join(name);
        let sound = fs::read(&path).expect("it is there");
        let step = sound.len() / 300 + 1;
        for at in (0..sound.len()).step_by(step) {
            let mut damaged = sound.clone();
            damaged[at] ^= 0x10;
            fs::write(&path, &damaged).expect("written");
            assert!(check(dir.path(), 1, &memories).is_err(), "byte {at} of {path:?}");
            fs::write(&path, &sound[..at]).expect("written");
            assert!(check(dir.path(), 1, &memories).is_err(), "{path:?} cut after {at}");
        }
        fs::write(&path, &sound).expect("written");
    }
    check(dir.path(), 1, &memories).expect("sound again");
    fs::remove_file(place.join(rank_name(2))).expect("removed");
    assert!(check(dir.path(), 1, &memories).is_err());
}

#[test]
fn what_is_half_written_is_no_cut_and_goes() {
    let dir = tempfile::tempdir().expect("a directory");
    let memories: Vec<_> = (0..RANKS).map(memory).collect();
    let mut writer = Writer::new(dir.path(), 1, description(), &[]).expect("made");
    writer
        .write(common(vec![], 5, memories.len()), (&deposits(&memories), &[]), &Births::default())
        .expect("written");
    let half = |cut: u32| {
        let place = dir.path().join(format!(".cut-{cut:06}"));
        fs::create_dir(&place).expect("made");
        fs::write(place.join("rank-00000"), b"half").expect("written");
    };
    // It was abandoned, and could not be removed.
    half(2);
    check(dir.path(), 1, &memories).expect("the last whole one");
    writer
        .write(common(vec![], 6, memories.len()), (&deposits(&memories), &[]), &Births::default())
        .expect("written");
    // The machine stopped while the third one was written.
    half(3);
    half(4);
    let mut writer = Writer::new(dir.path(), 1, description(), &[]).expect("made");
    writer
        .write(common(vec![], 6, memories.len()), (&deposits(&memories), &[]), &Births::default())
        .expect("written");
    check(dir.path(), 3, &memories).expect("whole");
    assert!(!dir.path().join(".cut-000004").exists());
}

#[test]
fn ranks_that_had_ended_have_no_file() {
    let dir = tempfile::tempdir().expect("a directory");
    let memories: Vec<_> = (0..RANKS).map(memory).collect();
    let mut writer = Writer::new(dir.path(), 1, description(), &[]).expect("made");
    let mut left = deposits(&memories);
    left.remove(1);
    let stone = Tombstone { rank: 1, code: 3, messages: 7, bytes: 70 };
    for number in 1..4 {
        writer.write(common(vec![], 5, 3), (&left, &[stone]), &Births::default()).expect("written");
        let checkpoint = Checkpoint::open(dir.path(), Some(number)).expect("whole");
        let stones: Vec<_> = (0..RANKS).map(|rank| checkpoint.tombstone(rank)).collect();
        assert_eq!(stones, [None, Some(stone), None]);
        assert!(checkpoint.image(1).is_err() && checkpoint.image(2).is_ok());
    }
    let foreign = Tombstone { rank: 0, ..stone };
    let missing = writer
        .write(common(vec![], 5, 3), (&left, &[foreign]), &Births::default())
        .expect_err("two of one rank");
    assert!(missing.to_string().contains("have been written"), "{missing}");
}

#[test]
fn spawned_processes_come_with_what_they_were_spawned_with() {
    let dir = tempfile::tempdir().expect("a directory");
    let memories: Vec<_> = (0..RANKS + 3).map(memory).collect();
    let mut writer = Writer::new(dir.path(), 1, description(), &[]).expect("made");
    let program = b"a program".to_vec();
    let birth = Birth {
        name: "child".to_owned(),
        hash: *blake3::hash(&program).as_bytes(),
        bytes: program.len() as u64,
        args: vec!["7".to_owned()],
        dirs: vec![SavedDir { host: "/".to_owned(), guest: ".".to_owned(), read_only: true }],
        rank: 0,
        of: 2,
        family: Vec::new(),
    };
    let births = Births::default();
    births.keep_program(birth.hash, program.clone().into());
    births.add(RANKS + 2, Arc::new(birth.clone()));
    // Two numbers behind those of the ranks were nobody's.
    let mut left = deposits(&memories);
    left.drain(RANKS as usize..RANKS as usize + 2);
    let processes = memories.len();
    writer.write(common(vec![], 5, processes), (&left, &[]), &births).expect("written");
    let checkpoint = Checkpoint::open(dir.path(), None).expect("whole");
    assert_eq!(checkpoint.ranks(), RANKS + 3);
    let found: Vec<_> = (0..RANKS + 3).filter(|rank| checkpoint.birth(*rank).is_some()).collect();
    assert_eq!((found, checkpoint.birth(RANKS + 2)), (vec![RANKS + 2], Some(&birth)));
    assert!(checkpoint.has_ended(RANKS) && checkpoint.has_ended(RANKS + 1));
    assert_eq!(checkpoint.read_program(&birth.hex()).expect("it is kept"), program);
    fs::write(checkpoint.program(&birth.hex()), b"another").expect("it can be written");
    assert!(checkpoint.read_program(&birth.hex()).is_err(), "it is not what was kept");
    let unknown = writer.write(common(vec![], 5, processes), (&left, &[]), &Births::default());
    unknown.expect("it is written");
    assert!(Checkpoint::open(dir.path(), None).is_err(), "nobody knows how it was spawned");
}

/// A directory in memory where there is one: what the disk would lose is known without a disk.
fn quick_dir() -> tempfile::TempDir {
    let shared = tempfile::tempdir_in("/dev/shm");
    shared.or_else(|_| tempfile::tempdir()).expect("a directory")
}

/// The memories of all ranks when cut `number` is made.
fn at_cut(number: u32) -> Vec<GuestMemory> {
    let changed = |rank| {
        let memory = memory(rank);
        for cut in 1..=number {
            let address = GuestAddr::new(u64::from(cut) * BLOCK_BYTES + 5);
            memory.write_u32(address, cut * 1000 + rank).expect("inside");
        }
        memory
    };
    (0..RANKS).map(changed).collect()
}

/// Cuts that are made in a row, of which one is kept.
const CUTS: u32 = 3;

/// Begins to write into a directory and makes cuts; tells of each what came of it.
fn make_cuts(dir: &Path, mut made: impl FnMut(u32, Result<Cut, CheckpointError>)) {
    let writer = Writer::new(dir, 1, description(), &[("77".to_owned(), b"code")]);
    let Ok(mut writer) = writer else { return };
    for number in 1..=CUTS {
        let memories = at_cut(number);
        made(
            number,
            writer.write(
                common(vec![1], 5, memories.len()),
                (&deposits(&memories), &[]),
                &Births::default(),
            ),
        );
    }
}

/// Number of steps that this takes.
fn steps() -> usize {
    let dir = quick_dir();
    let planned = Planned::new(dir.path(), Fault::Nothing, 0);
    make_cuts(dir.path(), |_, made| assert!(made.is_ok(), "{made:?}"));
    planned.steps().len()
}

/// At least cut `least` is there; the last one is what it was, and another job can go on in the directory.
fn check_remains(dir: &Path, least: u32, context: &str) {
    let last = cuts(dir).ok().and_then(|cuts| cuts.last().copied()).unwrap_or_default();
    assert!(last >= least, "{context}: cut {last} is the last of {least}");
    if last > 0 {
        check(dir, last, &at_cut(last)).unwrap_or_else(|error| panic!("{context}: {error}"));
        let program = Checkpoint::open(dir, None).expect("whole").program("77");
        assert_eq!(fs::read(program).expect("it is there"), b"code", "{context}");
    }
    let mut writer =
        Writer::new(dir, 1, description(), &[("77".to_owned(), b"code")]).expect("another job");
    let memories = at_cut(1);
    let next = writer
        .write(common(vec![1], 5, memories.len()), (&deposits(&memories), &[]), &Births::default())
        .expect("there is room again");
    check(dir, next.number, &memories).unwrap_or_else(|error| panic!("{context}: {error}"));
}

#[test]
fn the_last_cut_is_whole_wherever_the_disk_is_full() {
    for at in 0..steps() {
        let dir = quick_dir();
        let planned = Planned::new(dir.path(), Fault::Full, at);
        let (mut last, mut failures) = (0, 0);
        make_cuts(dir.path(), |number, made| match made {
            // A number that failed is given again.
            Ok(cut) => {
                last = number;
                check(dir.path(), cut.number, &at_cut(number)).expect("it was made");
            }
            Err(_) => failures += 1,
        });
        drop(planned);
        assert!(failures < 2, "step {at}: {failures} cuts failed");
        assert!(last == CUTS || failures == 1 || last == 0, "step {at}");
    }
}

#[test]
fn the_last_cut_is_whole_wherever_the_power_fails() {
    for at in 0..steps() {
        for names_too in [false, true] {
            let dir = quick_dir();
            let planned = Planned::new(dir.path(), Fault::End, at);
            let mut last = 0;
            make_cuts(dir.path(), |number, made| {
                if made.is_ok() {
                    last = number;
                }
            });
            let mut done = planned.steps();
            drop(planned);
            done.truncate(at);
            lose(&done, names_too);
            check_remains(dir.path(), last, &format!("step {at}, names {names_too}"));
        }
    }
}

const DIR: &str = "FAASM_TEST_DIR";
const STEP: &str = "FAASM_TEST_STEP";

#[test]
#[ignore = "it is killed: another test runs it in a process of its own"]
fn a_writer_that_is_killed() {
    let of = |name| std::env::var(name).unwrap_or_else(|_| panic!("{name} is not set"));
    let dir = PathBuf::from(of(DIR));
    let step = of(STEP).parse().expect("a number");
    let kept = dir.join("kept");
    let _planned = Planned::new(&kept, Fault::Kill, step);
    make_cuts(&kept, |number, made| {
        made.expect("nothing fails");
        fs::write(dir.join("made"), number.to_string()).expect("written");
    });
}

#[test]
fn the_last_cut_is_whole_wherever_the_writer_is_killed() {
    let this = std::env::current_exe().expect("it is known");
    for step in 0..steps() {
        let dir = quick_dir();
        let mut writer = Command::new(&this);
        let test = module_path!().split_once("::").expect("in a crate").1;
        writer.args(["--exact", "--ignored", &format!("{test}::a_writer_that_is_killed")]);
        writer.env(DIR, dir.path()).env(STEP, step.to_string());
        let output = writer.output().expect("it starts");
        assert_eq!(output.status.code(), None, "step {step}: {output:?}");
        let made = fs::read_to_string(dir.path().join("made")).unwrap_or_default();
        let made = made.parse().unwrap_or_default();
        check_remains(&dir.path().join("kept"), made, &format!("step {step}"));
    }
}

#[test]
fn foreign_versions_are_named() {
    let dir = quick_dir();
    let mut writer = Writer::new(dir.path(), 1, description(), &[]).expect("made");
    let memories: Vec<_> = (0..RANKS).map(memory).collect();
    writer
        .write(common(vec![], 5, memories.len()), (&deposits(&memories), &[]), &Births::default())
        .expect("written");
    let path = cut_dir(dir.path(), 1).join(MANIFEST);
    let mut bytes = fs::read(&path).expect("it is there");
    bytes[8] = 99;
    fs::write(&path, bytes).expect("written");
    let refused = Checkpoint::open(dir.path(), None).expect_err("foreign").to_string();
    assert!(refused.contains("version 99"), "{refused}");
}
