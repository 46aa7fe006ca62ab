//! The syntax of lists of hosts, rule by rule, and garbage.

use super::*;

fn file(text: &str) -> HostList {
    HostList::parse_file("hosts", text).unwrap_or_else(|error| panic!("{text}: {error}"))
}

fn host(name: &str, slots: Option<u32>, slots_max: Option<u32>) -> Host {
    Host { name: name.into(), user: None, slots, slots_max, mentions: 1 }
}

#[test]
fn a_line_is_a_host_with_its_slots() {
    for (line, expected) in [
        ("a", host("a", None, None)),
        ("a slots=4", host("a", Some(4), None)),
        ("a slots = 4 max_slots =8", host("a", Some(4), Some(8))),
        ("a:4 # the big one", host("a", Some(4), None)),
        ("\ta.b-c_d max-slots=3\r", host("a.b-c_d", None, Some(3))),
        ("10.0.0.1:2", host("10.0.0.1", Some(2), None)),
        ("[::1]", host("::1", None, None)),
        ("[fe80::1%eth0]:2 max_slots=2", host("fe80::1%eth0", Some(2), Some(2))),
        ("a SLOTS=2", host("a", Some(2), None)),
    ] {
        assert_eq!(file(line).hosts(), [expected], "{line}");
    }
    for line in ["ann@a slots=2", "a user=ann count=2", "ann@a:2"] {
        let expected = Host { user: Some("ann".into()), ..host("a", Some(2), None) };
        assert_eq!(file(line).hosts(), [expected], "{line}");
    }
}

#[test]
fn comments_and_blank_lines_are_nothing() {
    let list = file("# all hosts\n\n  a\n   # none\nb slots=2#two\n");
    assert_eq!(list.hosts(), [host("a", None, None), host("b", Some(2), None)]);
}

#[test]
fn slots_of_a_repeated_host_add_up() {
    let mentioned = file("a\nb\na\na\n");
    assert_eq!(
        mentioned.hosts(),
        [Host { mentions: 3, ..host("a", None, None) }, host("b", None, None)]
    );
    assert_eq!(file("a:2\nb\na:3").hosts()[0], host("a", Some(5), None));
    assert_eq!(file("a\na\na:3\na").hosts()[0], host("a", Some(6), None));
    let list = HostList::parse_list("ann@a,a:2,b").expect("a list");
    assert_eq!(list.hosts()[0], Host { user: Some("ann".into()), ..host("a", Some(3), None) });
}

#[test]
fn lists_are_combined_and_restricted() {
    let mut list = file("a:2\nb:4 \nc");
    list.extend(HostList::parse_list("b,d").expect("a list")).expect("they fit");
    assert_eq!(list.hosts()[1], host("b", Some(5), None));
    assert_eq!(list.hosts()[3], host("d", None, None));
    let chosen = HostList::parse_list("b,a:1").expect("a list");
    let some = list.restrict(&chosen).expect("they are in it");
    assert_eq!(some.hosts(), [host("b", Some(5), None), host("a", Some(1), None)]);
    let error = list.restrict(&HostList::parse_list("z").expect("a list")).expect_err("unknown");
    assert!(error.to_string().contains("--host z: This host is not in"), "{error}");
}

#[test]
fn errors_name_place_text_and_remedy() {
    for (text, parts) in [
        ("", &["hosts: The file names no host", "slots=4"][..]),
        ("a\n\nb slots=x", &["hosts:3: `b slots=x`", "`x` is not a number of slots", "from 1"]),
        ("a slots=0", &["hosts:1", "`0`"]),
        ("a slots=1000001", &["`1000001`"]),
        ("a slots", &["`slots` says nothing"]),
        ("a colour=red", &["`colour=red`", "max_slots=N"]),
        ("a slots=4 max_slots=2", &["4 slots, but max_slots is 2"]),
        ("a:2 max_slots=4\na:3", &["hosts:2", "5 slots"]),
        ("-oProxyCommand=x", &["is not the name of a host"]),
        ("-l@a", &["`-l` is not the name of a user"]),
        ("a;reboot", &["`a;reboot` is not the name of a host"]),
        ("::1:4", &["brackets", "[2001:db8::7]:4"]),
        ("[::1", &["not closed"]),
        ("[::1]4", &["`4`"]),
        ("[a]:4", &["`a` is not an IPv6 address"]),
        ("[::1%;]:4", &["IPv6"]),
        ("@a", &["user"]),
        ("a:", &["`` is not a number"]),
        ("ann@a\nbob@a", &["hosts:2", "another user"]),
        ("a\u{1b}[31m", &["`a?[31m` is not the name"]),
    ] {
        let error = HostList::parse_file("hosts", text).expect_err(text).to_string();
        for part in parts {
            assert!(error.contains(part), "{text}: {error}");
        }
    }
    let error = HostList::parse_list("a:2,,b").expect_err("an empty name").to_string();
    assert!(error.starts_with("--host : `` is not the name"), "{error}");
}

#[test]
fn limits_hold() {
    let many: String = (0..=HOSTS_MAX).map(|host| format!("h{host}\n")).collect();
    let error = HostList::parse_file("hosts", &many).expect_err("too many");
    assert!(error.to_string().contains("more than 4096 hosts"), "{error}");
    let error = HostList::parse_file("hosts", &"x".repeat(1000)).expect_err("too long");
    assert!(error.to_string().len() < 400, "{error}");
    let error = HostList::parse_file("hosts", "a:1000000\na:1").expect_err("too many slots");
    assert!(error.to_string().contains("1000000 slots together"), "{error}");
}

#[test]
fn a_list_written_and_read_again_is_the_same() {
    let text =
        "ann@a slots=4 max_slots=8\nb\nb\n[::1]:2\nc max_slots=3\n[fe80::1%lo]\n[fe80::1%lo]\n";
    let list = file(text);
    assert_eq!(file(&list.to_string()), list);
}

/// Any bytes lead to a list or to an error, and a list can be written and read again.
#[test]
fn garbage_is_refused_or_understood() {
    let pieces = [
        "a",
        "b:",
        "4",
        "[",
        "]",
        "::1",
        "@",
        " ",
        "\n",
        "slots",
        "=",
        "max_slots=",
        "#",
        "-",
        ",",
        "\0",
        "é",
        "%",
    ];
    let mut state = 7_u64;
    let mut understood = 0;
    for _ in 0..20_000 {
        let mut text = String::new();
        for _ in 0..8 {
            state = state
                .wrapping_mul(6_364_136_223_846_793_005)
                .wrapping_add(1_442_695_040_888_963_407);
            text.push_str(pieces[(state >> 33) as usize % pieces.len()]);
        }
        let _ = HostList::parse_list(&text);
        if let Ok(list) = HostList::parse_file("hosts", &text) {
            understood += 1;
            assert_eq!(file(&list.to_string()), list, "{text:?}");
        }
    }
    assert!(understood > 100, "only {understood} lists made sense");
}
