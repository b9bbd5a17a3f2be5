//! The log thread of an ensemble member: drives [`Files`].
//!
//! Whatever gathered while the last sync ran shares the next. An error ends the thread and, by its
//! last report, the process. While the disk is quick and the thread idle, a few transactions are made
//! durable by who brings them: see [`DiskThread::submit`].

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::thread::JoinHandle;
use std::time::Duration;

use parking_lot::Mutex;

pub use crate::host::files::{Job, Options, Report};

use super::config_files::ConfigFiles;
use crate::host::files::{Files, World, read_range};
use crate::server::clock::{Clock, Spread};
use crate::server::inbox::Inbox;
use crate::storage::{self, TxnLog};
use crate::types::{Instant, Zxid};
use crate::zab::{DiskOp, ReadId};

/// While syncs take less than this, they cost less than a hand-over to another thread and back, and
/// than what could be done meanwhile.
const QUICK: Duration = Duration::from_micros(500);
/// More transactions than this go to the log thread, so that preparing and syncing overlap.
const HERE_MAX: usize = 64;

/// The log thread, as its owner sees it.
pub struct DiskThread {
    /// None: nothing more comes.
    jobs: Arc<Inbox<Option<Job>>>,
    desk: Arc<Desk>,
    /// Jobs handed to the thread.
    submitted: u64,
    thread: Option<JoinHandle<()>>,
}

/// What the log thread works on, or the owner while that is idle.
struct Desk {
    files: Mutex<Files>,
    /// The files of a membership that changes.
    configs: Option<ConfigFiles>,
    /// What the files have said and nobody has been told yet.
    said: Arc<Mutex<Vec<Report>>>,
    /// Jobs that the thread is done with.
    finished: AtomicU64,
    /// How long a sync takes of late, in microseconds: each counts a quarter.
    sync_us: AtomicU64,
}

impl DiskThread {
    /// Starts the thread. `log` goes on after the last transaction there is; `report` is called
    /// from the thread and must not block; `clock` is for measuring syncs; `configs` are the files of a
    /// membership that changes.
    pub fn start(
        options: Options,
        log: TxnLog,
        configs: Option<ConfigFiles>,
        clock: impl Fn() -> Instant + Send + 'static,
        report: impl Fn(Report) + Send + Sync + 'static,
    ) -> std::io::Result<DiskThread> {
        let jobs = Arc::new(Inbox::default());
        let inbox = Arc::clone(&jobs);
        let mut spread = Spread::new(&Clock::start());
        let said = Arc::new(Mutex::new(Vec::new()));
        let saying = Arc::clone(&said);
        let world = World {
            clock: Box::new(clock),
            random: Box::new(move || spread.next()),
            report: Box::new(move |one| saying.lock().push(one)),
        };
        let desk = Arc::new(Desk {
            files: Mutex::new(Files::new(options, log, world)),
            configs,
            said,
            finished: AtomicU64::new(0),
            sync_us: AtomicU64::new(0),
        });
        let work = Arc::clone(&desk);
        let thread = std::thread::Builder::new().name("log".to_owned()).spawn(move || {
            if let Err(error) = work.work(&inbox, &report) {
                report(Report::Failed(error));
            }
        })?;
        Ok(DiskThread { jobs, desk, submitted: 0, thread: Some(thread) })
    }

    /// Hands jobs over in order, leaving the vector empty; one wake-up for all of them. When the
    /// thread has nothing to do, the disk answers quickly and the jobs are few transactions, they
    /// are carried out here and now, and `reports` takes what came of it: two hand-overs between
    /// threads would cost more than the sync. A slow disk is left to the thread, so that what arrives
    /// meanwhile is prepared and shares the next sync. After a failure nothing happens any more.
    pub fn submit(&mut self, jobs: &mut Vec<Job>, reports: &mut Vec<Report>) {
        if jobs.is_empty() {
            return;
        }
        // Only this side submits, so an idle thread stays idle.
        let idle = self.desk.finished.load(Ordering::Acquire) == self.submitted;
        let few = jobs.len() <= HERE_MAX;
        let quick = Duration::from_micros(self.desk.sync_us.load(Ordering::Relaxed)) < QUICK;
        let append = |job: &Job| matches!(job, Job::Op(_, DiskOp::Append(_)));
        if idle && few && quick && jobs.iter().all(append) {
            return self.desk.commit_here(jobs, reports);
        }
        self.submitted += jobs.len() as u64;
        self.jobs.send_each(jobs.drain(..).map(Some));
    }

    /// Finishes what was asked for, and waits for it.
    pub fn stop(&mut self) {
        self.jobs.send(None);
        if let Some(thread) = self.thread.take()
            && thread.join().is_err()
        {
            tracing::error!("the log thread panicked");
        }
    }
}

impl Drop for DiskThread {
    /// The thread ends with the node thread.
    fn drop(&mut self) {
        self.jobs.send(None);
    }
}

impl Desk {
    /// The log thread.
    fn work(&self, inbox: &Inbox<Option<Job>>, report: &dyn Fn(Report)) -> storage::Result<()> {
        let (mut taken, mut said) = (Vec::new(), Vec::new());
        let mut tell = || {
            self.listen(&mut said);
            said.drain(..).for_each(report);
        };
        loop {
            inbox.take(&mut taken, None);
            let count = taken.len() as u64;
            let mut files = self.files.lock();
            for next in taken.drain(..) {
                let Some(job) = next else {
                    let ended = files.stop();
                    tell();
                    return ended;
                };
                if let Job::Op(_, DiskOp::SaveConfig { text, active, keep_next }) = &job
                    && let Some(configs) = &self.configs
                {
                    configs.save(text, *active, *keep_next);
                }
                let mut done = files.take(job);
                if done.is_ok() && files.is_full() {
                    done = files.commit();
                }
                tell();
                done?;
            }
            let done = files.commit();
            drop(files);
            tell();
            self.finished.fetch_add(count, Ordering::Release);
            done?;
        }
    }

    /// The same for a few transactions, in the owner's thread.
    fn commit_here(&self, jobs: &mut Vec<Job>, reports: &mut Vec<Report>) {
        let mut files = self.files.lock();
        let done = jobs.drain(..).try_for_each(|job| files.take(job));
        let done = done.and_then(|()| files.commit());
        drop(files);
        self.listen(reports);
        if let Err(error) = done {
            reports.push(Report::Failed(error));
        }
    }

    /// Moves what the files have said to `reports`.
    fn listen(&self, reports: &mut Vec<Report>) {
        let before = reports.len();
        reports.append(&mut self.said.lock());
        for report in &reports[before..] {
            if let Report::Synced(done) = report {
                let took =
                    u64::try_from(done.sync_time.as_micros()).unwrap_or(u64::MAX).min(1 << 40);
                let before = self.sync_us.load(Ordering::Relaxed);
                self.sync_us.store((3 * before + took) / 4, Ordering::Relaxed);
            }
        }
    }
}

/// Reads the log for a learner whose log ends at `after`, in a thread of its own: it may take long,
/// and must not hold up the syncs. The answer is a [`Report::Read`]. Reads with the same `turns` come one
/// after the other: each may take a third of a tree in memory.
pub fn read_log(
    turns: Arc<Mutex<()>>,
    options: Options,
    read: ReadId,
    after: Zxid,
    through: Zxid,
    report: impl Fn(Report) + Send + 'static,
) {
    let work = move || {
        let _turn = turns.lock();
        let found = read_range(&options, after, through).unwrap_or_else(|error| {
            tracing::info!(%error, "the log can't serve a learner, it gets a snapshot");
            None
        });
        report(Report::Read(read, found));
    };
    if let Err(error) = std::thread::Builder::new().name("log reader".to_owned()).spawn(work) {
        tracing::warn!(%error, "no thread to read the log");
    }
}

#[cfg(test)]
mod tests;
