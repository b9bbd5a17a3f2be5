//! The data directories that Apache left (`fixtures/data`), read, written anew and read again:
//! always the state that Apache showed.
//!
//! `ROOKEEPER_WRITE_DATA=DIR` writes what was written anew to `DIR/<version>-<case>-<how>/`, for a
//! look with another server.

use std::fs;

use super::*;
use crate::state::{Options, StateLoader, StateMachine};
use crate::types::OwnerRules;

const FOLDER: &str = "fixtures/data";

struct Case {
    name: String,
    dir: PathBuf,
    expected: String,
}

fn cases() -> Vec<Case> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join(FOLDER);
    let list = |dir: &Path| -> Vec<PathBuf> {
        let mut all: Vec<PathBuf> =
            fs::read_dir(dir).unwrap().map(|e| e.unwrap().path()).filter(|p| p.is_dir()).collect();
        all.sort();
        all
    };
    let mut cases = Vec::new();
    for version in list(&root) {
        for dir in list(&version) {
            let Ok(expected) = fs::read_to_string(dir.join("expected.txt")) else { continue };
            let name = dir.strip_prefix(&root).unwrap().display().to_string().replace('/', "-");
            cases.push(Case { name, dir, expected });
        }
    }
    assert!(cases.len() >= 8, "the directories are there");
    cases
}

impl Case {
    fn options(&self) -> Options {
        let digest = !self.expected.contains("#prop zookeeper.digest.enabled=false");
        let rules = OwnerRules { extended_types: true, emulate_353: false };
        Options { owner_rules: rules, digest }
    }

    /// The directory on a simulated disk.
    fn disk(&self) -> SimDisk {
        let disk = SimDisk::new(1);
        disk.create_dir_all(&dirs().logs).unwrap();
        for entry in fs::read_dir(self.dir.join("data/version-2")).unwrap() {
            let path = entry.unwrap().path();
            let name = path.file_name().unwrap().to_str().unwrap();
            let mut file = disk.create(&file(name)).unwrap();
            file.write_at(0, &fs::read(&path).unwrap()).unwrap();
        }
        disk.settle();
        disk
    }
}

/// The state and the transactions that led to it from the snapshot.
fn load_state(disk: &DiskRef, dirs: &Dirs, options: Options) -> (StateMachine, Vec<Logged>) {
    let recovery = RecoveryOptions { trust_empty: false, ..RecoveryOptions::default() };
    let mut r = recover(disk, dirs, &recovery, || StateLoader::new(options)).unwrap();
    let mut state = r.sink.finish(r.base.zxid, r.base.digest);
    // A snapshot of Apache's may hold half of the transaction behind the one its digest names; its
    // own loader counts that as a mismatch as well.
    let at_load = state.digest_mismatches();
    assert!(at_load <= 1);
    let mut logged = Vec::new();
    let mut changes = Vec::new();
    while let Some(l) = r.replay.next().unwrap() {
        assert_eq!(l.entry.encode(), l.bytes, "{}: {:?}", l.path.display(), l.entry);
        let before = state.digest_mismatches();
        state.apply(&l.entry, &mut changes);
        assert_eq!(state.digest_mismatches(), before, "after {:?}", l.entry);
        changes.clear();
        logged.push(l);
    }
    let end = r.replay.finish(true).unwrap();
    assert_eq!(end.last, state.last_zxid());
    assert_eq!(state.digest_mismatches(), at_load);
    (state, logged)
}

/// In the words of `expected.txt`, lines sorted.
fn dump(state: &StateMachine) -> Vec<String> {
    let mut lines = vec![format!("zxid {}", state.last_zxid())];
    lines.extend(state.sessions().iter().map(|(id, _)| format!("session {id}")));
    let mut paths = vec![String::new()];
    while let Some(path) = paths.pop() {
        let node = state.node(&path).unwrap();
        let data = match node.data() {
            None => "null".to_owned(),
            Some([]) => "empty".to_owned(),
            Some(b) => b.iter().map(|b| format!("{b:02x}")).collect(),
        };
        let acl: Vec<String> = node
            .acl()
            .iter()
            .map(|a| format!("{}:{}:{}", a.perms.0, a.id.scheme(), a.id.id()))
            .collect();
        let s = node.client_stat();
        lines.push(format!(
            "{} data={data} acl={} czxid=0x{:x} mzxid=0x{:x} pzxid=0x{:x} ctime={} mtime={} \
             version={} cversion={} aversion={} owner=0x{:x} children={}",
            if path.is_empty() { "/" } else { &path },
            acl.join(","),
            s.czxid,
            s.mzxid,
            s.pzxid,
            s.ctime,
            s.mtime,
            s.version,
            s.cversion,
            s.aversion,
            s.ephemeral_owner,
            s.num_children,
        ));
        paths.extend(node.children().map(|c| format!("{path}/{c}")));
    }
    lines.sort();
    lines
}

fn expected(case: &Case) -> Vec<String> {
    let mut lines: Vec<String> =
        case.expected.lines().filter(|l| !l.starts_with('#')).map(str::to_owned).collect();
    lines.sort();
    lines
}

fn assert_same(state: &StateMachine, case: &Case, context: &str) {
    let (mut got, mut wanted) = (dump(state), expected(case));
    // Every start of a member writes this node anew, past the log.
    got.retain(|l| !l.starts_with("/zookeeper/config "));
    wanted.retain(|l| !l.starts_with("/zookeeper/config "));
    let extra: Vec<&String> = got.iter().filter(|l| !wanted.contains(l)).collect();
    let missing: Vec<&String> = wanted.iter().filter(|l| !got.contains(l)).collect();
    assert!(got == wanted, "{} {context}:\n{extra:#?}\nand not\n{missing:#?}", case.name);
}

fn snapshot_state(disk: &DiskRef, dirs: &Dirs, state: &mut StateMachine, how: Compression) {
    let mut cursor = state.begin_snapshot().unwrap();
    let mut w =
        SnapshotWriter::create(disk.clone(), &dirs.snapshots, cursor.zxid(), how, &cursor.head())
            .unwrap();
    let mut out = BytesMut::new();
    loop {
        let done = state.snapshot_next(&mut cursor, 7, &mut out);
        w.nodes(&out).unwrap();
        out.clear();
        if done {
            break;
        }
    }
    state.end_snapshot();
    let tail = cursor.tail();
    let sections = snapshot::Sections { digest: tail.digest, last_processed: Some(tail.zxid) };
    w.finish(&sections).unwrap();
}

#[test]
fn apaches_directories_hold_what_apache_showed() {
    for case in cases() {
        let (state, _) = load_state(&case.disk().shared(), &dirs(), case.options());
        assert_same(&state, &case, "");
    }
}

#[test]
fn every_snapshot_of_apaches_leads_to_the_same_state() {
    for case in cases() {
        let disk = case.disk();
        let mut names = names::snapshots(&disk, &dirs().snapshots).unwrap();
        // Fuzzy or not, with the log behind it; the oldest ones may be all there is for a log.
        while let Some(newest) = names.pop() {
            let first_log = names::logs(&disk, &dirs().logs).unwrap()[0].zxid;
            if newest.zxid.next() < first_log {
                break;
            }
            let (state, _) = load_state(&disk.shared(), &dirs(), case.options());
            assert_same(&state, &case, &format!("from {}", newest.path.display()));
            disk.remove(&newest.path).unwrap();
        }
    }
}

#[test]
fn what_is_written_anew_holds_the_same() {
    let outside = std::env::var_os("ROOKEEPER_WRITE_DATA").map(PathBuf::from);
    for case in cases() {
        let (mut state, logged) = load_state(&case.disk().shared(), &dirs(), case.options());
        for how in ["plain", "gz", "snappy", "log"] {
            let (disk, dirs) = match &outside {
                Some(dir) => {
                    let data = dir.join(format!("{}-{how}", case.name)).join("data");
                    fs::create_dir_all(data.join("version-2")).unwrap();
                    for name in ["acceptedEpoch", "currentEpoch"] {
                        let from = case.dir.join("data/version-2").join(name);
                        let _ = fs::copy(from, data.join("version-2").join(name));
                    }
                    fs::write(data.join("../expected.txt"), &case.expected).unwrap();
                    (RealDisk::shared(), Dirs::new(&data, None))
                }
                None => {
                    let disk = SimDisk::new(2);
                    disk.create_dir_all(&dirs().logs).unwrap();
                    (disk.shared(), dirs())
                }
            };
            match how {
                "plain" => snapshot_state(&disk, &dirs, &mut state, Compression::Plain),
                "gz" => snapshot_state(&disk, &dirs, &mut state, Compression::Gz),
                "snappy" => snapshot_state(&disk, &dirs, &mut state, Compression::Snappy),
                _ => rewrite_log(&case, &disk, &dirs, &logged),
            }
            let (again, _) = load_state(&disk, &dirs, case.options());
            assert_same(&again, &case, how);
        }
    }
}

/// The base snapshot as it is, and the log in our batches and files.
fn rewrite_log(case: &Case, disk: &DiskRef, dirs: &Dirs, logged: &[Logged]) {
    let old = case.disk();
    let base = recover(&old.shared(), &super::dirs(), &RecoveryOptions::default(), || {
        StateLoader::new(case.options())
    })
    .unwrap();
    let zxid = base.base.zxid;
    let mut state = base.sink.finish(zxid, base.base.digest);
    snapshot_state(disk, dirs, &mut state, Compression::Plain);
    let mut log = TxnLog::new(disk.clone(), dirs.clone(), LogOptions::default(), zxid);
    for (n, l) in logged.iter().enumerate() {
        log.append(l.entry.header.zxid, &l.bytes).unwrap();
        if n % 5 == 2 {
            commit(&mut log);
        }
        if n % 40 == 17 {
            log.roll().unwrap();
        }
    }
    commit(&mut log);
}
