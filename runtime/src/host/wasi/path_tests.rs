use std::os::unix::fs::symlink as host_symlink;

use super::super::descriptor;
use super::super::testing::{READ_ONLY, ROOT, Rig};
use super::super::types::Filetype;
use super::*;

const FOLLOW: u32 = 1;
const OUT: GuestAddr = GuestAddr::new(4096);

fn at(path: &str) -> NameAt<'_> {
    NameAt { fd: ROOT, path }
}

#[test]
fn names_are_made_moved_and_removed() {
    let mut rig = Rig::new();
    let ctx = &mut rig.ctx;
    assert_eq!(create_directory(ctx, ROOT, "d"), Ok(()));
    assert_eq!(create_directory(ctx, ROOT, "d"), Err(Errno::Exist));
    assert_eq!(create_directory(ctx, ROOT, "e/"), Ok(()), "a trailing slash is fine");
    rig.host_file("d/f", b"abc");
    let ctx = &mut rig.ctx;
    assert_eq!(link(ctx, 0, at("d/f"), at("g")), Ok(()));
    assert_eq!(filestat(ctx, ROOT, 0, "g").expect("it is there").links, 2);
    assert_eq!(rename(ctx, at("g"), at("e/h")), Ok(()));
    assert_eq!(filestat(ctx, ROOT, 0, "g").err(), Some(Errno::Noent));
    assert_eq!(remove_directory(ctx, ROOT, "d"), Err(Errno::Notempty));
    assert_eq!(unlink_file(ctx, ROOT, "d"), Err(Errno::Isdir));
    assert_eq!(unlink_file(ctx, ROOT, "d/f"), Ok(()));
    assert_eq!(unlink_file(ctx, ROOT, "d/f"), Err(Errno::Noent));
    assert_eq!(remove_directory(ctx, ROOT, "d"), Ok(()));
    assert_eq!(remove_directory(ctx, ROOT, "e/h"), Err(Errno::Notdir));
    assert_eq!(rename(ctx, at("e/h"), at("no/x")), Err(Errno::Noent));
    assert_eq!(std::fs::read(rig.host("e/h")).expect("it is there"), b"abc");
}

#[test]
fn symbolic_links_are_made_read_and_followed() {
    let rig = Rig::new();
    rig.host_file("f", b"abcdef");
    let (ctx, memory) = (&rig.ctx, &rig.memory);
    assert_eq!(symlink(ctx, "f", ROOT, "link"), Ok(()));
    assert_eq!(symlink(ctx, "/etc/passwd", ROOT, "bad"), Err(Errno::Notcapable));
    let kind = |lookup| filestat(ctx, ROOT, lookup, "link").expect("it is there").filetype;
    assert_eq!(kind(0), Filetype::SymbolicLink);
    assert_eq!(kind(FOLLOW), Filetype::RegularFile);
    assert_eq!(filestat(ctx, ROOT, 2, "link").err(), Some(Errno::Inval));
    assert_eq!(readlink(ctx, memory, ROOT, "link", (OUT, 100)), Ok(1));
    assert_eq!(memory.read_u8(OUT), Ok(b'f'));
    assert_eq!(readlink(ctx, memory, ROOT, "f", (OUT, 100)), Err(Errno::Inval));
    assert_eq!(symlink(ctx, "a-long-target", ROOT, "long"), Ok(()));
    assert_eq!(readlink(ctx, memory, ROOT, "long", (OUT, 4)), Ok(4), "cut to the buffer");
    assert_eq!(memory.read_vec(OUT, 4).expect("in bounds"), b"a-lo");
    assert_eq!(link(ctx, FOLLOW, at("link"), at("hard")), Ok(()));
    assert_eq!(filestat(ctx, ROOT, 0, "hard").expect("it is there").size_bytes, 6);
}

#[test]
fn no_call_leaves_the_directory() {
    let mut rig = Rig::new();
    std::fs::write(rig.host("../secret"), b"secret").expect("a file outside");
    rig.host_file("f", b"abc");
    host_symlink("../secret", rig.host("out")).expect("a link");
    host_symlink("..", rig.host("up")).expect("a link");
    let absolute = rig.host("../secret").canonicalize().expect("it exists");
    let absolute = absolute.to_str().expect("plain").to_owned();
    host_symlink(&absolute, rig.host("absolute")).expect("a link");
    let times = NewTimes::decode(1, 1, 5).expect("two times");
    let (ctx, memory) = (&mut rig.ctx, &rig.memory);
    for path in ["../secret", "up/secret", absolute.as_str()] {
        let refused = Err(Errno::Notcapable);
        assert_eq!(filestat(ctx, ROOT, 0, path).map(drop), refused, "stat {path}");
        assert_eq!(set_times(ctx, ROOT, 0, path, times), refused, "times {path}");
        assert_eq!(readlink(ctx, memory, ROOT, path, (OUT, 9)).map(drop), refused, "{path}");
        assert_eq!(unlink_file(ctx, ROOT, path), refused, "unlink {path}");
        assert_eq!(remove_directory(ctx, ROOT, path), refused, "rmdir {path}");
        assert_eq!(create_directory(ctx, ROOT, path), refused, "mkdir {path}");
        assert_eq!(rename(ctx, at("f"), at(path)), refused, "rename to {path}");
        assert_eq!(rename(ctx, at(path), at("g")), refused, "rename from {path}");
        assert_eq!(link(ctx, 0, at("f"), at(path)), refused, "link to {path}");
        assert_eq!(link(ctx, 0, at(path), at("g")), refused, "link from {path}");
        assert_eq!(symlink(ctx, "f", ROOT, path), refused, "symlink {path}");
    }
    for path in ["out", "absolute"] {
        let refused = Err(Errno::Notcapable);
        assert_eq!(filestat(ctx, ROOT, FOLLOW, path).map(drop), refused, "stat {path}");
        assert_eq!(set_times(ctx, ROOT, FOLLOW, path, times), refused, "times {path}");
        assert_eq!(link(ctx, FOLLOW, at(path), at("g")), refused, "link {path}");
    }
    assert_eq!(readlink(ctx, memory, ROOT, "absolute", (OUT, 9)), Err(Errno::Notcapable));
    let secret = std::fs::metadata(&absolute).expect("it is there");
    assert!(secret.modified().expect("a time").elapsed().expect("the past").as_secs() < 3600);
}

#[test]
fn a_read_only_directory_refuses_every_change() {
    let mut rig = Rig::new();
    rig.host_file("f", b"abc");
    std::fs::create_dir(rig.host("d")).expect("a directory");
    let input = rig.open_at(
        READ_ONLY,
        "d",
        Rights::ALL,
        super::super::flags::OFlags::DIRECTORY,
        super::super::flags::FdFlags::NONE,
    );
    let input = input.expect("it can be read");
    let times = NewTimes::decode(1, 1, 5).expect("two times");
    let ctx = &mut rig.ctx;
    for fd in [READ_ONLY, input] {
        let here = |path| NameAt { fd, path };
        let refused = Err(Errno::Rofs);
        assert_eq!(create_directory(ctx, fd, "x"), refused);
        assert_eq!(set_times(ctx, fd, 0, "f", times), refused);
        assert_eq!(link(ctx, 0, at("f"), here("x")), refused);
        assert_eq!(link(ctx, 0, here("f"), at("x")), refused, "it could be written there");
        assert_eq!(rename(ctx, here("f"), at("x")), refused);
        assert_eq!(rename(ctx, at("f"), here("x")), refused);
        assert_eq!(remove_directory(ctx, fd, "d"), refused);
        assert_eq!(unlink_file(ctx, fd, "f"), refused);
        assert_eq!(symlink(ctx, "f", fd, "x"), refused);
        assert_eq!(descriptor::set_times(ctx, fd, times), refused);
    }
    assert!(filestat(ctx, READ_ONLY, 0, "f").is_ok(), "it can be looked at");
}

#[test]
fn paths_are_checked_before_use() {
    let rig = Rig::new();
    let read = |len| GuestPath { addr: OUT, len }.read(&rig.memory);
    rig.memory.write(OUT, b"ab\0c\xff").expect("in bounds");
    assert_eq!(read(2), Ok("ab".into()));
    assert_eq!(read(0), Err(Errno::Noent));
    assert_eq!(read(3), Err(Errno::Inval));
    assert_eq!(read(5), Err(Errno::Ilseq));
    assert_eq!(read(4097), Err(Errno::Nametoolong));
    let outside = GuestPath { addr: GuestAddr::new(1 << 31), len: 4 };
    assert_eq!(outside.read(&rig.memory), Err(Errno::Fault));
    let long = "x".repeat(300);
    assert_eq!(create_directory(&rig.ctx, ROOT, &long), Err(Errno::Nametoolong));
}

#[test]
fn times_are_set_by_path_and_by_descriptor() {
    let mut rig = Rig::new();
    rig.host_file("f", b"");
    host_symlink("f", rig.host("link")).expect("a link");
    let (second, both) = (1_000_000_000, 1 | 4);
    let times = |a, m, flags| NewTimes::decode(a * second, m * second, flags);
    let ctx = &rig.ctx;
    set_times(ctx, ROOT, FOLLOW, "link", times(5, 6, both).expect("valid")).expect("it is ours");
    let stat = filestat(ctx, ROOT, 0, "f").expect("it is there");
    assert_eq!((stat.accessed_ns, stat.modified_ns), (5 * second, 6 * second));
    assert!(filestat(ctx, ROOT, 0, "link").expect("it is there").modified_ns > 100 * second);
    let fd = rig.open("f").expect("it opens");
    let ctx = &mut rig.ctx;
    descriptor::set_times(ctx, fd, times(7, 8, 1).expect("valid")).expect("it is ours");
    let stat = descriptor::filestat(ctx, fd).expect("it is open");
    assert_eq!((stat.accessed_ns, stat.modified_ns), (7 * second, 6 * second));
    descriptor::set_times(ctx, fd, times(0, 0, 8).expect("valid")).expect("it is ours");
    let stat = descriptor::filestat(ctx, fd).expect("it is open");
    assert!(stat.modified_ns > 1_000_000 * second, "set to now");
    assert_eq!(times(0, 0, 3), Err(Errno::Inval), "a time and now at once");
    assert_eq!(times(0, 0, 16), Err(Errno::Inval));
    assert_eq!(descriptor::set_times(ctx, ROOT, times(1, 1, both).expect("valid")), Ok(()));
}

#[test]
fn a_directory_opened_below_another_can_be_used() {
    let mut rig = Rig::new();
    create_directory(&rig.ctx, ROOT, "d").expect("it is free");
    let fd = rig.open("d").expect("it is there");
    assert_eq!(create_directory(&rig.ctx, fd, "e"), Ok(()));
    assert_eq!(filestat(&rig.ctx, fd, 0, "../f").err(), Some(Errno::Notcapable));
    assert!(rig.host("d/e").is_dir());
    assert_eq!(create_directory(&rig.ctx, Fd(1), "x"), Err(Errno::Notdir));
    assert_eq!(create_directory(&rig.ctx, Fd(99), "x"), Err(Errno::Badf));
}
