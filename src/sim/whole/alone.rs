//! A server alone: [`Replica`] and its log, driven as `server::node` and the log thread do.

use std::collections::BTreeMap;

use bytes::Bytes;

use crate::host::group::{Around, GroupCommit, GroupOptions, LogDone, LogRequest};
use crate::host::{load, snapshot};
use crate::proto::opcode::OpCode;
use crate::proto::txn::TxnEntry;
use crate::replica::conn::Submit;
use crate::replica::session::Sessions;
use crate::replica::{Action, Replica};
use crate::sim::random::Random;
use crate::storage::disk::DiskRef;
use crate::storage::{Committed, Error, TxnLog};
use crate::types::{Instant, Now, SessionId, Zxid};

use super::Mutant;
use super::params::Params;
use super::process::{Brain, NodeEvent, Note, Process, outlets};

/// The top byte of a standalone server's session ids.
const STANDALONE_ID: i64 = 1;

/// See the module.
#[derive(Debug)]
pub struct Alone {
    /// The value under test.
    pub replica: Replica,
    log: GroupCommit,
    random: Random,
    /// For the log thread.
    pub requests: Vec<LogRequest>,
    /// The log thread is at work: done already on disk, not yet reported.
    pub reports: Option<Vec<LogDone>>,
    /// Batches made durable.
    pub batches: u64,
    /// The newest batch: its last transaction, and how many it has.
    pub newest_batch: (Zxid, u64),
    appended: BTreeMap<i64, Bytes>,
    apply_max: usize,
    mutant: Option<Mutant>,
}

/// What a start found.
#[derive(Debug)]
pub struct Found {
    /// The zxid that recovery began with.
    pub base: Zxid,
    /// The last transaction.
    pub last: Zxid,
    /// The digest there.
    pub digest: i64,
    /// Transactions whose digest was not what they say.
    pub mismatches: u64,
    /// Sessions that were gone although their ephemerals were there.
    pub dead: Vec<SessionId>,
}

/// Starts a server on what is on its disk.
///
/// # Errors
/// Why it does not start.
pub fn boot(
    params: &Params,
    disk: &DiskRef,
    now: Now,
    mut random: Random,
) -> Result<(Process, Found), Error> {
    let dirs = params.dirs();
    let options = params.state();
    let recovery = params.recovery();
    let mut loaded = load::load(disk, &dirs, &recovery, || load::Inline::new(options))?;
    if loaded.is_fresh() {
        let how = params.snapshots();
        snapshot::write(disk.clone(), &dirs.snapshots, how, &mut loaded.state)?;
    }
    let log = TxnLog::new(disk.clone(), dirs, params.log(), loaded.last);
    let first_id = Sessions::first_id(STANDALONE_ID, now.wall.0);
    let replica = Replica::standalone(params.replica(first_id), &loaded.state, now);
    let found = Found {
        base: loaded.base,
        last: loaded.last,
        digest: loaded.state.digest(),
        mismatches: loaded.state.digest_mismatches(),
        dead: loaded.dead,
    };
    let group = GroupOptions {
        batch_max: params.batch_max,
        snap_count: params.snap_count,
        snap_bytes: None,
    };
    let alone = Alone {
        replica,
        log: GroupCommit::new(log, &group, random.bits()),
        random,
        requests: Vec::new(),
        reports: None,
        batches: 0,
        newest_batch: (Zxid::ZERO, 0),
        appended: BTreeMap::new(),
        apply_max: params.apply_max,
        mutant: params.mutant,
    };
    let brain = Brain::Alone(Box::new(alone));
    let mut process = Process::new(loaded.state, params.rules(), brain, now.mono);
    process.snapshot_due = loaded.replayed > params.snap_count / 2;
    process.is_late = params.mutant == Some(Mutant::EventsLate);
    Ok((process, found))
}

struct Watched<'a> {
    now: Instant,
    random: &'a mut Random,
    batches: &'a mut u64,
    newest: &'a mut (Zxid, u64),
    reports: Vec<LogDone>,
}

impl Around for Watched<'_> {
    fn clock(&self) -> Instant {
        self.now
    }
    fn random(&mut self) -> u64 {
        self.random.bits()
    }
    fn committed(&mut self, committed: &Committed) {
        *self.batches += 1;
        *self.newest = (committed.last, committed.txns);
    }
    fn done(&mut self, done: LogDone) {
        self.reports.push(done);
    }
}

impl Alone {
    /// The log thread takes what there is. On return it is durable, and not yet reported.
    ///
    /// # Errors
    /// What the disk says: the process ends.
    pub fn work(&mut self, now: Instant) -> Result<Vec<LogDone>, Error> {
        let mut around = Watched {
            now,
            random: &mut self.random,
            batches: &mut self.batches,
            newest: &mut self.newest_batch,
            reports: Vec::new(),
        };
        self.log.batch(&mut self.requests, &mut around)?;
        Ok(around.reports)
    }

    /// Finishes what was asked for and closes the log.
    ///
    /// # Errors
    /// What the disk says.
    pub fn stop(&mut self, now: Instant) -> Result<(), Error> {
        self.requests.push(LogRequest::Stop);
        self.work(now).map(drop)
    }
}

impl Process {
    pub(super) fn turn_alone(&mut self, now: Now, here: bool) {
        let Process {
            state: shared, watches, rules, sides, woken, inbox, brain, notes, late, ..
        } = self;
        let Brain::Alone(alone) = brain else { return };
        let is_late = self.is_late;
        let mut logged: Vec<LogDone> = Vec::new();
        {
            let state = shared.read();
            for event in inbox.drain(..) {
                let late = is_late.then_some(&mut *late);
                let mut out = outlets(sides, woken, &rules.auth, late);
                match event {
                    NodeEvent::Submit(Submit::Connect(ask)) => {
                        alone.replica.handle_connect(now, &state, ask, &mut out);
                    }
                    NodeEvent::Submit(Submit::Request(request)) => {
                        alone.replica.handle_request(now, &state, request, &mut out);
                    }
                    NodeEvent::Closed(conn) => {
                        watches.remove_conn(conn);
                        let Some(side) = sides.remove(&conn) else { continue };
                        if let Some((session, timeout_ms)) = side.session {
                            alone.replica.touch(session, timeout_ms, side.active);
                        }
                        alone.replica.handle_disconnect(side.conn.session(), conn);
                    }
                    NodeEvent::Logged(done) => logged.push(done),
                    NodeEvent::Quorum(_) | NodeEvent::WalkDone => {}
                }
            }
            if alone.replica.poll_timeout().is_some_and(|due| due <= now.mono) {
                if alone.replica.expires_at(now.mono) {
                    for side in sides.values() {
                        if let Some((session, timeout_ms)) = side.session {
                            alone.replica.touch(session, timeout_ms, side.active);
                        }
                    }
                }
                let mut out = outlets(sides, woken, &rules.auth, None);
                alone.replica.handle_timeout(now, &state, &mut out);
            }
        }
        while let Some(Action::Append { zxid, entry }) = alone.replica.poll_action() {
            if let Ok(decoded) = TxnEntry::decode(entry.clone())
                && OpCode(decoded.header.kind) == OpCode::CLOSE_SESSION
                && decoded.header.cxid == 0
            {
                notes.push(Note::Expired(decoded.header.session));
            }
            alone.appended.insert(zxid.0, entry.clone());
            alone.requests.push(LogRequest::Append { op: zxid.0 as u64, zxid, entry });
            if alone.mutant == Some(Mutant::ReplyBeforeSync) {
                alone.replica.handle_persisted(zxid);
            }
        }
        // The log thread is idle and the disk quick: the node thread does it itself.
        if here && alone.reports.is_none() && !alone.requests.is_empty() {
            match alone.work(now.mono) {
                Ok(done) => logged.extend(done),
                Err(error) => return notes.push(Note::Failed(error)),
            }
        }
        for done in logged {
            alone.replica.handle_persisted(Zxid(done.op as i64));
            self.snapshot_due |= done.snapshot_due;
        }
        while alone.replica.has_committed() {
            let mut state = shared.write();
            let late = is_late.then_some(&mut *late);
            let mut out = outlets(sides, woken, &rules.auth, late);
            alone.replica.apply(&mut state, watches, &mut out, alone.apply_max);
            let (last, digest) = (state.last_zxid(), state.digest());
            let later = alone.appended.split_off(&(last.0 + 1));
            for (zxid, entry) in std::mem::replace(&mut alone.appended, later) {
                notes.push(Note::Committed(Zxid(zxid), entry));
            }
            if !state.is_within_txn() {
                notes.push(Note::At(last, digest));
            }
        }
        self.let_go();
    }
}
