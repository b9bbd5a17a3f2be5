//! A member without clients, for tests: votes, follows, logs, applies.

use std::sync::Arc;
use std::sync::mpsc::{Receiver, channel};
use std::time::{Duration, Instant as Clock};

use parking_lot::RwLock;

use super::disk;
use super::setup::Setup;
use super::shell::{Event, Handled, Shell};
use super::start;
use super::transfer::{self, StateCell};
use crate::proto::txn::TxnEntry;
use crate::state::{self, StateMachine};
use crate::storage::{Compression, Dirs, LogOptions, RealDisk, RecoveryOptions};
use crate::types::{Instant, Zxid};
use crate::zab::{Action, Peer, RoleChange};

struct Cell(RwLock<(u64, StateMachine)>);

impl StateCell for Cell {
    fn with_shared(&self, f: &mut dyn FnMut(u64, &StateMachine)) {
        let guard = self.0.read();
        f(guard.0, &guard.1);
    }
    fn with_alone(&self, f: &mut dyn FnMut(u64, &mut StateMachine)) {
        let mut guard = self.0.write();
        let (generation, state) = &mut *guard;
        f(*generation, state);
    }
}

/// Runs a member for a while, printing what it does.
pub fn run(config: &crate::config::Config, lifetime: Duration) {
    let started = Clock::now();
    let now = move || Instant(started.elapsed().as_micros() as u64);
    let runtime = tokio::runtime::Runtime::new().expect("runtime");
    let setup = Setup::new(config).expect("setup");
    let options = disk::Options {
        disk: RealDisk::shared(),
        dirs: Dirs::new(&config.data_dir, Some(&config.data_log_dir)),
        state: state::Options::default(),
        recovery: RecoveryOptions { trust_empty: true, ..RecoveryOptions::default() },
        compression: Compression::Plain,
        last_processed: true,
        snapshot_size_factor: 0.33,
        snap_count: 100_000,
        snap_bytes: None,
    };
    let found = start::start(&options, LogOptions::default(), 500, crate::types::WallTime(0))
        .expect("start");
    println!("started at {:?}: {:?}", found.disk.last, found.notes);
    let cell = Arc::new(Cell(RwLock::new((1, found.state))));
    let (send, events): (_, Receiver<Event>) = channel();
    let deliver = move |event| drop(send.send(event));
    let shell = Shell::start(&setup, options, found.log, now, deliver);
    let mut shell = runtime.block_on(shell).expect("ports");
    let mut peer = Peer::new(setup.peer.clone(), found.disk, now()).expect("peer");
    let mut changes = Vec::new();
    while started.elapsed() < lifetime {
        while let Some(action) = peer.poll_action() {
            let Some(action) = shell.execute(action) else { continue };
            match action {
                Action::Deliver { txn, .. } => {
                    let entry = TxnEntry::decode(txn.bytes).expect("valid");
                    let mut guard = cell.0.write();
                    guard.1.apply(&entry, &mut changes);
                    changes.clear();
                    if guard.1.digest_mismatches() > 0 {
                        println!("DIGEST MISMATCH at {:?}", txn.zxid);
                    }
                }
                Action::SendSnapshot { link, zxid } => {
                    let dynamic: Arc<dyn StateCell> = cell.clone();
                    let (at, source) = transfer::begin(&dynamic);
                    println!("snapshot at {at:?}, wanted {zxid:?}");
                    shell.send_snapshot(link, source);
                }
                Action::RoleChanged(role) => {
                    if let RoleChange::Leading { epoch, serving: true } = role {
                        cell.0.write().1.set_last_zxid(Zxid::new(epoch, 0));
                    }
                    println!("{:?} {role:?}", started.elapsed());
                }
                Action::AnswerPing { zxid } => peer.answer_ping(zxid, bytes::Bytes::new()),
                other => println!("{other:?}"),
            }
        }
        let wait = peer.poll_timeout().map_or(Duration::from_millis(100), |at| at.since(now()));
        match events.recv_timeout(wait.min(Duration::from_millis(100))) {
            Ok(event) => match shell.handle(now(), &mut peer, event) {
                Handled::Loaded(state) => {
                    let mut guard = cell.0.write();
                    guard.0 += 1;
                    guard.1 = *state;
                    drop(guard);
                    peer.handle_loaded(now());
                }
                Handled::Failed(error) => panic!("{error}"),
                Handled::CannotListen(reason) => panic!("{reason}"),
                Handled::Done | Handled::Synced(_) | Handled::SnapshotDue => {}
            },
            Err(_) => {
                if peer.poll_timeout().is_some_and(|at| at <= now()) {
                    peer.handle_timeout(now());
                }
            }
        }
    }
    let guard = cell.0.read();
    println!(
        "ended at {:?} with {} nodes, digest {}, {} mismatches",
        guard.1.last_zxid(),
        guard.1.node_count(),
        guard.1.digest(),
        guard.1.digest_mismatches()
    );
    drop(guard);
    runtime.block_on(shell.shut_down());
}

#[test]
fn headless() {
    let Ok(path) = std::env::var("HEADLESS_CFG") else { return };
    let seconds = std::env::var("HEADLESS_SECONDS").map_or(10, |s| s.parse().expect("number"));
    let loaded = crate::config::load_file(
        std::path::Path::new(&path),
        &crate::config::Overrides::default(),
        &crate::config::RealFiles,
    )
    .expect("config");
    run(&loaded.config, Duration::from_secs(seconds));
}
