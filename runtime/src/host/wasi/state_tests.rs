use std::path::Path;

use super::super::ctx::{Preopen, WasiCtx};
use super::super::stdin::StdinSource;
use super::super::testing::{ROOT, Rig};
use super::super::{descriptor, dir, file, path};
use super::*;

/// The state as it comes back from bytes.
fn through_bytes(state: &FileTableState) -> FileTableState {
    let bytes = serde_json::to_vec(state).expect("it can be encoded");
    serde_json::from_slice(&bytes).expect("it can be decoded")
}

/// Another rank with the same directory, known as `guests` and in that order.
fn elsewhere(host: &Path, guests: &[&str]) -> WasiCtx {
    let preopens: Vec<_> = guests
        .iter()
        .map(|guest| Preopen::open(host, guest, *guest == "/input").expect("it exists"))
        .collect();
    let stdin = StdinSource::Bytes((*b"0123456789").into());
    WasiCtx::builder().preopens(preopens.into()).stdin(stdin).build().expect("plain")
}

#[test]
fn open_files_go_on_where_they_were() {
    let mut rig = Rig::with_stdin(StdinSource::Bytes((*b"0123456789").into()));
    rig.host_file("data", b"hello world");
    std::fs::create_dir(rig.host("d")).expect("a directory");
    let data = rig.open("data").expect("it opens");
    assert_eq!(rig.read(data, 6), Ok(b"hello ".to_vec()));
    let log = rig.create("log");
    let append = FdFlags::APPEND.raw().into();
    descriptor::set_flags(&mut rig.ctx, log, append).expect("allowed");
    assert_eq!(rig.write(log, b"before "), Ok(7));
    let dir = rig.open("d").expect("it opens");
    descriptor::renumber(&mut rig.ctx, dir, Fd(1)).expect("both are open");
    rig.read(Fd(0), 4).expect("there is input");

    let saved = rig.ctx.save_files();
    let state = through_bytes(&saved);
    assert_eq!(state, saved);
    rig.ctx = elsewhere(&rig.host(""), &["/input", "/work"]);
    rig.ctx.restore_files(&state).expect("everything is there");

    assert_eq!(rig.read(data, 100), Ok(b"world".to_vec()));
    assert_eq!(rig.write(log, b"after"), Ok(5));
    assert_eq!(std::fs::read(rig.host("log")).expect("it is there"), b"before after");
    assert_eq!(path::create_directory(&rig.ctx, Fd(1), "below"), Ok(()));
    assert!(rig.host("d/below").is_dir());
    assert_eq!(rig.read(Fd(0), 100), Ok(b"456789".to_vec()));
    assert_eq!(path::create_directory(&rig.ctx, ROOT, "x"), Ok(()), "by name, not by index");
}

#[test]
fn a_listing_goes_on_at_its_cookie() {
    let mut rig = Rig::new();
    rig.host_file("a", b"");
    rig.host_file("b", b"");
    let out = faasm_vm::GuestAddr::new(0);
    dir::readdir(&mut rig.ctx, &rig.memory, ROOT, (out, 60), 0).expect("readable");
    let state = rig.ctx.save_files();
    rig.ctx = elsewhere(&rig.host(""), &["/work", "/input"]);
    rig.ctx.restore_files(&state).expect("everything is there");
    assert_eq!(dir::readdir(&mut rig.ctx, &rig.memory, ROOT, (out, 60), 3), Ok(25));
    let name = faasm_vm::GuestAddr::new(24);
    assert_eq!(rig.memory.read_u8(name), Ok(b'b'));
}

#[test]
fn renamed_files_are_found_and_removed_ones_are_not() {
    let mut rig = Rig::new();
    path::create_directory(&rig.ctx, ROOT, "d").expect("it is free");
    let kept = rig.create("d/kept");
    let gone = rig.create("gone");
    let at = |path| path::NameAt { fd: ROOT, path };
    path::rename(&mut rig.ctx, at("d"), at("e")).expect("it is there");
    let state = rig.ctx.save_files();
    rig.ctx.restore_files(&state).expect("it is found at its new name");
    assert_eq!(rig.write(kept, b"x"), Ok(1));
    assert_eq!(std::fs::read(rig.host("e/kept")).expect("it is there"), b"x");
    path::unlink_file(&mut rig.ctx, ROOT, "gone").expect("it is there");
    let error = rig.ctx.restore_files(&rig.ctx.save_files()).expect_err("it has no name");
    let expected =
        format!("descriptor {} is the removed file \"gone\", which cannot be opened again", gone.0);
    assert_eq!(error.to_string(), expected);
    assert_eq!(file::tell(&mut rig.ctx, kept), Ok(1), "the present descriptors are kept");
}

#[test]
fn what_is_missing_is_named() {
    let mut rig = Rig::new();
    let fd = rig.create("f");
    let state = rig.ctx.save_files();
    let mut other = elsewhere(&rig.host(""), &["/work"]);
    let error = other.restore_files(&state).expect_err("a preopen is missing");
    assert!(matches!(&error, RestoreError::Preopen { guest } if guest == "/input"), "{error}");
    std::fs::remove_file(rig.host("f")).expect("it is there");
    let error = rig.ctx.restore_files(&state).expect_err("the file is missing");
    let noent = Errno::Noent.raw();
    assert!(
        matches!(&error, RestoreError::Open { fd: at, path, errno } if (*at, path.as_str(), *errno) == (fd.0, "f", noent)),
        "{error}"
    );
}

#[test]
fn files_are_cut_back_to_what_they_were() {
    let mut rig = Rig::new();
    let fd = rig.create("f");
    rig.write(fd, b"before").expect("there is room");
    let state = rig.ctx.save_files();
    rig.write(fd, b" and after").expect("there is room");
    rig.ctx.restore_files(&state).expect("everything is there");
    assert_eq!(std::fs::read(rig.host("f")).expect("it is there"), b"before");
    rig.host_file("f", b"bef");
    let error = rig.ctx.restore_files(&state).expect_err("its end is gone");
    assert!(matches!(error, RestoreError::Shorter { bytes: 6, found: 3, .. }), "{error}");
}

#[test]
fn the_monotonic_clock_goes_on_from_where_it_was() {
    const MINUTE_NS: u64 = 60_000_000_000;
    let mut rig = Rig::new();
    let mut state = rig.ctx.save_files();
    // Also where the host's clock is far ahead or far behind.
    for was in [7, state.monotonic_ns * 2 + MINUTE_NS] {
        state.monotonic_ns = was;
        rig.ctx.restore_files(&state).expect("everything is there");
        let goes_on = |now: u64| (was..was + MINUTE_NS).contains(&now);
        let now = rig.ctx.now_ns(ClockId::Monotonic);
        let saved = rig.ctx.save_files().monotonic_ns;
        assert!(goes_on(now) && goes_on(saved) && now <= saved, "{was}: {now}, {saved}");
    }
}

#[test]
fn damaged_tables_are_refused() {
    let mut rig = Rig::new();
    rig.create("f");
    let good = rig.ctx.save_files();
    let mut refuse = |change: fn(&mut FileTableState)| {
        let mut state = good.clone();
        change(&mut state);
        rig.ctx.restore_files(&state).expect_err("it is damaged").to_string()
    };
    assert!(refuse(|state| state.version = 77).contains("version 77"));
    assert!(refuse(|state| state.descriptors[1].fd = 0).contains("twice"));
    assert!(refuse(|state| state.descriptors[1].rights = Rights::ALL).contains("impossible"));
    assert!(refuse(|state| state.descriptors[0].fd = 60_000).contains("too high"));
    assert!(refuse(|state| state.preopens.clear()).contains("no preopened directory"));
    let outside = refuse(|state| {
        if let ObjectState::File { place, .. } = &mut state.descriptors[5].object {
            place.path = "../../etc/passwd".into();
        }
    });
    assert!(outside.contains(&format!("WASI error {}", Errno::Notcapable.raw())), "{outside}");
}
