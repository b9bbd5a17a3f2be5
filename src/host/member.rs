//! What a member's node thread does between two waits: carries out what [`Member`] and Zab ask for,
//! in their order, and applies what is delivered.

use std::collections::BTreeMap;
use std::time::Duration;

use crate::replica::conn::Submit;
use crate::replica::ensemble::{Member, Undecodable, bring_config};
use crate::replica::{Connect, Deliver};
use crate::state::watch::WatchTable;
use crate::state::{SnapshotCursor, StateMachine};
use crate::storage;
use crate::types::{ConnId, Epoch, Instant, LinkId, Now, SessionId, Zxid};
use crate::zab::{Action, DiskOp, ExitReason, LinkError, LinkEvent, RoleChange, Warning};

/// Transactions applied while the state is held alone.
const APPLY_MAX: usize = 256;

/// Transactions whose answers are given before others are told anything.
const FEW: usize = 4;

/// How long after clients were last served a connection's greeting waits for a leader before it is
/// refused, or one tick where that is shorter: no session is shorter than two. An election is over
/// sooner; a client that is refused by all goes and sleeps for a second.
const HOLD: Duration = Duration::from_millis(1000);

/// Why a process must end.
#[derive(Debug, thiserror::Error)]
pub enum Exit {
    /// A transaction that a quorum has can't be read.
    #[error("{0}; a newer server leads? this one stops")]
    Undecodable(#[from] Undecodable),
    /// Zab has made going on impossible.
    #[error("{0}; this server stops rather than forget it")]
    Zab(ExitReason),
    /// The disk has.
    #[error("{0}; the server stops")]
    Disk(storage::Error),
}

/// What surrounds a member: the state behind its lock, connections, links, files.
pub trait Around {
    /// Lends the state, shared, and the way to the clients.
    fn lend<R>(&mut self, f: impl FnOnce(&StateMachine, &mut dyn Deliver) -> R) -> R;
    /// Lends the state alone.
    fn lend_alone<R>(
        &mut self,
        f: impl FnOnce(&mut StateMachine, &WatchTable, &mut dyn Deliver) -> R,
    ) -> R;
    /// Wakes the connections that were given something.
    fn wake(&mut self);
    /// Puts another state in the place of the one there is.
    fn replace(&mut self, state: StateMachine);
    /// Carries out an action that concerns links or files; gives back any other.
    fn execute(&mut self, action: Action) -> Option<Action>;
    /// Begins an image for learners, which is called `zxid`, with the walk that `cursor` has begun;
    /// queues its stream on a link. [`MemberNode::walk_ended`] is called when the walk has ended.
    fn begin_image(&mut self, link: LinkId, zxid: Zxid, cursor: SnapshotCursor);
    /// Queues the stream of the image that was begun last on another link.
    fn send_image(&mut self, link: LinkId);
    /// Whether that image can still be had, and how many links are reading it.
    fn image(&self) -> Option<usize>;
    /// Nobody new gets that image any more.
    fn forget_image(&mut self);
    /// The walk for the local snapshot under way is to end soon: others need theirs.
    fn give_up_snapshot(&mut self);
    /// Gives up the walk under way, and returns when no snapshot can come of it any more.
    fn cancel_snapshot(&mut self);
    /// Calls `f` with each connection's session, timeout in ms and last activity.
    fn sessions(&self, f: &mut dyn FnMut(SessionId, i32, Instant));
    /// Sends everybody away.
    fn close_all(&mut self, why: &'static str);
    /// Forgets on disk that this member had lost its history.
    ///
    /// # Errors
    /// What the disk says.
    fn resynced(&mut self) -> storage::Result<()>;
    /// The member has another membership: its config's text.
    fn config_changed(&mut self, _now: Now, _text: &[u8], _member: &Member) {}
    /// The member has taken another part; called when it serves, or does not, accordingly.
    fn role_changed(&mut self, now: Now, change: &RoleChange, member: &Member);
    /// The process ends. If this returns, nothing more is asked.
    fn exit(&mut self, why: Exit);
}

/// What became of the greetings that waited for a leader (`docs/decisions/012`).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Waited {
    /// Handled by a member that serves.
    pub served: u64,
    /// Refused, because there was none in time.
    pub refused: u64,
}

/// What a walk through the state is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum WalkFor {
    /// A snapshot of this server's own.
    Own,
    /// An image for learners.
    Learners,
}

/// A member, and what its node thread keeps from turn to turn.
#[derive(Debug)]
pub struct MemberNode {
    /// The member as a value.
    pub member: Member,
    /// Take a snapshot at the first opportunity.
    pub snapshot_due: bool,
    /// The walk through the state under way: there is one at a time.
    walk: Option<WalkFor>,
    /// What the newest image for learners is called in Zab, while it can be had.
    image: Option<Zxid>,
    /// It leads, and has no quorum yet: its learners' snapshots come before its own.
    establishing: bool,
    /// The state is being rebuilt: no snapshot is taken of it.
    loading: bool,
    /// Activity before this moment has been reported to the leader.
    reported: Instant,
    /// The text of this member's configuration, and its version.
    config: (Vec<u8>, Zxid),
    /// `leaderServes`.
    leader_serves: bool,
    /// Connections that came while nobody was served, see `docs/decisions/012`.
    waiting: BTreeMap<ConnId, Connect>,
    /// Until when they wait; None before the member has looked for a leader for the first time.
    hold_until: Option<Instant>,
    /// What became of them.
    pub waited: Waited,
}

impl MemberNode {
    /// Around a member with this configuration's text and version.
    pub fn new(member: Member, config: (Vec<u8>, Zxid), leader_serves: bool) -> MemberNode {
        MemberNode {
            member,
            snapshot_due: false,
            walk: None,
            image: None,
            establishing: false,
            loading: false,
            reported: Instant::default(),
            config,
            leader_serves,
            waiting: BTreeMap::new(),
            hold_until: None,
            waited: Waited::default(),
        }
    }

    /// A connection wants something ordered.
    pub fn submit(&mut self, now: Now, submit: Submit, around: &mut impl Around) {
        let holds = self.holds(now);
        let member = &mut self.member;
        match submit {
            Submit::Connect(Connect { conn, .. }) if member.is_leading() && !self.leader_serves => {
                let why = "the leader does not serve clients (leaderServes=no)";
                around.lend(|_, out| out.close(conn, why));
            }
            Submit::Connect(ask) if holds && !member.is_serving() => {
                self.waiting.insert(ask.conn, ask);
            }
            Submit::Connect(ask) => {
                around.lend(|state, out| member.handle_connect(now, state, ask, out));
            }
            Submit::Request(request) => {
                around.lend(|state, out| member.handle_request(now, state, request, out));
            }
        }
    }

    /// Whether the time without a leader is short.
    fn holds(&self, now: Now) -> bool {
        self.hold_until.is_some_and(|until| now.mono < until)
    }

    /// Greets the connections that have waited for a leader, or refuses them: they have waited
    /// long enough.
    fn end_waiting(&mut self, now: Now, around: &mut impl Around) {
        if !self.waiting.is_empty() && (self.member.is_serving() || !self.holds(now)) {
            let count = match self.member.is_serving() {
                true => &mut self.waited.served,
                false => &mut self.waited.refused,
            };
            *count += self.waiting.len() as u64;
            for ask in std::mem::take(&mut self.waiting).into_values() {
                self.submit(now, Submit::Connect(ask), around);
            }
        }
    }

    /// When [`MemberNode::timeout`] has something to do.
    pub fn poll_timeout(&self) -> Option<Instant> {
        let hold = self.hold_until.filter(|_| !self.waiting.is_empty());
        [self.member.poll_timeout(), hold].into_iter().flatten().min()
    }

    /// A connection is gone; `last` is its session, its timeout in ms and when it was last active.
    pub fn closed(
        &mut self,
        conn: ConnId,
        session: SessionId,
        last: Option<(SessionId, i32, Instant)>,
    ) {
        if let Some((session, timeout_ms, at)) = last
            && at >= self.reported
        {
            self.member.touch(session, timeout_ms, at);
        }
        self.member.handle_disconnect(session, conn);
        self.waiting.remove(&conn);
    }

    /// The disk has built the state that Zab asked for.
    pub fn loaded(&mut self, now: Now, state: StateMachine, around: &mut impl Around) {
        // Whatever was delivered to the old state is in the new one.
        self.flush(around);
        around.replace(state);
        self.loading = false;
        let (text, version) = &self.config;
        let by_log = self.member.may_reconfigure();
        around.lend_alone(|state, _, _| match by_log {
            true => bring_config(state, (text, *version), now, &mut Vec::new()),
            false => state.init_config(text, *version, now.wall, &mut Vec::new()),
        });
        self.member.peer_mut().handle_loaded(now.mono);
    }

    /// Handles what is due, if anything is; whether it was.
    pub fn timeout(&mut self, now: Now, around: &mut impl Around) -> bool {
        if self.poll_timeout().is_none_or(|due| due > now.mono) {
            return false;
        }
        if self.member.expiry_is_due(now) {
            // No further back: a learner would tell its leader again of what has long been silent.
            self.touch_all(self.reported, around);
        }
        let member = &mut self.member;
        around.lend(|state, out| member.handle_timeout(now, state, out));
        self.release_image(now, around);
        self.drain(now, around);
        self.end_waiting(now, around);
        true
    }

    /// Tells the member of activity since a moment, see `docs/decisions/003`.
    fn touch_all(&mut self, since: Instant, around: &mut impl Around) {
        let member = &mut self.member;
        around.sessions(&mut |session, timeout_ms, at| {
            if at >= since {
                member.touch(session, timeout_ms, at);
            }
        });
    }

    /// Carries out everything that Zab asks for.
    pub fn drain(&mut self, now: Now, around: &mut impl Around) {
        while let Some(action) = self.member.peer_mut().poll_action() {
            if let Action::Disk { what, .. } = &action
                && matches!(what, DiskOp::Truncate(_) | DiskOp::InstallSnapshot { .. })
            {
                // A snapshot that is finished after this could bring back what goes away.
                around.cancel_snapshot();
                self.forget_image(now, around);
                self.loading = true;
            }
            if let Some(action) = around.execute(action) {
                self.act(now, action, around);
            }
        }
    }

    fn act(&mut self, now: Now, action: Action, around: &mut impl Around) {
        let member = &mut self.member;
        match action {
            Action::Deliver { txn, .. } => {
                if let Err(error) = member.deliver(txn) {
                    around.exit(Exit::Undecodable(error));
                }
            }
            Action::SendSnapshot { link, zxid } => {
                self.flush(around);
                self.send_snapshot(now, link, zxid, around);
            }
            Action::RoleChanged(change) => self.change_role(now, &change, around),
            Action::FromLearner { link, packet, .. } => {
                around.lend(|state, out| member.handle_learner(now, state, link, packet, out));
            }
            Action::FromLeader(packet) => around.lend(|_, out| member.handle_leader(packet, out)),
            Action::AnswerPing { zxid } => {
                self.touch_all(self.reported, around);
                self.reported = now.mono;
                self.member.answer_ping(zxid);
            }
            Action::Synced { token } => member.handle_synced(token),
            Action::ConfigSeen(text) => {
                if text != self.config.0 {
                    tracing::debug!("the leader's configuration is written differently");
                }
            }
            Action::ConfigActive { text, version } => {
                self.use_config(now, (text.to_vec(), Zxid(version)), around);
            }
            Action::Resynced => {
                tracing::info!("this member holds a leader's history again, and votes");
                if let Err(error) = around.resynced() {
                    around.exit(Exit::Disk(error));
                }
            }
            Action::Warn(warning @ (Warning::StaysOut { .. } | Warning::LeftOut { .. })) => {
                tracing::error!("{warning}");
            }
            Action::Warn(warning) => tracing::warn!("{warning}"),
            Action::Exit(reason) => around.exit(Exit::Zab(reason)),
            // Everything else was executed.
            _ => {}
        }
    }

    /// Another membership is in force. While clients are served its transaction brings it to them.
    fn use_config(&mut self, now: Now, config: (Vec<u8>, Zxid), around: &mut impl Around) {
        self.config = config;
        let version = self.config.1;
        tracing::info!("the membership of version {:x} is in force", version.0);
        if !self.member.is_serving() {
            self.flush(around);
            let (text, version) = &self.config;
            around.lend_alone(|state, watches, out| {
                let mut changes = Vec::new();
                bring_config(state, (text, *version), now, &mut changes);
                for change in &changes {
                    out.changed(change);
                    watches.fire(change, &mut |conn, kind| out.event(conn, kind, change));
                }
            });
        }
        let (text, _) = &self.config;
        around.config_changed(now, text, &self.member);
    }

    fn change_role(&mut self, now: Now, change: &RoleChange, around: &mut impl Around) {
        self.flush(around);
        self.forget_image(now, around);
        self.establishing = matches!(change, RoleChange::Leading { serving: false, .. });
        if self.establishing && self.walk == Some(WalkFor::Own) {
            // It may take longer than the others have patience.
            around.give_up_snapshot();
            self.snapshot_due = true;
        }
        self.tell_snapshots(now);
        match change {
            RoleChange::Looking(why) => tracing::info!("LOOKING: {why}"),
            RoleChange::Following { leader, epoch, serving, observer } => {
                let what = if *observer { "OBSERVING" } else { "FOLLOWING" };
                let epoch = epoch_text(*epoch);
                tracing::info!("{what} server {leader}, {epoch}, serving: {serving}");
            }
            RoleChange::Leading { epoch, serving } => {
                tracing::info!("LEADING, {}, serving: {serving}", epoch_text(*epoch));
            }
            RoleChange::Stopped => tracing::info!("left the ensemble"),
        }
        // The connections end with the part: local sessions live on, and were active until now.
        self.touch_all(self.reported, around);
        let member = &mut self.member;
        let lost = around.lend_alone(|state, _, _| member.handle_role(now, state, change));
        self.reported = now.mono;
        if self.member.is_serving() {
            // A truncation that was refused loads nothing.
            self.loading = false;
        }
        if lost {
            around.close_all("this server is not serving requests any more");
        }
        if lost || self.hold_until.is_none() {
            self.hold_until = Some(now.mono + HOLD.min(self.member.tick()));
        }
        around.role_changed(now, change, &self.member);
        self.end_waiting(now, around);
    }

    /// Applies what was delivered if it is little and a client here waits for it, before the turn's
    /// messages go out: a message to each of the others takes longer than that, and wakes somebody
    /// who wants the same cores as the client.
    pub fn answer_few(&mut self, around: &mut impl Around) {
        let member = &mut self.member;
        if member.owes_few_answers(FEW) {
            around.lend_alone(|state, watches, out| {
                member.apply(state, watches, out, FEW);
            });
            around.wake();
        }
    }

    /// Applies everything that was delivered.
    pub fn flush(&mut self, around: &mut impl Around) {
        let member = &mut self.member;
        while member.has_deliveries() {
            around.lend_alone(|state, watches, out| {
                member.apply(state, watches, out, APPLY_MAX);
            });
            if member.has_deliveries() {
                // A long way to go: nobody waits for the end of it.
                around.wake();
            }
        }
    }

    /// Begins a snapshot if one is due and possible; None while another walk is under way: then ask
    /// again after the next turn.
    pub fn begin_snapshot(&mut self, now: Now, around: &mut impl Around) -> Option<SnapshotCursor> {
        if !self.snapshot_due || self.loading || self.establishing || self.walk.is_some() {
            return None;
        }
        let cursor = around.lend_alone(|state, _, _| state.begin_snapshot())?;
        self.snapshot_due = false;
        self.walk = Some(WalkFor::Own);
        self.tell_snapshots(now);
        Some(cursor)
    }

    /// The walk under way has ended, whatever came of it. Learners that waited for it get theirs; a
    /// snapshot of this server's own has the next turn after one for them.
    pub fn walk_ended(&mut self, now: Now, around: &mut impl Around) {
        let ended = self.walk.take();
        if around.image().is_none() {
            self.image = None;
        }
        let own = self.snapshot_due && !self.loading && !self.establishing;
        if ended != Some(WalkFor::Learners) || !own {
            self.tell_snapshots(now);
            self.drain(now, around);
        }
    }

    /// Sends a snapshot that is called `zxid` to a learner: the image that there is, or one of the
    /// state as it is now.
    fn send_snapshot(&mut self, now: Now, link: LinkId, zxid: Zxid, around: &mut impl Around) {
        if self.image == Some(zxid) && around.image().is_some() {
            return around.send_image(link);
        }
        let free = self.walk.is_none() && !self.loading;
        let begin = |state: &mut StateMachine, _: &_, _: &mut dyn Deliver| state.begin_snapshot();
        let Some(cursor) = free.then(|| around.lend_alone(begin)).flatten() else {
            // The image was lost in this turn. The learner comes again.
            around.execute(Action::CloseLink { link, why: LinkError::NoSnapshot });
            return self.member.peer_mut().handle_link(now.mono, link, LinkEvent::Down);
        };
        self.walk = Some(WalkFor::Learners);
        self.image = Some(zxid);
        around.begin_image(link, zxid, cursor);
        self.tell_snapshots(now);
    }

    fn tell_snapshots(&mut self, now: Now) {
        let held = self.walk.is_some();
        self.member.peer_mut().set_snapshots(now.mono, held, self.image);
    }

    /// Lets an image go that is whole and that nobody reads: it takes space on the disk.
    fn release_image(&mut self, now: Now, around: &mut impl Around) {
        if self.walk != Some(WalkFor::Learners) && around.image().is_none_or(|links| links == 0) {
            self.forget_image(now, around);
        }
    }

    fn forget_image(&mut self, now: Now, around: &mut impl Around) {
        if self.image.take().is_some() {
            around.forget_image();
            self.tell_snapshots(now);
        }
    }

    /// Leaves the ensemble: a leader's followers elect another at once.
    pub fn shut_down(&mut self, now: Now, around: &mut impl Around) {
        self.member.peer_mut().shut_down(now.mono);
        self.drain(now, around);
        self.flush(around);
    }
}

/// An epoch for the log: 0 is that of nobody, and stands for one that is not agreed on yet.
fn epoch_text(epoch: Epoch) -> String {
    match epoch {
        Epoch(0) => "the epoch is not known yet".to_owned(),
        epoch => format!("epoch {epoch}"),
    }
}

#[cfg(test)]
mod tests;
