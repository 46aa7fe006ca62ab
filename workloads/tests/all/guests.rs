//! The manifest of the guests that are in the repository.

use std::path::Path;

use faasm_workloads::manifest::Manifest;

#[test]
fn every_guest_of_the_manifest_has_its_source() {
    let home = Path::new(env!("CARGO_MANIFEST_DIR")).join("guests");
    let manifest = Manifest::read(&home.join("manifest.toml")).expect("a valid manifest");
    assert!(!manifest.guests.is_empty());
    for guest in &manifest.guests {
        assert!(home.join(&guest.source).is_file(), "{}: {}", guest.name, guest.source.display());
    }
}
