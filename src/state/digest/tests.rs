use super::*;
use crate::testing::finite_rng::Xorshift;

#[test]
fn our_crc_is_the_usual_one_at_every_length() {
    assert_eq!(crc32(0, b"123456789"), 0xcbf4_3926);
    let mut rng = Xorshift::new(1);
    let bytes: Vec<u8> = (0..300).map(|_| rng.next() as u8).collect();
    for n in 0..bytes.len() {
        let mut expect = crc32fast::Hasher::new_with_initial(n as u32);
        expect.update(&bytes[..n]);
        assert_eq!(crc32(n as u32, &bytes[..n]), expect.finalize(), "{n}");
    }
}

#[test]
fn the_prefix_stands_for_path_and_data() {
    let stat = StatPersisted { czxid: 7, pzxid: 9, ..Default::default() };
    let check = |path: &str, data: Option<&[u8]>| {
        assert_eq!(node_digest(path, data, &stat), with_stat(prefix(path, data), &stat));
    };
    check("/a", Some(b"x"));
    check("/a", None);
    assert_eq!(prefix("/", None), prefix("", None));
    assert_eq!(node_digest("/zookeeper/a", None, &stat), 0);
    assert_ne!(node_digest("/zookeeper", None, &stat), 0);
    assert_ne!(node_digest("/zookeepers/a", None, &stat), 0);
}

#[test]
fn the_log_keeps_the_last_1024_of_every_128th() {
    let mut log = DigestLog::default();
    for zxid in 1..=128 * 1030 {
        log.note(Zxid(zxid), zxid * 2);
    }
    let all: Vec<_> = log.iter().collect();
    assert_eq!(all.len(), 1024);
    assert_eq!((all[0], all[1023]), ((Zxid(128 * 7), 128 * 14), (Zxid(128 * 1030), 128 * 2060)));
    assert_eq!(log.last, (Zxid(128 * 1030), 128 * 2060));
}
