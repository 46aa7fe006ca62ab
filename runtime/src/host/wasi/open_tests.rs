use std::os::unix::fs::symlink;

use super::super::testing::{READ_ONLY, ROOT, Rig, block_on};
use super::*;

const CREATE_NEW: OFlags = OFlags::CREAT.or(OFlags::EXCL);

fn open_with(rig: &mut Rig, path: &str, rights: Rights, oflags: OFlags) -> Result<Fd, Errno> {
    rig.open_at(ROOT, path, rights, oflags, FdFlags::NONE)
}

#[test]
fn nothing_outside_can_be_reached() {
    let mut rig = Rig::new();
    let secret = rig.host("../secret");
    std::fs::write(&secret, b"secret").expect("a file outside");
    let absolute = secret.canonicalize().expect("it exists");
    symlink(&absolute, rig.host("absolute")).expect("a link");
    symlink("../secret", rig.host("relative")).expect("a link");
    symlink("..", rig.host("up")).expect("a link");
    std::fs::create_dir(rig.host("d")).expect("a directory");
    let paths = [
        "../secret",
        "d/../../secret",
        "./.././secret",
        "absolute",
        "relative",
        "up/secret",
        "d/../up/secret",
        "..",
        "up",
        absolute.to_str().expect("plain"),
        "/",
        "/etc/passwd",
    ];
    for path in paths {
        assert_eq!(rig.open(path), Err(Errno::Notcapable), "{path}");
        let created = open_with(&mut rig, path, Rights::FD_WRITE, OFlags::CREAT);
        assert!(matches!(created, Err(Errno::Notcapable | Errno::Isdir)), "{path}: {created:?}");
    }
    assert_eq!(std::fs::read(&secret).expect("it is there"), b"secret");
    assert!(rig.open("d/../d").is_ok(), "inside, dots are fine");
}

#[test]
fn links_inside_are_followed_when_asked() {
    let mut rig = Rig::new();
    rig.host_file("f", b"abc");
    symlink("f", rig.host("link")).expect("a link");
    symlink("loop", rig.host("loop")).expect("a link");
    let fd = rig.open("link").expect("it leads to a file");
    assert_eq!(rig.read(fd, 9), Ok(b"abc".to_vec()));
    assert_eq!(rig.open("loop"), Err(Errno::Loop));
    let args = OpenArgs {
        lookup: LookupFlags::NONE,
        oflags: OFlags::NONE,
        rights: Rights::FD_READ,
        inheriting: Rights::NONE,
        flags: FdFlags::NONE,
    };
    let opened = block_on(path_open(&mut rig.ctx, ROOT, "link", args));
    assert_eq!(opened, Err(Errno::Loop), "a link that is not followed");
}

#[test]
fn creation_flags_mean_what_they_say() {
    let mut rig = Rig::new();
    let all = Rights::ALL;
    assert_eq!(open_with(&mut rig, "f", all, OFlags::NONE), Err(Errno::Noent));
    assert!(open_with(&mut rig, "f", all, CREATE_NEW).is_ok());
    assert_eq!(open_with(&mut rig, "f", all, CREATE_NEW), Err(Errno::Exist));
    rig.host_file("f", b"abc");
    assert!(open_with(&mut rig, "f", all, OFlags::CREAT).is_ok());
    assert_eq!(std::fs::read(rig.host("f")).expect("it is there"), b"abc");
    assert!(open_with(&mut rig, "f", all, OFlags::TRUNC).is_ok());
    assert_eq!(std::fs::read(rig.host("f")).expect("it is there"), b"");
    assert!(open_with(&mut rig, "to-read", Rights::FD_READ, OFlags::CREAT).is_ok());
    assert!(rig.host("to-read").exists());
    let both = OFlags::CREAT.or(OFlags::DIRECTORY);
    assert_eq!(open_with(&mut rig, "x", all, both), Err(Errno::Inval));
}

#[test]
fn directories_and_files_are_not_confused() {
    let mut rig = Rig::new();
    rig.host_file("f", b"");
    std::fs::create_dir(rig.host("d")).expect("a directory");
    let read = Rights::FD_READ.or(Rights::FD_READDIR);
    assert_eq!(open_with(&mut rig, "f", read, OFlags::DIRECTORY), Err(Errno::Notdir));
    assert_eq!(open_with(&mut rig, "f/x", read, OFlags::NONE), Err(Errno::Notdir));
    assert_eq!(open_with(&mut rig, "f/", read, OFlags::NONE), Err(Errno::Notdir));
    assert_eq!(open_with(&mut rig, "d", Rights::FD_WRITE, OFlags::NONE), Err(Errno::Isdir));
    assert!(open_with(&mut rig, "d/", read, OFlags::NONE).is_ok());
    let fd = open_with(&mut rig, "d", Rights::ALL, OFlags::DIRECTORY).expect("a directory");
    let descriptor = rig.ctx.files.get(fd).expect("it is open");
    assert_eq!(descriptor.rights, rights::DIRECTORY);
    let file = open_with(&mut rig, "f", Rights::ALL, OFlags::NONE).expect("a file");
    assert_eq!(rig.ctx.files.get(file).expect("it is open").rights, rights::FILE);
    let below = rig.open_at(file, "x", read, OFlags::NONE, FdFlags::NONE);
    assert_eq!(below, Err(Errno::Notdir));
    let below = rig.open_at(Fd(0), "x", read, OFlags::NONE, FdFlags::NONE);
    assert_eq!(below, Err(Errno::Notdir));
}

#[test]
fn a_read_only_directory_refuses_every_change() {
    let mut rig = Rig::new();
    rig.host_file("f", b"abc");
    let mut open =
        |path: &str, rights, oflags| rig.open_at(READ_ONLY, path, rights, oflags, FdFlags::NONE);
    let read = Rights::FD_READ;
    for rights in [Rights::FD_WRITE, Rights::FD_ALLOCATE, Rights::FD_FILESTAT_SET_SIZE] {
        assert_eq!(open("f", rights, OFlags::NONE), Err(Errno::Rofs));
    }
    assert_eq!(open("f", read, OFlags::TRUNC), Err(Errno::Rofs));
    assert_eq!(open("new", read, OFlags::CREAT), Err(Errno::Rofs));
    assert_eq!(open("new", Rights::ALL, CREATE_NEW), Err(Errno::Rofs));
    assert_eq!(open("f", read, CREATE_NEW), Err(Errno::Exist));
    assert!(open("f", read, OFlags::CREAT).is_ok(), "it exists and is only read");
    assert!(!rig.host("new").exists());
}

#[test]
fn rights_only_shrink() {
    let mut rig = Rig::new();
    std::fs::create_dir(rig.host("d")).expect("a directory");
    rig.host_file("d/f", b"abc");
    let args = OpenArgs {
        lookup: LookupFlags::NONE,
        oflags: OFlags::DIRECTORY,
        rights: Rights::PATH_OPEN,
        inheriting: Rights::FD_READ,
        flags: FdFlags::NONE,
    };
    let dir = block_on(path_open(&mut rig.ctx, ROOT, "d", args)).expect("a directory");
    let fd = rig.open_at(dir, "f", Rights::ALL, OFlags::NONE, FdFlags::NONE).expect("a file");
    assert_eq!(rig.ctx.files.get(fd).expect("it is open").rights, Rights::FD_READ);
    let created = rig.open_at(dir, "g", Rights::ALL, OFlags::CREAT, FdFlags::NONE);
    assert_eq!(created, Err(Errno::Notcapable));
    let cut = rig.open_at(dir, "f", Rights::ALL, OFlags::TRUNC, FdFlags::NONE);
    assert_eq!(cut, Err(Errno::Notcapable));
}

#[test]
fn the_number_of_descriptors_is_bounded() {
    let mut rig = Rig::new();
    rig.host_file("f", b"");
    let last = loop {
        match rig.open("f") {
            Ok(fd) => assert!(fd.0 < 2000),
            Err(error) => break error,
        }
    };
    assert_eq!(last, Errno::Mfile);
}

#[test]
fn flags_the_standard_does_not_name_are_refused() {
    assert_eq!(OpenArgs::decode(2, 0, (0, 0), 0).err(), Some(Errno::Inval));
    assert_eq!(OpenArgs::decode(0, 16, (0, 0), 0).err(), Some(Errno::Inval));
    assert_eq!(OpenArgs::decode(0, 0, (0, 0), 1 << 16).err(), Some(Errno::Inval));
    let all = OpenArgs::decode(1, 15, (u64::MAX, u64::MAX), 31).expect("they are named");
    assert_eq!(all.rights, Rights::ALL);
}
