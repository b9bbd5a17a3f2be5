//! Lines in the log that somebody outside decides the number of: so many a second, the rest counted.

use parking_lot::Mutex;
use std::time::Instant;

/// Lines a second; what is beyond them is only counted, so that a flood of bad connections does not
/// become a flood of lines.
const LINES_MAX: u32 = 10;

/// Bounds the lines of one kind of event.
#[derive(Debug)]
pub struct Lines {
    window: Mutex<Window>,
    start: Instant,
}

#[derive(Debug, Default)]
struct Window {
    second: u64,
    lines: u32,
    unsaid: u64,
}

impl Default for Lines {
    fn default() -> Lines {
        Lines { window: Mutex::default(), start: Instant::now() }
    }
}

impl Lines {
    /// Whether the next line may be written, and how many were left out since the last that was.
    pub fn next(&self) -> Option<u64> {
        self.at(self.start.elapsed().as_secs())
    }

    fn at(&self, second: u64) -> Option<u64> {
        let mut window = self.window.lock();
        if second != window.second {
            (window.second, window.lines) = (second, 0);
        }
        if window.lines == LINES_MAX {
            window.unsaid += 1;
            return None;
        }
        window.lines += 1;
        Some(std::mem::take(&mut window.unsaid))
    }
}

/// What a line says at its end of those that were left out before it; nothing where there were none.
pub fn others(suppressed: u64) -> String {
    match suppressed {
        0 => String::new(),
        n => format!(" ({n} similar messages suppressed)"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_flood_of_events_is_no_flood_of_lines() {
        let lines = Lines::default();
        let said = |second| (0..1000).filter(|_| lines.at(second).is_some()).count();
        assert_eq!(said(5), 10);
        assert_eq!(said(5), 0);
        assert_eq!(lines.at(6), Some(1990));
        assert_eq!(said(6), 9);
    }
}
