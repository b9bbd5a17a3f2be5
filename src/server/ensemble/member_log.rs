//! What a member logs of the others: which learner joined its leader and how, which one is lost and
//! why, and, while there is no quorum, whom it misses.
//!
//! It sees what the node thread sends and receives, and must not know why Zab asks for it.

use std::collections::BTreeSet;
use std::time::Duration;

use crate::proto::jute::Jute;
use crate::proto::quorum::{LearnerInfo, PacketKind, QuorumPacket};
use crate::server::lines::{self, Lines};
use crate::server::net::HostPort;
use crate::types::{Instant, LinkId, Map, ServerId, map};

/// How long a member goes without a quorum before it says so, and then between two lines.
const MISSING_EVERY: Duration = Duration::from_secs(10);

/// How a learner is brought into step.
#[derive(Debug)]
struct Joining {
    /// DIFF, TRUNC or SNAP.
    opening: PacketKind,
    since: Instant,
    /// Proposals sent before it was told UPTODATE.
    proposals: u64,
    /// Bytes of the image behind SNAP, where this server sent it.
    image_bytes: Option<u64>,
}

/// One learner's link, on its leader.
#[derive(Debug)]
struct Learner {
    server: ServerId,
    observer: bool,
    joining: Option<Joining>,
    joined: bool,
}

impl Learner {
    fn name(&self) -> String {
        let part = if self.observer { "observer" } else { "follower" };
        format!("{part} {}", self.server)
    }
}

/// See the module.
#[derive(Debug, Default)]
pub struct MemberLog {
    learners: Map<LinkId, Learner>,
    lines: Lines,
    /// Learners that are being brought into step: without any, most of what is sent needs no look.
    joining: usize,
    /// How and since when the leader brings this member into step.
    own: Option<Joining>,
    missing_at: Option<Instant>,
}

impl MemberLog {
    /// This member has another role.
    pub fn role_ended(&mut self) {
        self.learners = map();
        self.joining = 0;
        self.own = None;
    }

    /// A packet has come over a link: of a learner, or of the leader.
    pub fn received(&mut self, now: Instant, link: LinkId, packet: &QuorumPacket) {
        match packet.kind {
            PacketKind::FollowerInfo | PacketKind::ObserverInfo => {
                let Ok(info) = LearnerInfo::from_bytes(packet.payload()) else { return };
                let observer = packet.kind == PacketKind::ObserverInfo;
                let learner =
                    Learner { server: info.server, observer, joining: None, joined: false };
                self.learners.insert(link, learner);
            }
            opening @ (PacketKind::Diff | PacketKind::Trunc | PacketKind::Snap) => {
                self.own = Some(Joining { opening, since: now, proposals: 0, image_bytes: None });
            }
            PacketKind::Proposal => {
                if let Some(own) = &mut self.own {
                    own.proposals += 1;
                }
            }
            _ => {}
        }
    }

    /// How the leader has brought this member into step, once it has.
    pub fn in_step(&mut self, now: Instant) -> Option<String> {
        self.own.take().map(|own| how(&own, now))
    }

    /// Whether [`MemberLog::sent`] has to see packets of this kind.
    pub fn wants(&self, kind: PacketKind) -> bool {
        match kind {
            PacketKind::Diff | PacketKind::Trunc | PacketKind::Snap => true,
            PacketKind::Proposal | PacketKind::UpToDate => self.joining > 0,
            _ => false,
        }
    }

    /// A packet goes to a learner; a line when that ends its joining. `image_bytes` is the size of the
    /// newest image for learners.
    pub fn sent(
        &mut self,
        now: Instant,
        link: LinkId,
        kind: PacketKind,
        image_bytes: Option<u64>,
    ) -> Option<String> {
        let learner = self.learners.get_mut(&link)?;
        match kind {
            PacketKind::Diff | PacketKind::Trunc | PacketKind::Snap => {
                let joining =
                    Joining { opening: kind, since: now, proposals: 0, image_bytes: None };
                self.joining += usize::from(learner.joining.replace(joining).is_none());
            }
            PacketKind::Proposal => {
                if let Some(joining) = &mut learner.joining {
                    joining.proposals += 1;
                }
            }
            PacketKind::UpToDate => {
                let mut joining = learner.joining.take()?;
                joining.image_bytes = image_bytes.filter(|_| joining.opening == PacketKind::Snap);
                self.joining -= 1;
                learner.joined = true;
                return Some(format!("{} has joined: {}", learner.name(), how(&joining, now)));
            }
            _ => {}
        }
        None
    }

    /// A learner's link is gone; a line unless there are too many of them.
    pub fn lost(&mut self, link: LinkId, why: &str) -> Option<String> {
        let learner = self.learners.remove(&link)?;
        self.joining -= usize::from(learner.joining.is_some());
        let suppressed = self.lines.next()?;
        let what = if learner.joined { "is lost" } else { "could not join" };
        Some(format!("{} {what}: {why}{}", learner.name(), lines::others(suppressed)))
    }

    /// Called while no clients are served: every ten seconds a line that says whom this member misses.
    /// `away` is for how long it has had no quorum; `others` gives the other voters, and those of them
    /// to which there is no connection.
    pub fn missing(
        &mut self,
        now: Instant,
        away: Duration,
        others: impl FnOnce() -> (Vec<(ServerId, Vec<HostPort>)>, BTreeSet<ServerId>),
    ) -> Option<String> {
        if away < MISSING_EVERY || self.missing_at.is_some_and(|at| now < at) {
            return None;
        }
        self.missing_at = Some(now + MISSING_EVERY);
        let (voters, unconnected) = others();
        let unreached: Vec<String> = voters
            .iter()
            .filter(|(id, _)| unconnected.contains(id))
            .map(|(id, addresses)| {
                let at: Vec<String> = addresses.iter().map(HostPort::to_string).collect();
                format!("server {id} ({})", at.join(", "))
            })
            .collect();
        let whom = match unreached.is_empty() {
            true => {
                "all other voters are connected, but a quorum has not joined a leader".to_owned()
            }
            false => format!("no connection to {}", unreached.join(", ")),
        };
        Some(format!("no quorum for {} s; {whom}", away.as_secs()))
    }

    /// Clients are served again: the next time without a quorum begins anew.
    pub fn found(&mut self) {
        self.missing_at = None;
    }
}

fn how(joining: &Joining, now: Instant) -> String {
    let Joining { opening, since, proposals, image_bytes } = joining;
    let ms = now.since(*since).as_millis();
    let count = match proposals {
        1 => "1 proposal".to_owned(),
        n => format!("{n} proposals"),
    };
    let size = image_bytes.map_or_else(String::new, |bytes| format!(" of {bytes} bytes"));
    format!("{}{size} and {count} in {ms} ms", opening.name())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::proto::quorum::PROTOCOL_VERSION;
    use crate::types::Zxid;

    fn at(ms: u64) -> Instant {
        Instant::from_millis(ms)
    }

    fn introduction(server: i64) -> QuorumPacket {
        let info = LearnerInfo {
            server: ServerId(server),
            protocol: PROTOCOL_VERSION,
            config_version: 0,
            rookeeper: false,
            claim: None,
        };
        QuorumPacket {
            data: Some(info.to_bytes()),
            ..QuorumPacket::new(PacketKind::FollowerInfo, Zxid(0))
        }
    }

    #[test]
    fn a_learner_that_joins_and_goes_is_named_with_how_and_why() {
        let (mut log, link) = (MemberLog::default(), LinkId(3));
        log.received(at(0), link, &introduction(2));
        assert!(!log.wants(PacketKind::Proposal));
        assert_eq!(log.sent(at(10), link, PacketKind::Diff, None), None);
        assert!(log.wants(PacketKind::Proposal));
        assert_eq!(log.sent(at(11), link, PacketKind::Proposal, None), None);
        let joined = log.sent(at(25), link, PacketKind::UpToDate, Some(1000));
        assert_eq!(joined.as_deref(), Some("follower 2 has joined: DIFF and 1 proposal in 15 ms"));
        assert!(!log.wants(PacketKind::Proposal));
        log.received(at(30), LinkId(5), &introduction(3));
        assert_eq!(log.sent(at(30), LinkId(5), PacketKind::Snap, None), None);
        let joined = log.sent(at(40), LinkId(5), PacketKind::UpToDate, Some(1000));
        let expected = "follower 3 has joined: SNAP of 1000 bytes and 0 proposals in 10 ms";
        assert_eq!(joined.as_deref(), Some(expected));
        let lost = log.lost(link, "the connection was closed");
        assert_eq!(lost.as_deref(), Some("follower 2 is lost: the connection was closed"));
        // Who never said its name is a stranger, and not told of here.
        assert_eq!(log.lost(LinkId(4), "closed"), None);
    }

    #[test]
    fn a_flood_of_lost_learners_is_no_flood_of_lines() {
        let mut log = MemberLog::default();
        let mut said = 0;
        for n in 0..1000 {
            log.received(at(0), LinkId(n), &introduction(2));
            said += usize::from(log.lost(LinkId(n), "closed").is_some());
        }
        assert!((10..=20).contains(&said), "{said} lines");
    }

    #[test]
    fn without_a_quorum_it_is_said_every_ten_seconds_who_is_missing() {
        let mut log = MemberLog::default();
        let port = |id: i64| HostPort { host: format!("host{id}"), port: 3888 };
        let voters: Vec<_> = [2, 3].map(|id| (ServerId(id), vec![port(id)])).to_vec();
        let silent = BTreeSet::from([ServerId(3)]);
        let mut say = |ms: u64| {
            let others = || (voters.clone(), silent.clone());
            log.missing(at(ms), Duration::from_millis(ms), others)
        };
        assert_eq!(say(9_999), None);
        let line = say(10_000);
        let expected = "no quorum for 10 s; no connection to server 3 (host3:3888)";
        assert_eq!(line.as_deref(), Some(expected));
        assert_eq!(say(19_999), None);
        assert!(say(20_000).is_some());
    }
}
