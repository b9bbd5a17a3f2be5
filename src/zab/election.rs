//! Fast leader election: one round of a server that searches for a leader (Apache
//! `FastLeaderElection.lookForLeader`).
//!
//! Everyone votes for the best candidate it has heard of: the highest current epoch, then the
//! highest zxid, then the highest id. When a quorum votes alike, and nothing better comes for a
//! while, that is the result: not yet a leader (discovery decides that), only one worth connecting
//! to. A server that comes to a settled ensemble hears votes of followers and of the leader, and
//! joins when a quorum follows and the leader itself says that it leads.
//!
//! An [`Election`] is a value without actions: it says what happened by [`Step`].

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use super::membership::Membership;
use crate::proto::election::{Notification, ServerState};
use crate::types::{Epoch, Instant, ServerId, Zxid};

/// A vote: who should lead, and why.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Vote {
    /// The candidate.
    pub leader: ServerId,
    /// The end of the candidate's log.
    pub zxid: Zxid,
    /// The candidate's current epoch.
    pub peer_epoch: Epoch,
}

impl Vote {
    /// What a server without a vote starts from (Apache uses `Long.MIN_VALUE`).
    pub const NONE: Vote =
        Vote { leader: ServerId(i64::MIN), zxid: Zxid(i64::MIN), peer_epoch: Epoch(i64::MIN) };

    /// Whether this vote beats `other` (Apache `totalOrderPredicate`): epoch, zxid, id. A candidate
    /// of weight 0 never wins.
    pub fn beats(&self, other: &Vote, members: &Membership) -> bool {
        members.quorum.current.weight(self.leader) > 0 && self.outranks(other, members)
    }

    /// The order alone. Whoever votes under the membership in force comes before who does not and has
    /// no more.
    fn outranks(&self, other: &Vote, members: &Membership) -> bool {
        let current = |v: &Vote| members.quorum.current.weight(v.leader) > 0;
        let key = |v: &Vote| (v.peer_epoch, v.zxid, current(v), v.leader);
        key(self) > key(other)
    }
}

/// A vote as it was received, with the circumstances that decide which votes count as equal.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Ballot {
    vote: Vote,
    round: i64,
    state: ServerState,
    version: i32,
}

impl Ballot {
    /// Whether two ballots are for the same thing (Apache `Vote.equals`). Between settled servers
    /// zxid and round may differ (ZOOKEEPER-1805, 1732), and with a server from before 3.5 the epoch
    /// too.
    fn agrees(&self, other: &Ballot) -> bool {
        let (a, b) = (&self.vote, &other.vote);
        if self.state == ServerState::Looking || other.state == ServerState::Looking {
            a == b && self.round == other.round
        } else if (self.version > 0) != (other.version > 0) {
            a.leader == b.leader
        } else {
            a.leader == b.leader && a.peer_epoch == b.peer_epoch
        }
    }
}

/// What an event led to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Step {
    /// Nothing to do.
    Wait,
    /// Tell everyone the vote.
    Broadcast,
    /// Tell this server the vote: it is behind.
    Answer(ServerId),
    /// The result.
    Elected(Vote),
}

/// How a server takes part.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Part {
    /// It votes, and may be elected.
    Voter,
    /// It has no vote, but follows the others' election.
    Observer,
    /// It has a vote and must not use it: it only joins a settled ensemble. It says so by zxid -1,
    /// which Apache ignores while it is looking and answers once it isn't.
    Mute,
}

/// One election round on one server.
#[derive(Clone, Debug)]
pub struct Election {
    me: ServerId,
    part: Part,
    round: i64,
    own: Vote,
    proposal: Vote,
    /// Votes of this round.
    votes: BTreeMap<ServerId, Ballot>,
    /// Votes of settled servers, of whatever round.
    settled: BTreeMap<ServerId, Ballot>,
    /// Since when a quorum agrees with the proposal, plus the wait.
    decide_at: Option<Instant>,
    repeat_at: Instant,
    repeat_every: Duration,
    /// Members that refuse connections.
    unreachable: BTreeSet<ServerId>,
    waits: Waits,
    /// A change of the membership that a voter of the one in force has in its log, this server or one
    /// that was heard: who votes under it may be elected as well.
    change: Option<Membership>,
    /// This server does not stand, see [`Election::stand_back`]: what it votes once it does.
    standing_back: Option<Vote>,
    /// The version of the change in the log of this server, which votes under that only, and what it
    /// votes once it hears of a voter in force that has the change too.
    claim: Option<(i64, Vote)>,
    #[cfg(any(test, feature = "sim"))]
    wrong_order: bool,
}

/// The times of an election.
#[derive(Clone, Copy, Debug)]
pub struct Waits {
    /// How long an agreement must stand.
    pub finalize: Duration,
    /// The first wait before the vote is repeated.
    pub repeat_min: Duration,
    /// The longest.
    pub repeat_max: Duration,
}

impl Election {
    /// Begins `round` with `own` as this server's vote; the caller broadcasts it.
    pub fn new(
        now: Instant,
        me: ServerId,
        part: Part,
        round: i64,
        own: Vote,
        waits: Waits,
    ) -> Election {
        let mut election = Election {
            me,
            part,
            round,
            own,
            proposal: own,
            votes: BTreeMap::new(),
            settled: BTreeMap::new(),
            decide_at: None,
            repeat_at: now + waits.repeat_min,
            repeat_every: waits.repeat_min,
            unreachable: BTreeSet::new(),
            waits,
            change: None,
            standing_back: None,
            claim: None,
            #[cfg(any(test, feature = "sim"))]
            wrong_order: false,
        };
        election.cast();
        election
    }

    /// In an election with a change of the membership in this server's log: what it says of it, if it
    /// votes under the one in force, or what it would claim for itself, if it does not.
    pub fn with_change(
        mut self,
        change: Option<Membership>,
        claim: Option<(i64, Vote)>,
    ) -> Election {
        (self.change, self.claim) = (change, claim);
        self
    }

    /// A voter in force says that one has this change in its log. Without that the change cannot have
    /// been committed, and nothing that only those to come have counts.
    pub fn hear(&mut self, change: Membership, members: &Membership) -> Step {
        if self.change.as_ref().is_some_and(|known| known.version >= change.version) {
            return Step::Wait;
        }
        let claim = self.claim.filter(|(version, _)| *version == change.version);
        self.change = Some(change);
        let Some((_, vote)) = claim else { return Step::Wait };
        self.claim_lead(vote, members)
    }

    /// This server stands now, with this vote.
    fn claim_lead(&mut self, vote: Vote, members: &Membership) -> Step {
        self.own = vote;
        if !self.beats(&vote, &self.proposal, members) {
            return Step::Wait;
        }
        self.proposal = vote;
        self.decide_at = None;
        self.cast();
        Step::Broadcast
    }

    /// This server can't lead at present. It votes for the best candidate that has all that it has
    /// itself, and until it has heard of one for nobody; an agreement on itself does not count. One
    /// that has less would be refused by it anyway ([`Why::FollowerAhead`](super::Why::FollowerAhead)).
    /// To be called before anything has been heard.
    pub fn stand_back(&mut self) {
        self.standing_back = Some(self.own);
        self.own.leader = Vote::NONE.leader;
        self.proposal = self.own;
        self.cast();
    }

    /// It can lead again.
    pub fn come_forward(&mut self, members: &Membership) -> Step {
        let vote = self.standing_back.take();
        vote.map_or(Step::Wait, |vote| self.claim_lead(vote, members))
    }

    /// Whether it votes for nobody yet.
    fn is_undecided(&self) -> bool {
        self.proposal.leader == Vote::NONE.leader
    }

    /// Whether it takes part in this election, by the rules here or by the change that was heard of.
    pub fn is_voter(&self, server: ServerId, members: &Membership) -> bool {
        members.is_voter(server) || self.change.as_ref().is_some_and(|c| c.is_voter(server))
    }

    /// Everyone who takes part.
    pub fn voters(&self, members: &Membership) -> BTreeSet<ServerId> {
        let mut voters = members.quorum.voters();
        voters.extend(self.change.iter().flat_map(|c| c.quorum.current.voters()));
        voters
    }

    /// Compares zxids before epochs from now on (a mutant).
    #[cfg(any(test, feature = "sim"))]
    pub(super) fn with_wrong_order(mut self, wrong: bool) -> Election {
        self.wrong_order = wrong;
        self
    }

    /// The round (Apache's logical clock), which may have grown.
    pub fn round(&self) -> i64 {
        self.round
    }

    /// The vote at present.
    pub fn proposal(&self) -> Vote {
        self.proposal
    }

    /// When [`Election::handle_timeout`] wants to be called.
    pub fn poll_timeout(&self) -> Instant {
        self.decide_at.map_or(self.repeat_at, |d| d.min(self.repeat_at))
    }

    /// The vote as a message to the others.
    pub fn notification(&self, members: &Membership) -> Notification {
        Notification {
            state: ServerState::Looking,
            leader: self.proposal.leader,
            zxid: if self.part == Part::Mute { Zxid(-1) } else { self.proposal.zxid },
            round: self.round,
            peer_epoch: self.proposal.peer_epoch,
            version: crate::proto::election::NOTIFICATION_VERSION,
            config: Some(members.text.clone()),
            pending: self.change.as_ref().map(|change| change.text.clone()),
        }
    }

    /// Names the members that refuse connections: they run no server, so no better vote is to be
    /// expected of them. Which vote wins is not touched, only whether to wait for one.
    pub fn set_unreachable(
        &mut self,
        now: Instant,
        servers: &BTreeSet<ServerId>,
        members: &Membership,
    ) -> Step {
        self.unreachable.clone_from(servers);
        self.tally(now, members).unwrap_or(Step::Wait)
    }

    /// Checks what the first vote leads to: with a single voter it decides.
    pub fn start(&mut self, now: Instant, members: &Membership) -> Step {
        self.tally(now, members).unwrap_or(Step::Broadcast)
    }

    /// A timer of [`Election::poll_timeout`] has run out.
    pub fn handle_timeout(&mut self, now: Instant, members: &Membership) -> Step {
        if self.decide_at.is_some_and(|at| at <= now) && self.agreed(members) {
            return Step::Elected(self.proposal);
        }
        if self.repeat_at <= now {
            self.repeat_every = (self.repeat_every * 2).min(self.waits.repeat_max);
            self.repeat_at = now + self.repeat_every;
            return Step::Broadcast;
        }
        Step::Wait
    }

    /// A voter's message has come, see [`Election::is_voter`].
    pub fn handle(
        &mut self,
        now: Instant,
        from: ServerId,
        n: &Notification,
        members: &Membership,
    ) -> Step {
        if !self.is_voter(from, members) {
            return Step::Wait;
        }
        if !self.is_voter(n.leader, members) {
            return self.handle_undecided(now, from, n, members);
        }
        match n.state {
            ServerState::Looking => self.handle_looking(now, from, n, members),
            ServerState::Following | ServerState::Leading => {
                self.handle_settled(now, from, n, members)
            }
            ServerState::Observing => Step::Wait,
        }
    }

    /// One that is to vote under a membership which it has not heard of has no vote of its own yet, and
    /// takes none of an earlier round than its own. One that stands back has none either, says where its
    /// history ends, and asks for ours. (Apache's members hear neither.)
    fn handle_undecided(
        &mut self,
        now: Instant,
        from: ServerId,
        n: &Notification,
        members: &Membership,
    ) -> Step {
        let looking = n.state == ServerState::Looking && n.leader == Vote::NONE.leader;
        let stands_back = n.zxid != Vote::NONE.zxid;
        if !looking || (members.quorum.next.is_none() && !stands_back) {
            return Step::Wait;
        }
        if n.round <= self.round {
            // Two that are undecided have nothing to tell each other.
            let asks = stands_back && self.part == Part::Voter && !self.is_undecided();
            return if asks { Step::Answer(from) } else { Step::Wait };
        }
        self.round = n.round;
        self.votes.clear();
        self.proposal = self.own;
        self.decide_at = None;
        self.cast();
        self.tally(now, members).unwrap_or(Step::Broadcast)
    }

    fn handle_looking(
        &mut self,
        now: Instant,
        from: ServerId,
        n: &Notification,
        members: &Membership,
    ) -> Step {
        if self.part == Part::Mute || n.zxid == Zxid(-1) {
            return Step::Wait;
        }
        let vote = Vote { leader: n.leader, zxid: n.zxid, peer_epoch: n.peer_epoch };
        let mut step = Step::Wait;
        self.settled.remove(&from);
        if n.round < self.round {
            return Step::Answer(from);
        }
        if n.round > self.round {
            self.round = n.round;
            self.votes.clear();
            self.proposal = if self.beats(&vote, &self.own, members) { vote } else { self.own };
            self.cast();
            step = Step::Broadcast;
        } else if self.beats(&vote, &self.proposal, members) {
            self.proposal = vote;
            self.cast();
            step = Step::Broadcast;
        }
        let ballot = Ballot { vote, round: n.round, state: n.state, version: n.version };
        self.votes.insert(from, ballot);
        if step == Step::Broadcast {
            self.decide_at = None;
        }
        match self.tally(now, members) {
            // The others must hear the vote that made us agree before we stop looking.
            Some(elected) if step == Step::Wait => elected,
            Some(_) => {
                self.decide_at = Some(now);
                step
            }
            // It may have missed our vote: we sent it while it still followed, and it dropped it.
            // (Apache leaves it waiting until the vote is repeated.)
            None if step == Step::Wait
                && self.may_lead(self.proposal.leader, members)
                && self.proposal.outranks(&vote, members) =>
            {
                Step::Answer(from)
            }
            None => step,
        }
    }

    fn handle_settled(
        &mut self,
        now: Instant,
        from: ServerId,
        n: &Notification,
        members: &Membership,
    ) -> Step {
        let vote = Vote { leader: n.leader, zxid: n.zxid, peer_epoch: n.peer_epoch };
        let ballot = Ballot { vote, round: n.round, state: n.state, version: n.version };
        if n.round == self.round && self.part != Part::Mute {
            self.votes.insert(from, ballot);
            if self.joins(&self.votes, &ballot, members) {
                return Step::Elected(vote);
            }
        }
        self.settled.insert(from, ballot);
        if self.joins(&self.settled, &ballot, members) {
            self.round = n.round;
            return Step::Elected(vote);
        }
        match self.tally(now, members) {
            Some(elected) => elected,
            None => Step::Wait,
        }
    }

    /// Whether a quorum in `ballots` agrees with `ballot` and its leader confirms that it leads
    /// (Apache `checkLeader`): without that, two servers could elect each other's memory of a dead
    /// one for ever.
    fn joins(
        &self,
        ballots: &BTreeMap<ServerId, Ballot>,
        ballot: &Ballot,
        members: &Membership,
    ) -> bool {
        let leader = ballot.vote.leader;
        let confirmed = if leader == self.me {
            let stands = self.part == Part::Voter && self.standing_back.is_none();
            self.round == ballot.round && stands
        } else {
            ballots.get(&leader).is_some_and(|b| b.state == ServerState::Leading)
        };
        // To follow is safe whoever leads, so while the membership changes one of the rules will do:
        // the change may have been given up.
        let agrees = |s| ballots.get(&s).is_some_and(|b: &Ballot| b.agrees(ballot));
        let quorum = &members.quorum;
        confirmed
            && (quorum.current.is_met(agrees)
                || quorum.next.as_ref().is_some_and(|n| n.is_met(agrees)))
    }

    /// Counts: elected when everyone agrees, a deadline when a quorum does.
    fn tally(&mut self, now: Instant, members: &Membership) -> Option<Step> {
        if self.part == Part::Mute || !self.agreed(members) {
            self.decide_at = None;
            return None;
        }
        let mine = self.ballot();
        let all = members.quorum.voters();
        let agrees = |s: &ServerId| self.votes.get(s).is_some_and(|b| b.agrees(&mine));
        if all.iter().all(|s| agrees(s) || self.unreachable.contains(s)) {
            return Some(Step::Elected(self.proposal));
        }
        self.decide_at.get_or_insert(now + self.waits.finalize);
        None
    }

    /// Whether a quorum votes as this server does.
    fn agreed(&self, members: &Membership) -> bool {
        let mine = self.ballot();
        members.quorum.is_met(|s| self.votes.get(&s).is_some_and(|b| b.agrees(&mine)))
    }

    fn ballot(&self) -> Ballot {
        let version = crate::proto::election::NOTIFICATION_VERSION;
        Ballot { vote: self.proposal, round: self.round, state: ServerState::Looking, version }
    }

    /// Counts the own vote.
    fn cast(&mut self) {
        if self.standing_back.is_some() && self.is_undecided() {
            self.votes.remove(&self.me);
        } else if self.part == Part::Voter {
            let ballot = self.ballot();
            self.votes.insert(self.me, ballot);
        }
    }

    /// Whether a vote for this server counts.
    fn may_lead(&self, server: ServerId, members: &Membership) -> bool {
        let by = |m: &Membership| m.quorum.current.weight(server) > 0;
        by(members) || self.change.as_ref().is_some_and(by)
    }

    fn beats(&self, a: &Vote, b: &Vote, members: &Membership) -> bool {
        #[cfg(any(test, feature = "sim"))]
        if self.wrong_order {
            return (a.leader, a.zxid) > (b.leader, b.zxid);
        }
        let stands = a.leader != self.me || self.standing_back.is_none();
        stands && self.may_lead(a.leader, members) && a.outranks(b, members)
    }
}

#[cfg(test)]
mod tests;
