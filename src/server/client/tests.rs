//! A connection's task, with real sockets and without a node thread: the test is that.

use std::io::Write as _;
use std::net::Shutdown;
use std::path::PathBuf;

use parking_lot::RwLock;

use super::*;
use crate::config::{Overrides, RealFiles, load_file};
use crate::ops::Metrics;
use crate::proto::frame;
use crate::proto::jute::Jute;
use crate::proto::records::ConnectRequest;
use crate::server::clock::Clock;
use crate::server::lanes::Lanes;
use crate::server::node::{Tallies, View as Mode};
use crate::server::session_log::SessionLog;
use crate::state::watch::WatchTable;
use crate::state::{self, StateMachine};
use crate::storage::RealDisk;

/// The configuration of a server whose directory is never made.
fn config() -> Config {
    let name = format!("rookeeper-{}-client.cfg", std::process::id());
    let file: PathBuf = std::env::temp_dir().join(name);
    std::fs::write(&file, "clientPort=0\ndataDir=/nowhere\n").expect("writable");
    let loaded = load_file(&file, &Overrides::default(), &RealFiles).expect("a configuration");
    std::fs::remove_file(&file).expect("it is there");
    loaded.config
}

#[test]
fn a_client_that_leaves_before_it_has_its_session_is_noticed() {
    let config = Arc::new(config());
    let clock = Clock::start();
    let mut lanes = Lanes::start(Some(1)).expect("a thread");
    let metrics = Arc::new(Metrics::new(false));
    let shared = Arc::new(Shared {
        view: RwLock::new(Mode::standalone()),
        state: Arc::new(RwLock::new(StateMachine::new(state::Options::default()))),
        watches: WatchTable::new(),
        lines: DashMap::with_hasher(crate::types::hasher()),
        lanes: Arc::clone(&lanes.entries),
        rules: crate::server::standalone::rules(&config, true),
        metrics: Arc::clone(&metrics),
        tallies: Tallies::new(1),
        clock,
        sessions_log: SessionLog::default(),
    });
    let inbox: Arc<Inbox<Event>> = Arc::new(Inbox::default());
    let reporter = Reporter::new(Arc::clone(&config), RealDisk::shared(), metrics, 0, 0);
    let clients = Arc::new(Clients::new(&config, shared, Arc::clone(&inbox), Arc::new(reporter)));
    let runtime = tokio::runtime::Runtime::new().expect("a runtime");
    let listener = runtime.block_on(TcpListener::bind("127.0.0.1:0")).expect("a port");
    let address = listener.local_addr().expect("it is bound");
    let accepting = runtime.spawn(Arc::clone(&clients).accept(listener));

    let mut client = std::net::TcpStream::connect(address).expect("it listens");
    let ask = ConnectRequest {
        protocol: 0,
        last_zxid: 0,
        timeout_ms: 4000,
        session: 0,
        passwd: None,
        read_only: None,
    };
    let mut bytes = BytesMut::new();
    let at = frame::begin(&mut bytes);
    bytes.extend_from_slice(&ask.to_bytes());
    frame::end(&mut bytes, at);
    // What comes behind the greeting waits with it.
    bytes.extend_from_slice(&[0, 0, 0, 8, 0xff, 0xff, 0xff, 0xfe, 0, 0, 0, 11]);
    client.write_all(&bytes).expect("it is read");
    let mut events = Vec::new();
    inbox.take(&mut events, None);
    assert!(matches!(events.pop(), Some(Event::Submit(Submit::Connect(_)))));
    assert!(events.is_empty());
    // Nobody answers it.
    client.shutdown(Shutdown::Write).expect("it is connected");
    inbox.take(&mut events, None);
    assert!(matches!(events.pop(), Some(Event::Closed { .. })));
    assert!(events.is_empty());
    assert!(clients.shared.lines.is_empty());
    accepting.abort();
    lanes.stop();
}
