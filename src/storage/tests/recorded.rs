//! Snapshots that were recorded on a learner port, damaged a little: an error or an image, never a
//! panic.

use bytes::BytesMut;

use crate::proto::image::{ImageNode, ImageSink};
use crate::storage::image_stream::{Framing, ImageDecoder};
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
    fn node(&mut self, _: &str, _: ImageNode) -> Result<(), String> {
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
        every_damage(&image.bytes, &mut |bytes| {
            read(bytes);
        });
    }
}
