//! Those who are not let in, and those who are.

use super::*;

/// Dials node 0 with this identity; what both sides say of it.
fn refusal(authority: &Authority, identity: Identity) -> (String, String) {
    let listener = start(authority, 0, quick());
    let dialler = start_with(config(1, identity, quick()), None);
    listener.link.add_peer(NodeId(1), &[]);
    dialler.link.add_peer(NodeId(0), &[listener.link.local_addr()]);
    let lost =
        dialler.handler.wait_event("a loss", |event| matches!(event, Event::PeerLost { .. }));
    let Event::PeerLost { reason, .. } = lost else { unreachable!("it was asked for") };
    let counted = || listener.link.shared.counters.refused.0.load(Ordering::Relaxed);
    let deadline = Instant::now() + Duration::from_secs(1);
    while counted() == 0 && Instant::now() < deadline {
        thread::sleep(Duration::from_millis(5));
    }
    let seen = listener.handler.seen.lock();
    let refused = seen.events.iter().find_map(|event| match event {
        Event::Refused { reason, .. } => Some(reason.clone()),
        _ => None,
    });
    assert!(!seen.events.iter().any(|event| matches!(event, Event::PeerUp(_))));
    (reason.to_string(), refused.unwrap_or_default())
}

#[test]
fn a_node_of_another_cluster_is_refused() {
    let authority = Authority::new().expect("an authority");
    let other = Authority::new().expect("another authority");
    // It trusts this cluster, but its own certificate is of the other.
    let mut identity = other.issue(NodeId(1), HOUR).expect("an identity");
    identity.authority = authority.certificate().to_vec();
    let (_, refused) = refusal(&authority, identity);
    assert!(refused.contains("another cluster"), "{refused}");

    // Nor does a node accept a cluster that is not its own.
    let identity = other.issue(NodeId(1), HOUR).expect("an identity");
    let (lost, _) = refusal(&authority, identity);
    assert!(lost.contains("another cluster"), "{lost}");
}

#[test]
fn certificates_of_other_times_are_refused() {
    let authority = Authority::new().expect("an authority");
    let (key, public_key) = node_key().expect("a key");
    for made in [SystemTime::now() - 2 * HOUR, SystemTime::now() + 2 * HOUR] {
        let certificate =
            authority.certify(NodeId(1), &public_key, made, HOUR).expect("a certificate");
        let own = authority.certificate().to_vec();
        let identity = Identity { certificate, key: key.clone(), authority: own };
        let (lost, refused) = refusal(&authority, identity);
        assert!(refused.contains("compare the clocks"), "{refused}");
        assert!(lost.contains("compare the clocks"), "{lost}");
    }
}

#[test]
fn a_node_with_another_nodes_certificate_is_refused() {
    let authority = Authority::new().expect("an authority");
    // The listener is node 0; the dialler says it is node 1 and has node 0's certificate.
    let identity = authority.issue(NodeId(0), HOUR).expect("an identity");
    let (lost, refused) = refusal(&authority, identity);
    assert!(refused.contains("node 0's certificate"), "{refused}");
    assert!(lost.contains("node 0's certificate"), "{lost}");
}

fn coordinator() -> (Node, Admission) {
    let authority = Authority::new().expect("an authority");
    let identity = authority.issue(NodeId(0), HOUR).expect("an identity");
    let admission = Admission::new(authority, Build::new("1", "a"));
    (start_with(config(0, identity, quick()), Some(admission.clone())), admission)
}

#[test]
fn a_machine_joins_and_becomes_a_peer() {
    let (coordinator, admission) = coordinator();
    let addr = coordinator.link.local_addr();
    let token = admission.issue_token(HOUR, 1).expect("a token");
    let build = Build::new("1", "a");
    let joined = join(&[addr], &token, &build, "here", PATIENCE).expect("it joins");
    let admitted = coordinator.handler.wait_event("an admission", |_| true);
    assert!(
        matches!(&admitted, Event::Admitted { node, host, .. }
            if *node == joined.node && host == "here"),
        "{admitted:?}"
    );
    let node = start_with(config(joined.node.0, joined.identity, quick()), None);
    coordinator.link.add_peer(joined.node, &[]);
    node.link.add_peer(NodeId(0), &[addr]);
    node.handler.wait_up(0);
    coordinator.handler.wait_up(joined.node.0);

    let error = join(&[addr], &token, &build, "here", PATIENCE).expect_err("it is used");
    assert!(error.to_string().contains("has been used"), "{error}");
    let other = Build::new("2", "a");
    let error = join(&[addr], &token, &other, "here", PATIENCE).expect_err("another version");
    assert!(error.to_string().contains("install the same version"), "{error}");
}

#[test]
fn a_machine_finds_out_that_the_coordinator_is_another() {
    let (coordinator, _) = coordinator();
    let (_, other) = self::coordinator();
    let token = other.issue_token(HOUR, 1).expect("a token");
    let addr = coordinator.link.local_addr();
    let error = join(&[addr], &token, &Build::new("1", "a"), "here", PATIENCE)
        .expect_err("it is another cluster");
    assert!(error.to_string().contains("token is of another cluster"), "{error}");
}

#[test]
fn whoever_has_no_certificate_gets_nothing() {
    let (coordinator, _) = coordinator();
    // Speaks the members' protocol without a certificate, which only the join protocol allows.
    let authority = coordinator.link.shared.config.identity.authority.clone();
    let mut tls = tls::join_config(tls::fingerprint(&authority)).expect("a configuration");
    tls.alpn_protocols = vec![tls::MEMBER_PROTOCOL.to_vec()];
    let other = Authority::new().expect("another authority");
    let mut identity = other.issue(NodeId(1), HOUR).expect("an identity");
    identity.authority = authority;
    let stranger = start_with(config(1, identity, quick()), None);
    stranger.link.shared.driver.lock().dial_with(
        &stranger.link.shared,
        tls,
        coordinator.link.local_addr(),
    );
    let refused = coordinator.handler.wait_event("a refusal", |_| true);
    assert!(
        matches!(&refused, Event::Refused { reason, .. } if reason.contains("has to join")),
        "{refused:?}"
    );
}
