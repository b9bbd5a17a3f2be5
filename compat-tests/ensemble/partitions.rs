//! Members in network namespaces of their own, cut off from each other in various ways, and
//! members that stand still.

use std::net::Ipv4Addr;
use std::process::Command;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

use rustix::process::Signal;

use super::guests::Guests;
use super::{PATIENCE, WRITERS, failed, same_trees, with_logs};
use crate::crash::load::Load;
use crate::harness::ports::TempDir;
use crate::harness::runner::{Outcome, Stop, Suite};
use crate::harness::server::{Ensemble, Kind};
use crate::harness::tools::{self, Level};

/// Adds the cases.
pub fn add(suite: &mut Suite) {
    suite.add("partition", "leader_cut_off", Level::Ci, || partitions(Cut::Leader));
    suite.add("partition", "leader_hears_but_is_not_heard", Level::Ci, || partitions(Cut::OneWay));
    suite.add("partition", "two_members_lose_sight_of_each_other", Level::Ci, || {
        partitions(Cut::Bridge)
    });
    suite.add("partition", "leader_stands_still", Level::Quick, standing_still);
}

#[derive(Clone, Copy, Debug)]
enum Cut {
    /// The leader reaches no member, no member reaches it; clients still reach it.
    Leader,
    /// What the leader sends to the members is lost.
    OneWay,
    /// The two others do not reach each other.
    Bridge,
}

/// Namespaces joined by a bridge; gone when dropped.
struct Hosts {
    names: Vec<String>,
    bridge: String,
    net: u8,
}

fn ip(args: &[&str]) -> Result<(), Stop> {
    let out = Command::new("ip")
        .args(args)
        .output()
        .map_err(|_| Stop::missing("ip (Debian package iproute2)"))?;
    if out.status.success() {
        return Ok(());
    }
    let text = String::from_utf8_lossy(&out.stderr).trim().to_string();
    Err(Stop::failed(format!("ip {}: {text}", args.join(" "))))
}

impl Hosts {
    fn new(count: usize) -> Result<Hosts, Stop> {
        // Unique in this run too: interfaces go away some time after their namespace.
        static RUNS: AtomicU32 = AtomicU32::new(0);
        let tag = (std::process::id() * 16 + RUNS.fetch_add(1, Ordering::Relaxed)) % 60_000;
        let net = (tag % 200) as u8;
        let bridge = format!("rkbr{tag}");
        let mut hosts = Hosts { names: Vec::new(), bridge: bridge.clone(), net };
        if ip(&["link", "add", &bridge, "type", "bridge"]).is_err() {
            return Err(Stop::Skipped {
                reason: "network namespaces need root".to_string(),
                toolchain: true,
            });
        }
        ip(&["addr", "add", &format!("10.77.{net}.254/24"), "dev", &bridge])?;
        ip(&["link", "set", &bridge, "up"])?;
        for i in 0..count {
            let name = format!("rk{tag}n{i}");
            let (outer, inner) = (format!("rk{tag}v{i}"), format!("rk{tag}w{i}"));
            ip(&["netns", "add", &name])?;
            hosts.names.push(name.clone());
            ip(&["link", "add", &outer, "type", "veth", "peer", "name", &inner])?;
            ip(&["link", "set", &outer, "master", &bridge, "up"])?;
            ip(&["link", "set", &inner, "netns", &name])?;
            let address = format!("{}/24", hosts.address(i));
            ip(&["-n", &name, "addr", "add", &address, "dev", &inner])?;
            ip(&["-n", &name, "link", "set", &inner, "up"])?;
            ip(&["-n", &name, "link", "set", "lo", "up"])?;
        }
        Ok(hosts)
    }

    fn address(&self, i: usize) -> Ipv4Addr {
        Ipv4Addr::new(10, 77, self.net, i as u8 + 1)
    }

    /// What `from` sends to `to` is dropped, or no longer.
    fn cut(&self, from: usize, to: usize, cut: bool) -> Result<(), Stop> {
        let verb = if cut { "add" } else { "del" };
        let target = format!("{}/32", self.address(to));
        ip(&["-n", &self.names[from], "route", verb, "blackhole", &target])
    }
}

impl Drop for Hosts {
    fn drop(&mut self) {
        for name in &self.names {
            let _ = ip(&["netns", "del", name]);
        }
        let _ = ip(&["link", "del", &self.bridge]);
    }
}

fn cycles() -> u64 {
    let asked = std::env::var("ROOKEEPER_CYCLES").ok().and_then(|text| text.parse().ok());
    asked.unwrap_or(if tools::level() == Level::Full { 30 } else { 2 })
}

fn partitions(cut: Cut) -> Outcome {
    let dir = TempDir::new("partition");
    let hosts = Hosts::new(3)?;
    let mut ensemble = Ensemble::new(&vec![Kind::Rookeeper; 3], dir.path(), &[]);
    for i in 0..3 {
        let member = &mut ensemble.members[i];
        member.host = hosts.address(i);
        member.netns = Some(hosts.names[i].clone());
        for j in 0..3 {
            let (quorum, election) = ensemble.ports[j];
            let value = format!("{}:{quorum}:{election}", hosts.address(j));
            member.set_line(&format!("server.{}", j + 1), value);
        }
    }
    ensemble.start()?;
    let connect = ensemble.connect_string();
    let load = Load::start(&connect, WRITERS)?;
    let guests = Guests::start(&connect)?;
    load.progress(100, PATIENCE).map_err(|e| failed(&ensemble, &e))?;
    for cycle in 0..cycles() {
        let Some(leader) = ensemble.leader() else {
            return Err(failed(&ensemble, "no member says that it leads"));
        };
        let others: Vec<usize> = (0..3).filter(|i| *i != leader).collect();
        let cuts: Vec<(usize, usize)> = match cut {
            Cut::Leader => others.iter().flat_map(|o| [(leader, *o), (*o, leader)]).collect(),
            Cut::OneWay => others.iter().map(|o| (leader, *o)).collect(),
            Cut::Bridge => vec![(others[0], others[1]), (others[1], others[0])],
        };
        for (from, to) in &cuts {
            hosts.cut(*from, *to, true)?;
        }
        let context = |e: String| failed(&ensemble, &format!("cycle {cycle}, {cut:?}: {e}"));
        load.progress(300, PATIENCE).map_err(context)?;
        for (from, to) in &cuts {
            hosts.cut(*from, *to, false)?;
        }
        ensemble.wait_serving()?;
        let context = |e: String| failed(&ensemble, &format!("cycle {cycle}, healed: {e}"));
        load.progress(100, PATIENCE).map_err(context)?;
        load.verify(&connect).map_err(context)?;
    }
    let theirs = guests.finish().map_err(|e| with_logs(&ensemble, e))?;
    let acknowledged = load.finish().map_err(|e| failed(&ensemble, &e))?;
    same_trees(&ensemble)?;
    Ok(format!("{} times, {acknowledged} writes acknowledged{theirs}, none lost", cycles()))
}

/// The leader stands still for longer than every timeout between servers, then goes on: what it
/// believed before must do no harm (C9 of the reliability notes: a pause longer than a tick).
fn standing_still() -> Outcome {
    let dir = TempDir::new("still");
    let mut ensemble = Ensemble::new(&vec![Kind::Rookeeper; 3], dir.path(), &[]);
    for member in &mut ensemble.members {
        member.set_line("tickTime", 500);
        member.set_line("syncLimit", 4);
        member.set_line("maxSessionTimeout", 60_000);
    }
    ensemble.start()?;
    let connect = ensemble.connect_string();
    let load = Load::start(&connect, WRITERS)?;
    let guests = Guests::start(&connect)?;
    load.progress(100, PATIENCE).map_err(|e| failed(&ensemble, &e))?;
    for cycle in 0..cycles() {
        let Some(leader) = ensemble.leader() else {
            return Err(failed(&ensemble, "no member says that it leads"));
        };
        ensemble.members[leader].signal(Signal::STOP);
        let result = load.progress(300, PATIENCE);
        ensemble.members[leader].signal(Signal::CONT);
        result.map_err(|e| failed(&ensemble, &format!("cycle {cycle}, stopped: {e}")))?;
        ensemble.members[leader].wait_serving(Duration::from_secs(60))?;
        let context = |e: String| failed(&ensemble, &format!("cycle {cycle}, resumed: {e}"));
        load.progress(100, PATIENCE).map_err(context)?;
        load.verify(&connect).map_err(context)?;
    }
    load.verify_sessions().map_err(|e| failed(&ensemble, &e))?;
    let theirs = guests.finish().map_err(|e| with_logs(&ensemble, e))?;
    let acknowledged = load.finish().map_err(|e| failed(&ensemble, &e))?;
    same_trees(&ensemble)?;
    Ok(format!("{} times, {acknowledged} writes acknowledged{theirs}, none lost", cycles()))
}
