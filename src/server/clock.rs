//! Where time and randomness enter: read here, handed to everything else.

use std::fs::File;
use std::io::Read;
use std::time::{SystemTime, UNIX_EPOCH};

use crate::types::{Instant, Now, WallTime};

/// Both clocks of the process.
#[derive(Clone, Copy, Debug)]
pub struct Clock {
    start: std::time::Instant,
}

impl Default for Clock {
    fn default() -> Clock {
        Clock::start()
    }
}

impl Clock {
    /// The monotonic clock starts one hour in, so that "an hour ago" is a moment like any other.
    const OFFSET_US: u64 = 3_600_000_000;

    /// A clock that starts now.
    pub fn start() -> Clock {
        Clock { start: std::time::Instant::now() }
    }

    /// The monotonic clock.
    pub fn mono(&self) -> Instant {
        let passed = u64::try_from(self.start.elapsed().as_micros()).unwrap_or(u64::MAX >> 1);
        Instant(Clock::OFFSET_US + passed)
    }

    /// The wall clock.
    pub fn wall(&self) -> WallTime {
        let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
        WallTime(i64::try_from(since.as_millis()).unwrap_or(i64::MAX))
    }

    /// Both, for one event.
    pub fn now(&self) -> Now {
        Now { mono: self.mono(), wall: self.wall() }
    }

    /// How long to sleep until `at`; zero when it has passed.
    pub fn until(&self, at: Instant) -> std::time::Duration {
        at.since(self.mono())
    }
}

/// Bytes that nobody can guess, from the operating system.
///
/// # Errors
/// When the system has no source of randomness.
pub fn random_bytes<const N: usize>() -> std::io::Result<[u8; N]> {
    let mut bytes = [0; N];
    File::open("/dev/urandom")?.read_exact(&mut bytes)?;
    Ok(bytes)
}

/// A small generator for what need not be unguessable: the spread of snapshots, delays.
#[derive(Clone, Debug)]
pub struct Spread(u64);

impl Spread {
    /// Seeded by the system, or by the time when that fails.
    pub fn new(clock: &Clock) -> Spread {
        let seed = random_bytes::<8>().map(u64::from_le_bytes).unwrap_or(clock.wall().0 as u64);
        Spread(seed | 1)
    }

    /// The next 64 bits (xorshift*).
    pub fn next(&mut self) -> u64 {
        self.0 ^= self.0 >> 12;
        self.0 ^= self.0 << 25;
        self.0 ^= self.0 >> 27;
        self.0.wrapping_mul(0x2545_f491_4f6c_dd1d)
    }
}
