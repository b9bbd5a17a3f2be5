//! What every ensemble must do, rookeeper's own, Apache's or mixed: serve, move and expire sessions,
//! lose and regain members. The long runs of kills are in `ensemble`.
//!
//! Every case takes the kinds of its members, so that the same expectations are checked of a pure
//! Apache ensemble (the baseline), a mixed one and a pure rookeeper one.

mod addresses;
mod cases;
mod load;
mod masters;
mod read_only;
mod reconfig;
mod secret;
mod tree;

use crate::harness::apache;
use crate::harness::runner::Suite;
use crate::harness::server::Kind;
use crate::harness::tools::Level;

/// One letter per member: `r` is rookeeper, `a` the reference Apache, `b` the newest 3.8, `d` Debian's
/// 3.8.0.
fn kinds(letters: &str) -> Vec<Kind> {
    let kind = |letter| match letter {
        'a' => Kind::apache(),
        'b' => Kind::Apache("3.8.4".to_owned()),
        'd' => Kind::Apache(apache::DEBIAN.to_owned()),
        _ => Kind::Rookeeper,
    };
    letters.chars().map(kind).collect()
}

/// Adds the cases. The largest id wins a first election, so the last letter leads.
pub fn add(suite: &mut Suite) {
    let mixed = ["aar", "rra", "ara", "rar"];
    for (letters, level) in [("rrr", Level::Quick), ("rrrrr", Level::Ci), ("aaa", Level::Full)]
        .into_iter()
        .chain(mixed.map(|letters| (letters, Level::Ci)))
        .chain(["bbr", "rbr", "ddr", "rdr"].map(|letters| (letters, Level::Full)))
    {
        let mut add = |name: &str, body: fn(&'static str) -> crate::harness::runner::Outcome| {
            suite.add("quorum", format!("{name}::{letters}"), level, move || body(letters));
        };
        add("serves", cases::serves);
        add("sessions_move", cases::sessions_move);
        add("leader_killed", cases::leader_killed);
        add("follower_killed", cases::follower_killed);
        add("leader_terminated", cases::leader_terminated);
        add("leader_stopped", cases::leader_stopped);
        add("all_killed", cases::all_killed);
        add("quorum_lost", cases::quorum_lost);
        add("wiped_member", cases::wiped_member);
        add("far_behind", cases::far_behind);
        add("damaged_member", cases::damaged_member);
        add("sessions_expire", cases::sessions_expire);
        add("read_only", read_only::case);
    }
    for (letters, level) in [("rrr", Level::Quick), ("rar", Level::Ci), ("aaa", Level::Full)] {
        suite.add("quorum", format!("several_addresses::{letters}"), level, move || {
            addresses::case(letters)
        });
    }
    suite.add("quorum", "secret_file", Level::Quick, secret::case);
    for (letters, level) in [
        ("rrrr", Level::Quick),
        ("aarr", Level::Ci),
        ("aara", Level::Ci),
        ("rrar", Level::Ci),
        ("raaa", Level::Full),
        ("aaaa", Level::Full),
    ] {
        suite.add("quorum", format!("reconfig::{letters}"), level, move || reconfig::case(letters));
    }
    for letters in ["rrro", "aarO", "rrao", "rraO", "aaaO"] {
        suite.add("quorum", format!("observer::{letters}"), Level::Ci, move || {
            cases::observer(letters)
        });
    }
    for (letters, level) in [
        ("rrro", Level::Quick),
        ("rrrO", Level::Ci),
        ("rrao", Level::Ci),
        ("aaro", Level::Ci),
        ("aaaO", Level::Full),
    ] {
        suite.add("quorum", format!("observer_master::{letters}"), level, move || {
            masters::observer_master(letters)
        });
    }
}
