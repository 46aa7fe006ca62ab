use std::{
    os::unix::fs::PermissionsExt,
    time::{Duration, SystemTime},
};

use super::*;

const HOUR: Duration = Duration::from_secs(3600);

fn authority() -> Authority {
    Authority::new().expect("an authority")
}

#[test]
fn a_certificate_names_its_node_and_cluster() {
    let authority = authority();
    let identity = authority.issue(NodeId(7), HOUR).expect("a certificate");
    check_own(&identity, NodeId(7)).expect("it is node 7's");
    let error = check_own(&identity, NodeId(8)).expect_err("it is not node 8's");
    assert!(error.to_string().contains("it names node 7, not node 8"), "{error}");
    let certificate = CertificateDer::from(identity.certificate);
    assert_eq!(named_node(&certificate, authority.cluster()), Some(NodeId(7)));
    assert_eq!(named_node(&certificate, ClusterId(1)), None);
}

#[test]
fn a_certificate_of_another_cluster_is_refused() {
    let mut identity = authority().issue(NodeId(1), HOUR).expect("a certificate");
    identity.authority = authority().certificate().to_vec();
    let error = check_own(&identity, NodeId(1)).expect_err("another authority");
    assert!(error.to_string().contains("another cluster"), "{error}");
}

#[test]
fn certificates_of_other_times_name_the_clocks() {
    let authority = authority();
    let (key, public_key) = node_key().expect("a key");
    for (made, is_valid) in [
        (SystemTime::now() - 2 * HOUR, false),
        (SystemTime::now() + 2 * HOUR, false),
        (SystemTime::now() + Duration::from_secs(60), true),
    ] {
        let certificate =
            authority.certify(NodeId(1), &public_key, made, HOUR).expect("a certificate");
        let identity =
            Identity { certificate, key: key.clone(), authority: authority.certificate().to_vec() };
        match check_own(&identity, NodeId(1)) {
            Ok(()) => assert!(is_valid),
            Err(error) => {
                assert!(!is_valid, "{error}");
                assert!(error.to_string().contains("compare the clocks"), "{error}");
            }
        }
    }
}

#[test]
fn an_authority_is_kept_in_a_secret_file() {
    let dir = tempfile::tempdir().expect("a directory");
    let path = dir.path().join("authority.pem");
    let authority = authority();
    authority.save(&path).expect("it is written");
    let mode = std::fs::metadata(&path).expect("it is there").permissions().mode();
    assert_eq!(mode & 0o777, 0o600);
    assert!(authority.save(&path).is_err(), "an authority is not overwritten");

    let loaded = Authority::load(&path).expect("it is read");
    assert_eq!(loaded.cluster(), authority.cluster());
    let identity = loaded.issue(NodeId(3), HOUR).expect("a certificate");
    assert_eq!(identity.authority, authority.certificate());
    check_own(&identity, NodeId(3)).expect("it signs as before");

    std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o644)).expect("chmod");
    let error = Authority::load(&path).expect_err("others may read it");
    assert!(error.to_string().contains("chmod 600"), "{error}");
}

#[test]
fn what_is_no_key_is_not_certified() {
    for key in [&[] as &[u8], &[4; 64], &[5; 65]] {
        let made = authority().certify(NodeId(1), key, SystemTime::now(), HOUR);
        assert!(made.is_err());
    }
}

#[test]
fn nothing_secret_is_printed() {
    let authority = authority();
    let text = format!("{authority:?}");
    assert!(text.len() < 100 && !text.contains("PRIVATE"), "{text}");
}
