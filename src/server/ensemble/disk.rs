//! The log thread of an ensemble member: drives [`Files`].
//!
//! Whatever gathered while the last sync ran shares the next. An error ends the thread and, by its
//! last report, the process.

use std::sync::Arc;
use std::thread::JoinHandle;

pub use crate::host::files::{Job, Options, Report};

use crate::host::files::{Files, World, read_range};
use crate::server::clock::{Clock, Spread};
use crate::server::inbox::Inbox;
use crate::storage::{self, TxnLog};
use crate::types::{Instant, Zxid};
use crate::zab::ReadId;

/// The log thread, as its owner sees it.
pub struct DiskThread {
    /// None: nothing more comes.
    jobs: Arc<Inbox<Option<Job>>>,
    thread: Option<JoinHandle<()>>,
}

impl DiskThread {
    /// Starts the thread. `log` goes on after the last transaction there is; `report` is called
    /// from the thread and must not block; `clock` is for measuring syncs.
    pub fn start(
        options: Options,
        log: TxnLog,
        clock: impl Fn() -> Instant + Send + 'static,
        report: impl Fn(Report) + Send + Sync + 'static,
    ) -> std::io::Result<DiskThread> {
        let jobs = Arc::new(Inbox::default());
        let inbox = Arc::clone(&jobs);
        let mut spread = Spread::new(&Clock::start());
        let report = Arc::new(report);
        let telling = Arc::clone(&report);
        let world = World {
            clock: Box::new(clock),
            random: Box::new(move || spread.next()),
            report: Box::new(move |one| telling(one)),
        };
        let files = Files::new(options, log, world);
        let thread = std::thread::Builder::new().name("log".to_owned()).spawn(move || {
            if let Err(error) = work(files, &inbox) {
                report(Report::Failed(error));
            }
        })?;
        Ok(DiskThread { jobs, thread: Some(thread) })
    }

    /// Queues jobs in order, leaving the vector empty; one wake-up for all of them. After a failure
    /// nothing happens any more.
    pub fn submit(&self, jobs: &mut Vec<Job>) {
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

fn work(mut files: Files, inbox: &Inbox<Option<Job>>) -> storage::Result<()> {
    let mut taken = Vec::new();
    loop {
        inbox.take(&mut taken, None);
        for next in taken.drain(..) {
            let Some(job) = next else { return files.stop() };
            files.take(job)?;
            if files.is_full() {
                files.commit()?;
            }
        }
        files.commit()?;
    }
}

/// Reads the log for a learner whose log ends at `after`, in a thread of its own: it may take long,
/// and must not hold up the syncs. The answer is a [`Report::Read`].
pub fn read_log(
    options: Options,
    read: ReadId,
    after: Zxid,
    through: Zxid,
    report: impl Fn(Report) + Send + 'static,
) {
    let work = move || {
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
