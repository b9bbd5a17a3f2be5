//! A tree whose versions are about to run over: a snapshot written here, in the form that every
//! release reads, because no client can count to two thousand million.

use std::path::Path;

use crate::harness::jute::Writer;

/// The last transaction of the snapshot.
const ZXID: i64 = 0x64;

/// A node with its data version, its children's version and its ACL's version.
type Node = (&'static str, i32, i32, i32);

/// What the tree holds beside Apache's own nodes.
const NODES: &[Node] = &[
    ("/limit", 0, 8, 0),
    ("/limit/v", i32::MAX - 2, 0, 0),
    ("/limit/a", 0, 0, i32::MAX - 2),
    ("/limit/c", 0, i32::MAX - 3, 0),
    ("/limit/d", 0, i32::MAX, 0),
    ("/limit/m", i32::MIN, i32::MIN, i32::MIN),
    ("/limit/n", -3, -3, -3),
    ("/limit/w", i32::MAX, i32::MAX, i32::MAX),
];

const OWN: &[Node] = &[
    ("", 0, 0, 0),
    ("/zookeeper", 0, 0, 0),
    ("/zookeeper/quota", 0, 0, 0),
    ("/zookeeper/config", 0, 0, 0),
];

/// Whether a path is one of the tree's, to be kept from program to program.
pub fn holds(path: &str) -> bool {
    NODES.iter().any(|(p, _, _, _)| *p == path)
}

/// Writes the snapshot below a server's data directory, which must not hold one yet.
pub fn write(data_dir: &Path) -> std::io::Result<()> {
    let folder = data_dir.join("version-2");
    std::fs::create_dir_all(&folder)?;
    std::fs::write(folder.join(format!("snapshot.{ZXID:x}")), snapshot())
}

fn snapshot() -> Vec<u8> {
    let mut w = Writer::new();
    w.raw(b"ZKSN").int(2).long(-1);
    // No sessions; one list of rights, open to all.
    w.int(0);
    w.int(1).long(1).int(1).int(31).string("world").string("anyone");
    for (i, (path, version, cversion, aversion)) in OWN.iter().chain(NODES).enumerate() {
        let zxid = i as i64;
        w.string(path).buffer(Some(b"0")).long(1);
        w.long(zxid).long(zxid).long(1_600_000_000_000).long(1_600_000_000_000);
        w.int(*version).int(*cversion).int(*aversion).long(0).long(zxid);
    }
    w.string("/");
    let seal = i64::from(adler32(&w.bytes));
    w.long(seal).string("/");
    w.bytes
}

/// The checksum of RFC 1950.
fn adler32(bytes: &[u8]) -> u32 {
    let (mut a, mut b) = (1u32, 0u32);
    for byte in bytes {
        a = (a + u32::from(*byte)) % 65521;
        b = (b + a) % 65521;
    }
    b << 16 | a
}
