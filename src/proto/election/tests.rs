use super::*;

fn sample() -> Notification {
    Notification {
        state: ServerState::Leading,
        leader: ServerId(3),
        zxid: Zxid(0x2_0000_0005),
        round: 7,
        peer_epoch: Epoch(2),
        version: 2,
        config: Some(Bytes::from_static(b"server.1=a:1:2:participant\nversion=0")),
        pending: None,
    }
}

#[test]
fn notifications_of_every_age_are_read() {
    let full = sample().encode();
    assert_eq!(full.len(), 44 + 36);
    assert_eq!(Notification::decode(full.clone()), Ok(sample()));
    let old = |epoch| Notification { version: 0, config: None, peer_epoch: epoch, ..sample() };
    assert_eq!(Notification::decode(full.slice(..28)), Ok(old(Epoch(2))), "epoch of the zxid");
    assert_eq!(Notification::decode(full.slice(..40)), Ok(old(Epoch(2))), "3.4");
    for n in 0..full.len() {
        if n != 28 && n != 40 {
            assert!(Notification::decode(full.slice(..n)).is_err(), "{n} bytes");
        }
    }
}

#[test]
fn a_change_under_way_stands_behind_what_apache_reads() {
    let told = Notification { pending: Some(Bytes::from_static(b"version=5")), ..sample() };
    let bytes = told.encode();
    assert_eq!(bytes[..80], sample().encode()[..]);
    assert_eq!(Notification::decode(bytes.clone()), Ok(told));
    for n in 80..bytes.len() {
        assert_eq!(Notification::decode(bytes.slice(..n)), Ok(sample()), "{n} bytes");
    }
}

#[test]
fn damaged_notifications_are_refused() {
    let mut state = BytesMut::from(&sample().encode()[..]);
    state[3] = 9;
    assert!(Notification::decode(state.freeze()).is_err());
    for length in [-1_i32, -2, i32::MAX, 37] {
        let mut config = BytesMut::from(&sample().encode()[..]);
        config[40..44].copy_from_slice(&length.to_be_bytes());
        assert!(Notification::decode(config.freeze()).is_err(), "config length {length}");
    }
}

#[test]
fn frames_are_bounded() {
    let mut input = BytesMut::from(&frame(b"abc")[..]);
    assert_eq!(split_frame(&mut input.clone().split_to(6)), Ok(None));
    assert_eq!(split_frame(&mut input), Ok(Some(Bytes::from_static(b"abc"))));
    assert_eq!(split_frame(&mut input), Ok(None));
    for length in [0, -1, FRAME_MAX as i32 + 1, i32::MAX] {
        let mut input = BytesMut::from(&length.to_be_bytes()[..]);
        assert!(split_frame(&mut input).is_err(), "{length}");
    }
}

#[test]
fn hellos_of_every_version() {
    let one = Hello { server: ServerId(2), addresses: vec!["127.0.0.1:3888".into()] };
    let bytes = one.encode();
    assert_eq!(&bytes[..20], b"\xff\xff\xff\xff\xff\xff\0\0\0\0\0\0\0\0\0\x02\0\0\0\x0e");
    let two = Hello { addresses: vec!["a:1".into(), "[::1]:2".into()], ..one.clone() };
    assert_eq!(two.encode()[7], 1);
    for hello in [one, two] {
        let bytes = hello.encode();
        for n in 0..bytes.len() {
            assert_eq!(Hello::split_from(&mut BytesMut::from(&bytes[..n])), Ok(None), "{n}");
        }
        let mut input = BytesMut::from(&bytes[..]);
        input.extend_from_slice(b"next");
        assert_eq!(Hello::split_from(&mut input), Ok(Some(hello)));
        assert_eq!(&input[..], b"next");
    }
    let mut bare = BytesMut::from(&5_i64.to_be_bytes()[..]);
    let hello = Hello { server: ServerId(5), addresses: vec![] };
    assert_eq!(Hello::split_from(&mut bare), Ok(Some(hello)));
    for (version, length) in [(-3_i64, 4_i32), (HELLO_V1, 0), (HELLO_V1, -1), (HELLO_V2, 2049)] {
        let mut w = BytesMut::new();
        w.i64(version);
        w.i64(1);
        w.i32(length);
        assert!(Hello::split_from(&mut w).is_err(), "{version} {length}");
    }
}
