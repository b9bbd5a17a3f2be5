//! Snapshots: every compression, every combination of sections, every byte.

use super::*;
use crate::storage::image_stream::{Framing, ImageDecoder, ImageError};
use crate::storage::snapshot::Sections;

const ALL: [Compression; 3] = [Compression::Plain, Compression::Gz, Compression::Snappy];

fn disk() -> SimDisk {
    let disk = SimDisk::new(3);
    disk.create_dir_all(&dirs().logs).unwrap();
    disk
}

fn only(disk: &SimDisk) -> names::Named {
    names::snapshots(disk, &dirs().snapshots).unwrap().pop().unwrap()
}

#[test]
fn every_compression_and_section_both_ways() {
    for compression in ALL {
        for digest in [None, Some((Zxid(9), -5))] {
            for last_processed in [None, Some(Zxid(9))] {
                let disk = disk();
                let w = write_snapshot(&disk, 9, &history(1..=2000), compression).unwrap();
                let written = w.finish(&Sections { digest, last_processed }).unwrap();
                let named = only(&disk);
                assert_eq!(named.path, written.path);
                assert_eq!(named.len, written.file_bytes);
                assert_eq!(Compression::of(&named.path), compression);
                assert!(snapshot::looks_whole(&disk, &named));
                let mut sink = Collect::default();
                let info = snapshot::read(&disk, &named, &mut sink).unwrap();
                assert_eq!(
                    (info.nodes, info.digest, info.last_processed),
                    (2001, digest, last_processed)
                );
                assert_eq!(sink.history, history(1..=2000));
                assert_eq!((sink.sessions.len(), sink.acls), (2, 1));
            }
        }
    }
}

#[test]
fn plain_bytes_are_apaches() {
    let disk = disk();
    let w = write_snapshot(&disk, 1, &[], Compression::Plain).unwrap();
    w.finish(&sections(1)).unwrap();
    let named = only(&disk);
    let mut b = vec![0; named.len as usize];
    disk.open(&named.path).unwrap().read_at(0, &mut b).unwrap();
    assert_eq!(&b[..16], b"ZKSN\0\0\0\x02\xff\xff\xff\xff\xff\xff\xff\xff");
    assert_eq!(&b[16..20], &[0, 0, 0, 2]);
    let end = &b[b.len() - 21..];
    assert_eq!(&end[..8], &[0, 0, 0, 0, 0, 0, 0, 1], "lastProcessedZxid");
    assert_eq!(&end[16..], &[0, 0, 0, 1, b'/']);
    let before = b.len() - 13;
    assert_eq!(end[8..12], [0; 4]);
    assert_eq!(end[12..16], simd_adler32::adler32(&&b[..before]).to_be_bytes());
}

#[test]
fn no_flip_and_no_cut_is_read_as_another_state() {
    for compression in ALL {
        let whole = disk();
        let w = write_snapshot(&whole, 9, &history(1..=5), compression).unwrap();
        w.finish(&sections(9)).unwrap();
        let named = only(&whole);
        for at in 0..named.len {
            let disk = whole.fork(at);
            disk.flip(&named.path, at, 1 << (at % 8)).unwrap();
            let mut sink = Collect::default();
            let mut same = Collect::default();
            snapshot::read(&whole, &named, &mut same).unwrap();
            // Version and dbid are under the seal; of a gzip header some bytes say nothing.
            if let Ok(info) = snapshot::read(&disk, &named, &mut sink) {
                assert!(compression != Compression::Plain, "flip at {at} went unnoticed");
                assert_eq!((sink, info.digest), (same, Some((Zxid(9), 77))), "at {at}");
            }
            let disk = whole.fork(at);
            disk.open_write(&named.path).unwrap().set_len(at).unwrap();
            let short = names::Named { len: at, ..named.clone() };
            if let Ok(info) = snapshot::read(&disk, &short, &mut Collect::default()) {
                // Optional sections may be missing as a whole: older releases end there.
                assert!(snapshot::looks_whole(&disk, &short), "cut at {at}");
                assert!(info.last_processed.is_none() || compression != Compression::Plain);
            }
        }
    }
}

#[test]
fn an_older_snapshot_is_used_when_the_newest_is_broken() {
    let disk = probe_disk(true);
    snapshot_of(&disk, 12, &history(1..=12));
    snapshot_of(&disk, 25, &history(1..=25));
    disk.flip(&file("snapshot.19"), 100, 4).unwrap();
    let r = recover(&disk.shared(), &dirs(), &RecoveryOptions::default(), Collect::default);
    let r = r.unwrap();
    assert_eq!(r.base.zxid, Zxid(12));
    assert_eq!(r.skipped.len(), 1);
    assert_eq!(r.skipped[0].path, file("snapshot.19"));
    assert_eq!(load(&disk).unwrap().0.history, history(1..=30));
    // All broken: refused, not started empty.
    for name in ["snapshot.c", "snapshot.0"] {
        disk.flip(&file(name), 30, 4).unwrap();
    }
    assert!(matches!(load(&disk), Err(Error::NoUsableSnapshot { .. })));
}

#[test]
fn leftovers_of_an_interrupted_snapshot_are_removed() {
    let disk = probe_disk(true);
    let w = write_snapshot(&disk, 30, &history(1..=30), Compression::Gz).unwrap();
    drop(w);
    assert!(disk.exists(&file("writing-snapshot.1e.gz")));
    assert_loads(&disk, 30);
    assert!(!disk.exists(&file("writing-snapshot.1e.gz")));
    let w = write_snapshot(&disk, 30, &history(1..=30), Compression::Gz).unwrap();
    w.abandon().unwrap();
    assert!(!disk.exists(&file("writing-snapshot.1e.gz")));
}

#[test]
fn log_and_snapshot_directories_are_not_mixed_up() {
    let disk = SimDisk::new(3).shared();
    let dirs = Dirs::new(Path::new("/data"), Some(Path::new("/logs")));
    let off = RecoveryOptions { datadir_autocreate: false, ..RecoveryOptions::default() };
    let refused = recover(&disk, &dirs, &off, Collect::default);
    assert!(matches!(refused, Err(Error::Directory { .. })));
    assert!(recover(&disk, &dirs, &RecoveryOptions::default(), Collect::default).is_ok());
    for wrong in [dirs.snapshots.join("log.1"), dirs.logs.join("snapshot.0")] {
        disk.create(&wrong).unwrap();
        let refused = recover(&disk, &dirs, &RecoveryOptions::default(), Collect::default);
        assert!(matches!(refused, Err(Error::Directory { .. })));
        disk.remove(&wrong).unwrap();
    }
}

fn link_stream() -> BytesMut {
    let mut out = BytesMut::new();
    let head = ImageHead { sessions: vec![(7, 100)], acls: vec![(1, open_acl()), (2, vec![])] };
    image_stream::write_head(&head, &mut out);
    image_stream::write_node_path("", &mut out);
    write_node_body(&mut out, None, -1, &StatPersisted::default());
    for txn in history(1..=20) {
        image_stream::write_node_path(&node_path(txn), &mut out);
        write_node_body(&mut out, Some(&[9; 100]), -1, &StatPersisted::default());
    }
    image_stream::write_end(&mut out);
    image_stream::write_link_signature(&mut out);
    out
}

#[test]
fn a_stream_in_pieces_of_any_size_is_decoded_and_ends_exactly() {
    let mut whole = link_stream();
    let length = whole.len();
    whole.extend_from_slice(b"what follows");
    for piece in [1, 2, 3, 7, 50, 1000, 100_000] {
        let mut decoder = ImageDecoder::new(Framing::Link, 1 << 20);
        let (mut sink, mut input, mut done) = (Collect::default(), BytesMut::new(), false);
        let mut rest = &whole[..];
        while !done {
            let n = rest.len().min(piece);
            input.extend_from_slice(&rest[..n]);
            rest = &rest[n..];
            done = decoder.feed(&mut input, &mut sink).unwrap();
            assert!(done || n > 0, "stuck");
        }
        assert_eq!(sink.history, history(1..=20));
        assert_eq!(decoder.consumed() as usize, length);
        assert_eq!(input.len() + rest.len(), 12);
    }
}

#[test]
fn a_stream_is_refused_early() {
    let decode = |bytes: &[u8], max| {
        let mut input = BytesMut::from(bytes);
        ImageDecoder::new(Framing::Link, max).feed(&mut input, &mut Collect::default())
    };
    assert!(matches!(decode(&[0xff, 0, 0, 0], 1000), Err(ImageError::Decode(_))));
    let mut huge = vec![0, 0, 0, 0, 0, 0, 0, 0];
    huge.extend_from_slice(&[0x7f, 0, 0, 0, 1]);
    assert!(matches!(decode(&huge, 1000), Err(ImageError::TooLong(_))));
    let mut wrong = link_stream();
    let n = wrong.len();
    wrong[n - 1] ^= 1;
    assert_eq!(decode(&wrong, 1 << 20), Err(ImageError::NoSignature));
    let mut orphan = BytesMut::new();
    image_stream::write_head(&ImageHead::default(), &mut orphan);
    image_stream::write_node_path("/nonsense", &mut orphan);
    write_node_body(&mut orphan, None, -1, &StatPersisted::default());
    assert!(matches!(decode(&orphan, 1 << 20), Err(ImageError::Refused(_))));
}

#[test]
fn an_older_snapshot_under_a_newer_name_is_passed_over() {
    let disk = SimDisk::new(7);
    disk.create_dir_all(&dirs().logs).unwrap();
    snapshot_of(&disk, 3, &history(1..=3));
    let mut log = new_log(&disk, 3);
    append(&mut log, 4..=9);
    commit(&mut log);
    drop(log);
    snapshot_of(&disk, 6, &history(1..=6));
    let opened = disk.open(&file("snapshot.3")).unwrap();
    let mut older = vec![0; opened.len().unwrap() as usize];
    disk::read_full(&*opened, 0, &mut older).unwrap();
    disk.create(&file("snapshot.6")).unwrap().write_at(0, &older).unwrap();
    disk.settle();
    let loaded = load(&disk).expect("the older one and the log lead there as well");
    assert_eq!(loaded.0.history, history(1..=9));
}
