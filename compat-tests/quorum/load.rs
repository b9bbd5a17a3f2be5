//! Clients that write without pause while members die, and remember what was acknowledged.

use std::net::SocketAddr;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use crate::harness::client::Session;

/// What the writers have seen.
#[derive(Default)]
pub struct Seen {
    /// Paths whose creation was acknowledged.
    pub acknowledged: Mutex<Vec<String>>,
    /// When the last acknowledgement came, in microseconds since the start.
    last: AtomicU64,
    /// The longest time without one.
    longest_gap: AtomicU64,
    /// Sessions that were lost and had to be replaced.
    pub sessions_lost: AtomicU64,
    stop: AtomicBool,
}

/// Writers at work.
pub struct Load {
    seen: Arc<Seen>,
    started: Instant,
    threads: Vec<JoinHandle<()>>,
}

impl Load {
    /// Starts `writers` threads that create nodes below `root`, one at a time each, at whichever
    /// member answers. `root` must exist.
    pub fn start(members: Vec<SocketAddr>, root: &str, writers: usize) -> Load {
        let seen = Arc::new(Seen::default());
        let started = Instant::now();
        let threads = (0..writers)
            .map(|writer| {
                let (seen, members) = (Arc::clone(&seen), members.clone());
                let root = root.to_string();
                std::thread::spawn(move || write(&seen, started, &members, &root, writer))
            })
            .collect();
        Load { seen, started, threads }
    }

    /// What was seen so far.
    pub fn seen(&self) -> &Seen {
        &self.seen
    }

    /// Number of acknowledged writes so far.
    pub fn count(&self) -> usize {
        self.seen.acknowledged.lock().expect("no writer panics").len()
    }

    /// Forgets the longest gap, so that the next one stands alone.
    pub fn reset_gap(&self) {
        self.seen.longest_gap.store(0, Ordering::Relaxed);
        self.seen.last.store(self.started.elapsed().as_micros() as u64, Ordering::Relaxed);
    }

    /// The longest time without an acknowledged write since [`Load::reset_gap`].
    pub fn longest_gap(&self) -> Duration {
        Duration::from_micros(self.seen.longest_gap.load(Ordering::Relaxed))
    }

    /// Waits until `more` further writes are acknowledged.
    pub fn wait_for(&self, more: usize, patience: Duration) -> Result<(), String> {
        let (goal, end) = (self.count() + more, Instant::now() + patience);
        while self.count() < goal {
            if Instant::now() > end {
                return Err(format!("no {more} acknowledged writes within {patience:?}"));
            }
            std::thread::sleep(Duration::from_millis(2));
        }
        Ok(())
    }

    /// Ends the writers and gives what was acknowledged.
    pub fn stop(self) -> Vec<String> {
        self.seen.stop.store(true, Ordering::Relaxed);
        for thread in self.threads {
            thread.join().expect("no writer panics");
        }
        let all = std::mem::take(&mut *self.seen.acknowledged.lock().expect("no writer panics"));
        all
    }
}

fn write(seen: &Seen, started: Instant, members: &[SocketAddr], root: &str, writer: usize) {
    let (mut session, mut zxid, mut passwd) = (0, 0, vec![0; 16]);
    let (mut at, mut n) = (writer, 0_u64);
    while !seen.stop.load(Ordering::Relaxed) {
        let member = members[at % members.len()];
        at += 1;
        let Ok(mut client) = Session::open_as(member, 30_000, zxid, session, &passwd) else {
            std::thread::sleep(Duration::from_millis(2));
            continue;
        };
        if client.connected.session == 0 {
            seen.sessions_lost.fetch_add(1, Ordering::Relaxed);
            (session, zxid, passwd) = (0, 0, vec![0; 16]);
            continue;
        }
        session = client.connected.session;
        passwd = client.connected.passwd.clone();
        while !seen.stop.load(Ordering::Relaxed) {
            let path = format!("{root}/w{writer}-{n:06}");
            n += 1;
            match client.create(&path, path.as_bytes(), 0) {
                Ok(0) => {
                    let now = started.elapsed().as_micros() as u64;
                    let before = seen.last.swap(now, Ordering::Relaxed);
                    seen.longest_gap.fetch_max(now.saturating_sub(before), Ordering::Relaxed);
                    seen.acknowledged.lock().expect("no writer panics").push(path);
                }
                // Unknown outcome: never tried again under the same name.
                Ok(_) | Err(_) => break,
            }
        }
        zxid = client.last_zxid;
        client.abandon();
    }
}
