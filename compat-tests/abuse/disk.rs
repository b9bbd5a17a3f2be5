//! A disk that is full: the process says so and ends, and nothing acknowledged is lost.

use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::{Duration, Instant};

use super::expect;
use crate::harness::client::Session;
use crate::harness::ports::TempDir;
use crate::harness::runner::{Outcome, Stop, Suite};
use crate::harness::server::{Kind, Server};
use crate::harness::tools::Level;

/// Adds the cases.
pub fn add(suite: &mut Suite) {
    suite.add("abuse", "disk_full", Level::Quick, full);
}

/// A small file system of its own; gone when dropped.
struct Small(PathBuf);

impl Small {
    fn mount(at: &Path, size: &str) -> Result<Small, Stop> {
        std::fs::create_dir_all(at)?;
        let size = format!("size={size}");
        let mut mount = Command::new("mount");
        mount.args(["-t", "tmpfs", "-o", &size, "tmpfs"]).arg(at);
        match mount.output() {
            Ok(out) if out.status.success() => Ok(Small(at.to_path_buf())),
            _ => Err(Stop::Skipped {
                reason: "mounting a small file system needs root".to_string(),
                toolchain: false,
            }),
        }
    }

    fn grow(&self, size: &str) -> Result<(), Stop> {
        let options = format!("remount,size={size}");
        let status = Command::new("mount").args(["-o", &options]).arg(&self.0).status()?;
        expect(status.success(), "the file system grows")
    }
}

impl Drop for Small {
    fn drop(&mut self) {
        let _ = Command::new("umount").arg("-l").arg(&self.0).status();
    }
}

fn full() -> Outcome {
    let dir = TempDir::new("abuse-full");
    let mut server = Server::new(Kind::Rookeeper, dir.path())
        .line("preAllocSize", 64)
        .line("snapCount", 100_000);
    let small = Small::mount(&server.data_dir(), "4m")?;
    server.start()?;
    let mut session = Session::open(server.address(), 30_000)?;
    let mut acknowledged = 0;
    let data = vec![b'x'; 5000];
    while let Ok(code) = session.create(&format!("/n-{acknowledged}"), &data, 0) {
        expect(code == 0, &format!("create: {code}"))?;
        acknowledged += 1;
        expect(acknowledged < 10_000, "four megabytes hold less")?;
    }
    let end = Instant::now() + Duration::from_secs(20);
    while server.alive() {
        expect(Instant::now() < end, "a server whose disk is full ends")?;
        std::thread::sleep(Duration::from_millis(50));
    }
    let log = server.log_tail();
    let said = log.contains("No space left") && log.contains("server stops");
    expect(said, &format!("it says why\n{log}"))?;
    server.stop();

    // Full as it is, it does not come up and pretend; with room it is as if nothing had been.
    small.grow("64m")?;
    server.start()?;
    let mut session = Session::open(server.address(), 30_000)?;
    for i in 0..acknowledged {
        let found = session.get(&format!("/n-{i}"))?;
        expect(found.as_ref() == Ok(&data), &format!("/n-{i} of {acknowledged}: {found:?}"))?;
    }
    expect(session.create("/after", b"", 0)? == 0, "a write with room")?;
    server.stop();
    Ok(format!("{acknowledged} writes acknowledged, none lost"))
}
