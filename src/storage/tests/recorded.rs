//! Snapshots that were recorded on a learner port, and a log that Apache wrote, damaged: an error
//! or what is there, never a panic.

use bytes::BytesMut;

use super::{SimDisk, dirs, file};
use crate::proto::image::{ImageSink, NodeView};
use crate::storage::Disk;
use crate::storage::image_stream::{Framing, ImageDecoder};
use crate::storage::log_reader::{LogReader, Step};
use crate::storage::txnlog::{LOG_HEADER_LEN, RECORD_HEAD_LEN};
use crate::testing::recorded::{every_damage, recorded};
use crate::types::Acl;

/// Counts what it is given.
#[derive(Default)]
struct Counts(usize);

impl ImageSink for Counts {
    fn session(&mut self, _: i64, _: i32) {
        self.0 += 1;
    }
    fn acl(&mut self, _: i64, _: Vec<Acl>) {
        self.0 += 1;
    }
    fn node(&mut self, _: &str, _: NodeView<'_>) -> Result<(), String> {
        self.0 += 1;
        Ok(())
    }
}

fn read(bytes: &[u8]) -> bool {
    let mut counts = Counts::default();
    let mut decoder = ImageDecoder::new(Framing::Link, 1 << 20);
    let done = decoder.feed(&mut BytesMut::from(bytes), &mut counts);
    assert!(counts.0 <= bytes.len(), "nothing comes from nothing");
    done.unwrap_or(false)
}

#[test]
fn damaged_images() {
    let images: Vec<_> =
        recorded("learner").into_iter().filter(|m| m.remark.starts_with("snapshot")).collect();
    assert!(!images.is_empty());
    for image in images {
        assert!(read(&image.bytes), "{}", image.remark);
        every_damage(&image.bytes, &mut |bytes, _| {
            read(bytes);
        });
    }
}

/// The header and the first record of a log that Apache wrote: no byte of them can be another
/// without being noticed, but for the dbid, which says nothing.
#[test]
fn damaged_log() {
    let recorded = concat!(
        env!("CARGO_MANIFEST_DIR"),
        "/fixtures/data/apache-3.8.4/rolled/data/version-2/log.1"
    );
    let recorded = std::fs::read(recorded).expect("the log");
    let read = |bytes: &[u8]| {
        let disk = SimDisk::new(1);
        disk.create_dir_all(&dirs().logs).unwrap();
        disk.create(&file("log.1")).unwrap().write_at(0, bytes).unwrap();
        LogReader::open(&disk, &file("log.1")).unwrap().step().unwrap()
    };
    let Step::Record(first) = read(&recorded) else { panic!("a record") };
    let end = first.offset as usize + RECORD_HEAD_LEN + first.entry.len() + 1;
    let dbid = 4..LOG_HEADER_LEN;
    every_damage(&recorded[..end], &mut |bytes, _| match read(bytes) {
        Step::Record(record) => {
            assert_eq!(record, first);
            assert!(
                bytes
                    .iter()
                    .zip(&recorded)
                    .enumerate()
                    .all(|(at, (a, b))| { a == b || dbid.contains(&at) })
            );
        }
        Step::End(end) => {
            assert!(end.flaw.is_some() || bytes[LOG_HEADER_LEN..].iter().all(|b| *b == 0))
        }
    });
}
