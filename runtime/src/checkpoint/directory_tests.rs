use super::super::SavedApp;
use super::*;
use crate::checkpoint::Bits;
use crate::host::wasi::FileTableState;

const RANKS: u32 = 3;

fn description() -> Description {
    let app = SavedApp { name: "p.wasm".to_owned(), hash: "77".to_owned(), ranks: RANKS };
    Description { apps: vec![app], command: vec!["p.wasm".to_owned()], directory: "/".to_owned() }
}

fn memory(rank: u32) -> GuestMemory {
    let memory = GuestMemory::for_test(5 * BLOCK_BYTES as usize);
    memory.write_u32(GuestAddr::new(100), rank + 7).expect("inside");
    let noise: Vec<u8> =
        (0..2 * BLOCK_BYTES).map(|at| blake3::hash(&at.to_le_bytes()).as_bytes()[0]).collect();
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
        };
        Deposit { rank, image, memory: memory.clone() }
    };
    (0..).zip(memories).map(deposit).collect()
}

fn check(dir: &Path, number: u32, memories: &[GuestMemory]) -> Result<(), CheckpointError> {
    let checkpoint = Checkpoint::open(dir, Some(number))?;
    assert_eq!((checkpoint.number(), checkpoint.ranks()), (number, RANKS));
    assert_eq!(checkpoint.description(), &description());
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
    let first = writer.write(vec![1], 5, &deposits(&memories)).expect("written");
    check(dir.path(), 1, &memories).expect("whole");
    let second = writer.write(vec![1], 6, &deposits(&memories)).expect("written");
    assert!(second.bytes < first.bytes / 10, "{second:?} after {first:?}");
    for number in 3..40 {
        memories[1].write_u32(GuestAddr::new(number * 8000), 1).expect("inside");
        writer.write(vec![1], 6, &deposits(&memories)).expect("written");
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
    writer.write(vec![1, 2, 3], 5, &deposits(&memories)).expect("written");
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
    writer.write(vec![], 5, &deposits(&memories)).expect("written");
    // The machine stopped while the second one was written.
    fs::create_dir(dir.path().join(".cut-000002")).expect("made");
    fs::write(dir.path().join(".cut-000002/rank-00000"), b"half").expect("written");
    assert!(writer.write(vec![], 6, &deposits(&memories)).is_err(), "its place is taken");
    check(dir.path(), 1, &memories).expect("the last whole one");
    let mut writer = Writer::new(dir.path(), 1, description(), &[]).expect("made");
    writer.write(vec![], 6, &deposits(&memories)).expect("written");
    check(dir.path(), 2, &memories).expect("whole");
    assert!(!dir.path().join(".cut-000002").exists());
}

#[test]
fn foreign_versions_are_named() {
    let dir = tempfile::tempdir().expect("a directory");
    let mut writer = Writer::new(dir.path(), 1, description(), &[]).expect("made");
    let memories: Vec<_> = (0..RANKS).map(memory).collect();
    writer.write(vec![], 5, &deposits(&memories)).expect("written");
    let path = cut_dir(dir.path(), 1).join(MANIFEST);
    let mut bytes = fs::read(&path).expect("it is there");
    bytes[8] = 99;
    fs::write(&path, bytes).expect("written");
    let refused = Checkpoint::open(dir.path(), None).expect_err("foreign").to_string();
    assert!(refused.contains("version 99"), "{refused}");
}
