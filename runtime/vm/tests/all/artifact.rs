//! The cache of compiled modules: reuse, damage, limits, races and disks that fail.

use std::fs;
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::{Duration, SystemTime};

use faasm_vm::{ArtifactCache, ArtifactConfig, CacheTrouble, ContentHash};
use tempfile::TempDir;
use wasmtime::{Config, Engine, Instance, Module, OptLevel, Store};

use crate::assemble;

/// A cache in a directory of its own.
struct Fixture {
    dir: TempDir,
    engine: Engine,
    cache: ArtifactCache,
}

impl Fixture {
    fn new() -> Self {
        Self::with_limit(1 << 30)
    }

    fn with_limit(bytes_max: u64) -> Self {
        let dir = TempDir::new().expect("temporary directory");
        let cache = cache_in(dir.path(), bytes_max);
        Self { dir, engine: Engine::default(), cache }
    }

    /// Compiles and keeps a module that answers `answer`.
    fn store(&self, answer: i32) -> (ContentHash, Option<CacheTrouble>) {
        store(&self.cache, &self.engine, answer)
    }

    fn answer(&self, content: &ContentHash) -> Option<i32> {
        let found = self.cache.lookup(&self.engine, content);
        assert!(found.trouble.is_none(), "{:?}", found.trouble);
        found.module.map(|module| call(&self.engine, &module))
    }

    fn entries(&self) -> Vec<PathBuf> {
        entries_in(self.dir.path())
    }

    /// Expects one trouble with an entry, the entry gone, and a cache that works again.
    fn expect_rebuild(&self, content: &ContentHash, what: &str) {
        let found = self.cache.lookup(&self.engine, content);
        assert!(found.module.is_none(), "must not be used");
        let trouble = found.trouble.expect("must be told");
        assert!(matches!(&trouble, CacheTrouble::Entry { removed: true, .. }), "{trouble:?}");
        assert!(trouble.to_string().contains(what), "{trouble}");
        assert!(self.answer(content).is_none(), "told once only, and removed");
        let (content, trouble) = self.store(42);
        assert!(trouble.is_none(), "{trouble:?}");
        assert_eq!(self.answer(&content), Some(42));
    }
}

fn cache_in(dir: &Path, bytes_max: u64) -> ArtifactCache {
    ArtifactCache::new(ArtifactConfig { dir: Some(dir.to_owned()), bytes_max })
}

fn store(
    cache: &ArtifactCache,
    engine: &Engine,
    answer: i32,
) -> (ContentHash, Option<CacheTrouble>) {
    let text = format!("(module (func (export \"answer\") (result i32) (i32.const {answer})))");
    let bytes = assemble(&text);
    let module = Module::new(engine, &bytes).expect("compiles");
    let content = ContentHash::of(&bytes);
    let trouble = cache.store(engine, &content, &module);
    (content, trouble)
}

fn call(engine: &Engine, module: &Module) -> i32 {
    let mut store = Store::new(engine, ());
    let instance = Instance::new(&mut store, module, &[]).expect("instance");
    let answer = instance.get_typed_func::<(), i32>(&mut store, "answer").expect("exported");
    answer.call(&mut store, ()).expect("runs")
}

fn entries_in(dir: &Path) -> Vec<PathBuf> {
    let Ok(shelves) = fs::read_dir(dir.join("compiled-1")) else { return Vec::new() };
    shelves
        .map(|shelf| shelf.expect("readable").path())
        .filter(|shelf| shelf.is_dir())
        .flat_map(|shelf| fs::read_dir(shelf).expect("readable"))
        .map(|entry| entry.expect("readable").path())
        .collect()
}

fn set_used(path: &Path, ago: Duration) {
    let file = fs::File::options().write(true).open(path).expect("writable");
    file.set_modified(SystemTime::now() - ago).expect("time can be set");
}

#[test]
fn a_stored_module_is_found_again_also_by_others() {
    let fixture = Fixture::new();
    let (content, trouble) = fixture.store(42);
    assert!(trouble.is_none(), "{trouble:?}");
    assert_eq!(fixture.answer(&content), Some(42));
    let other = cache_in(fixture.dir.path(), 1 << 30);
    assert!(other.lookup(&fixture.engine, &content).module.is_some());
    assert!(fixture.answer(&ContentHash::of(b"another program")).is_none());
}

#[test]
fn the_directory_is_private_and_only_finished_entries_stay() {
    let fixture = Fixture::new();
    fixture.store(42);
    let folder = fixture.dir.path().join("compiled-1");
    assert_eq!(fs::metadata(folder).expect("made").permissions().mode() & 0o777, 0o700);
    let entries = fixture.entries();
    assert_eq!(entries.len(), 1);
    assert_eq!(entries[0].extension().and_then(|it| it.to_str()), Some("cwasm"));
    assert_eq!(fs::metadata(&entries[0]).expect("made").permissions().mode() & 0o777, 0o600);
}

#[test]
fn a_flipped_byte_is_detected_wherever_it_is() {
    for place in [0.0, 0.3, 0.6, 0.999] {
        let fixture = Fixture::new();
        let (content, _) = fixture.store(42);
        let path = &fixture.entries()[0];
        let mut bytes = fs::read(path).expect("readable");
        let at = (bytes.len() as f64 * place) as usize;
        bytes[at] ^= 1;
        fs::write(path, bytes).expect("writable");
        fixture.expect_rebuild(&content, "checksum");
    }
}

#[test]
fn a_truncated_or_empty_entry_is_detected() {
    for keep in [0, 1, 1000] {
        let fixture = Fixture::new();
        let (content, _) = fixture.store(42);
        let file = fs::File::options().write(true).open(&fixture.entries()[0]).expect("writable");
        file.set_len(keep).expect("truncated");
        fixture.expect_rebuild(&content, "checksum");
    }
}

#[test]
fn an_entry_of_another_program_is_detected() {
    let fixture = Fixture::new();
    let (content, _) = fixture.store(42);
    let path = fixture.entries().remove(0);
    fixture.store(7);
    let other = fixture.entries().into_iter().find(|it| *it != path).expect("a second entry");
    fs::remove_file(&path).expect("removed");
    fs::copy(&other, path.with_file_name(other.file_name().expect("a file"))).expect("copied");
    fixture.expect_rebuild(&content, "belongs to another program");
}

#[test]
fn code_of_another_engine_is_not_found_and_not_accepted() {
    let fixture = Fixture::new();
    let (content, _) = fixture.store(42);
    let mine = fixture.entries().remove(0);
    let engine =
        Engine::new(Config::new().cranelift_opt_level(OptLevel::None)).expect("a good engine");
    assert!(fixture.cache.lookup(&engine, &content).module.is_none());

    store(&fixture.cache, &engine, 42);
    let theirs = fixture.entries().into_iter().find(|path| *path != mine).expect("a second entry");
    fs::remove_file(&mine).expect("removed");
    fs::copy(&theirs, mine.with_file_name(theirs.file_name().expect("a file"))).expect("copied");
    fixture.expect_rebuild(&content, "checksum");
}

#[test]
fn a_link_or_directory_in_the_place_of_an_entry_is_not_followed() {
    let fixture = Fixture::new();
    let (content, _) = fixture.store(42);
    let path = fixture.entries().remove(0);
    let elsewhere = fixture.dir.path().join("elsewhere");
    fs::rename(&path, &elsewhere).expect("moved");
    std::os::unix::fs::symlink(&elsewhere, &path).expect("linked");
    fixture.expect_rebuild(&content, "cannot be read");
    assert!(elsewhere.exists(), "the link is removed, not what it leads to");
}

#[test]
fn a_directory_that_others_can_write_to_is_not_used() {
    let fixture = Fixture::new();
    let (content, _) = fixture.store(42);
    let folder = fixture.dir.path().join("compiled-1");
    fs::set_permissions(&folder, fs::Permissions::from_mode(0o770)).expect("changed");
    let found = fixture.cache.lookup(&fixture.engine, &content);
    assert!(found.module.is_none());
    let trouble = found.trouble.expect("must be told");
    assert!(matches!(&trouble, CacheTrouble::NotPrivate { mode: 0o770, .. }), "{trouble:?}");
    assert!(trouble.to_string().contains("FAASM_CACHE_DIR"), "{trouble}");
    assert!(fixture.store(42).1.is_none(), "one warning is enough");
}

#[test]
fn a_directory_that_cannot_be_made_is_told_once() {
    let fixture = Fixture::new();
    let file = fixture.dir.path().join("file");
    fs::write(&file, b"").expect("writable");
    let cache = cache_in(&file.join("cache"), 1 << 30);
    let (_, trouble) = store(&cache, &fixture.engine, 42);
    let trouble = trouble.expect("must be told");
    assert!(matches!(&trouble, CacheTrouble::Directory { .. }), "{trouble:?}");
    assert!(trouble.to_string().contains("FAASM_CACHE_DIR"), "{trouble}");
    let (content, trouble) = store(&cache, &fixture.engine, 42);
    assert!(trouble.is_none(), "one warning is enough: {trouble:?}");
    assert!(cache.lookup(&fixture.engine, &content).module.is_none());
}

/// Runs itself under a limit on file sizes, so that the write of an entry fails half-way.
#[test]
fn a_disk_that_fills_up_leaves_nothing_behind() {
    const CHILD: &str = "FAASM_TEST_FULL_DISK_DIR";
    if let Some(dir) = std::env::var_os(CHILD) {
        let (_, trouble) = store(&cache_in(Path::new(&dir), 1 << 30), &Engine::default(), 42);
        let trouble = trouble.expect("the write must fail");
        assert!(trouble.to_string().contains("make room there"), "{trouble}");
        assert!(entries_in(Path::new(&dir)).is_empty(), "no half-written file stays");
        return;
    }
    let dir = TempDir::new().expect("temporary directory");
    let output = Command::new("sh")
        .args(["-c", "trap '' XFSZ; ulimit -f 2; exec \"$0\" --nocapture --exact \"$1\""])
        .arg(std::env::current_exe().expect("the test's own path"))
        .arg("artifact::a_disk_that_fills_up_leaves_nothing_behind")
        .env(CHILD, dir.path())
        .output()
        .expect("sh is there");
    let said = String::from_utf8_lossy(&output.stdout);
    assert!(output.status.success() && said.contains("1 passed"), "{output:?}");
    assert!(dir.path().join("compiled-1").is_dir(), "it got as far as writing");
}

#[test]
fn threads_and_caches_that_race_all_end_with_a_good_entry() {
    let fixture = Fixture::new();
    std::thread::scope(|scope| {
        for _ in 0..4 {
            scope.spawn(|| {
                let cache = cache_in(fixture.dir.path(), 1 << 30);
                for answer in 0..8 {
                    let (content, trouble) = store(&cache, &fixture.engine, answer);
                    assert!(trouble.is_none(), "{trouble:?}");
                    let found = cache.lookup(&fixture.engine, &content);
                    assert!(found.trouble.is_none(), "{:?}", found.trouble);
                    let module = found.module.expect("just stored");
                    assert_eq!(call(&fixture.engine, &module), answer);
                }
            });
        }
    });
    assert_eq!(fixture.entries().len(), 8, "the same code has the same name");
}

#[test]
fn racing_stores_and_evictions_never_fail_or_answer_wrongly() {
    let fixture = Fixture::new();
    fixture.store(0);
    let one = fs::metadata(&fixture.entries()[0]).expect("made").len();
    std::thread::scope(|scope| {
        for thread in 0..4 {
            let fixture = &fixture;
            scope.spawn(move || {
                let cache = cache_in(fixture.dir.path(), one * 2);
                for round in 0..16 {
                    let answer = (round + thread) % 6;
                    let (content, trouble) = store(&cache, &fixture.engine, answer);
                    assert!(trouble.is_none(), "{trouble:?}");
                    let found = cache.lookup(&fixture.engine, &content);
                    assert!(found.trouble.is_none(), "{:?}", found.trouble);
                    if let Some(module) = found.module {
                        assert_eq!(call(&fixture.engine, &module), answer);
                    }
                }
            });
        }
    });
    fixture.cache.lookup(&fixture.engine, &ContentHash::of(b""));
    assert!(fixture.entries().len() <= 2 + 4, "the limit holds, but for stores under way");
}

#[test]
fn the_least_recently_used_entry_goes_first() {
    let measure = Fixture::new();
    measure.store(1);
    let one = fs::metadata(&measure.entries()[0]).expect("made").len();

    let fixture = Fixture::with_limit(one * 5 / 2);
    let (first, _) = fixture.store(1);
    set_used(&fixture.entries()[0], Duration::from_secs(200));
    let (second, _) = fixture.store(2);
    for path in fixture.entries() {
        set_used(&path, Duration::from_secs(100));
    }
    assert_eq!(fixture.answer(&first), Some(1), "use makes it the latest");
    let (third, trouble) = fixture.store(3);
    assert!(trouble.is_none(), "{trouble:?}");
    assert_eq!(fixture.answer(&first), Some(1));
    assert_eq!(fixture.answer(&second), None, "least recently used");
    assert_eq!(fixture.answer(&third), Some(3));
    let shelves = fs::read_dir(fixture.dir.path().join("compiled-1")).expect("readable");
    assert_eq!(shelves.count(), 2, "empty folders go too");
}

#[test]
fn code_larger_than_the_cache_is_refused_with_both_sizes() {
    let fixture = Fixture::with_limit(100);
    let (_, trouble) = fixture.store(42);
    assert!(matches!(trouble, Some(CacheTrouble::TooLarge { bytes_max: 100, .. })), "{trouble:?}");
    assert!(fixture.entries().is_empty());
}

#[test]
fn what_a_killed_process_left_is_removed_after_an_hour() {
    let fixture = Fixture::new();
    fixture.store(1);
    let shelf = fixture.entries()[0].parent().expect("in a folder").to_owned();
    let (old, new) = (shelf.join(".new-1-0"), shelf.join(".new-1-1"));
    fs::write(&old, b"half").expect("writable");
    fs::write(&new, b"half").expect("writable");
    set_used(&old, Duration::from_secs(2 * 3600));
    fixture.store(2);
    assert!(!old.exists());
    assert!(new.exists(), "it may still be written");
}

#[test]
fn a_disabled_cache_keeps_nothing_and_says_nothing() {
    let cache = ArtifactCache::disabled();
    let engine = Engine::default();
    let (content, trouble) = store(&cache, &engine, 42);
    let found = cache.lookup(&engine, &content);
    assert!(trouble.is_none() && found.module.is_none() && found.trouble.is_none());
}
