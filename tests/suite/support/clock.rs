//! The clock that a server sees, which can be set while it runs: a small library that is preloaded answers for the clock.
//!
//! The suite and the soak test share this file.

use std::fs::File;
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::OnceLock;
use std::sync::atomic::{AtomicI64, Ordering};
use std::time::Duration;

use super::temporary::Directory;

/// The clock of one server. It begins as the machine's.
pub(crate) struct Clock {
    offset: File,
    offset_us: AtomicI64,
    directory: Directory,
}

impl Clock {
    pub(crate) fn new() -> Self {
        let directory = Directory::new();
        let offset = File::create(offset_file(&directory)).unwrap();
        let clock = Self { offset, offset_us: AtomicI64::new(0), directory };
        clock.set(0);
        clock
    }

    /// What starts a program so that it sees this clock: it stands in front of the program and its arguments.
    pub(crate) fn launcher(&self) -> [String; 3] {
        let set = |name: &str, value: &Path| format!("{name}={}", value.display());
        let offset = offset_file(&self.directory);
        ["env".to_owned(), set("LD_PRELOAD", library()), set("SERVER_CLOCK", &offset)]
    }

    /// Sets the server's clock so far ahead of the machine's.
    pub(crate) fn ahead(&self, by: Duration) {
        self.set(i64::try_from(by.as_micros()).unwrap());
    }

    /// Sets the server's clock so far behind the machine's.
    pub(crate) fn behind(&self, by: Duration) {
        self.set(-i64::try_from(by.as_micros()).unwrap());
    }

    /// Sets the server's clock by so many seconds from what it is.
    #[allow(dead_code)] // Only the soak test does this.
    pub(crate) fn step(&self, seconds: i64) {
        self.set(self.offset_us.load(Ordering::Relaxed) + seconds * 1_000_000);
    }

    fn set(&self, offset_us: i64) {
        self.offset_us.store(offset_us, Ordering::Relaxed);
        // Never shorter than before: the server has the file mapped.
        self.offset.write_all_at(&offset_us.to_ne_bytes(), 0).unwrap();
        // Valkey looks at the clock once a millisecond, and counts on from there in between.
        std::thread::sleep(Duration::from_millis(2));
    }
}

fn offset_file(directory: &Directory) -> PathBuf {
    directory.path().join("offset")
}

/// The library, which is compiled once in a run of the tests.
fn library() -> &'static PathBuf {
    static LIBRARY: OnceLock<PathBuf> = OnceLock::new();
    LIBRARY.get_or_init(|| {
        let folder = PathBuf::from(env!("CARGO_TARGET_TMPDIR"));
        let library = folder.join(format!("server-clock-{}.so", std::process::id()));
        let compiled = Command::new("cc")
            .args(["-shared", "-fPIC", "-O1", "-o"])
            .arg(&library)
            .arg(concat!(env!("CARGO_MANIFEST_DIR"), "/tests/suite/support/clock.c"))
            .status();
        assert!(compiled.is_ok_and(|status| status.success()), "cc compiles the clock of a server");
        // Runs side by side do not meet a half-written one.
        let lasting = folder.join("server-clock.so");
        std::fs::rename(library, &lasting).unwrap();
        lasting
    })
}
