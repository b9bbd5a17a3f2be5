use super::*;

const MAX: usize = 1 << 20;

fn samples() -> Vec<QuorumPacket> {
    let info = LearnerInfo {
        server: ServerId(3),
        protocol: PROTOCOL_VERSION,
        config_version: 7,
        rookeeper: false,
        claim: None,
    };
    let request = ForwardedRequest {
        session: SessionId(0x1_0000),
        cxid: 4,
        opcode: 1,
        body: Bytes::from_static(b"body"),
    };
    let mut forwarded = QuorumPacket::with_data(PacketKind::Request, Zxid(-1), request.to_bytes());
    forwarded.auth = Some([Id::new("ip", "127.0.0.1"), Id { scheme: None, id: None }].into());
    vec![
        QuorumPacket::new(PacketKind::UpToDate, Zxid(-1)),
        QuorumPacket::with_data(PacketKind::FollowerInfo, Zxid::new(Epoch(4), 0), info.to_bytes()),
        QuorumPacket::with_data(PacketKind::Proposal, Zxid::new(Epoch(4), 1), Bytes::new()),
        leader_info(Epoch(5)),
        ack_epoch(Epoch(-1), Zxid::new(Epoch(4), 9)),
        revalidate(SessionId(7), 4000),
        revalidated(SessionId(7), true),
        forwarded,
    ]
}

#[test]
fn packets_have_no_length_and_are_cut_where_they_end() {
    let mut stream = BytesMut::new();
    for packet in samples() {
        let bytes = packet.to_bytes();
        assert_eq!(bytes.len(), packet.encoded_len(), "{packet:?}");
        for n in 0..bytes.len() {
            let mut prefix = BytesMut::from(&bytes[..n]);
            assert_eq!(QuorumPacket::split_from(&mut prefix, MAX), Ok(None), "{packet:?} at {n}");
            assert_eq!(prefix.len(), n, "nothing is taken from an incomplete packet");
        }
        stream.extend_from_slice(&bytes);
    }
    stream.extend_from_slice(b"snapshot bytes");
    for packet in samples() {
        assert_eq!(QuorumPacket::split_from(&mut stream, MAX), Ok(Some(packet)));
    }
    assert_eq!(&stream[..], b"snapshot bytes");
}

#[test]
fn packets_are_bytes_as_apache_writes_them() {
    let hex =
        |p: &QuorumPacket| p.to_bytes().iter().map(|b| format!("{b:02x}")).collect::<String>();
    assert_eq!(
        hex(&leader_info(Epoch(2))),
        "00000011\
         0000000200000000\
         00000004\
         00010000\
         ffffffff"
            .replace(' ', "")
    );
    assert_eq!(
        hex(&ack_epoch(Epoch(-1), Zxid(0x1_0000_0002))),
        "00000012000000010000000200000004ffffffffffffffff"
    );
    assert_eq!(
        hex(&QuorumPacket::new(PacketKind::Commit, Zxid(1))),
        "000000040000000000000001ffffffffffffffff"
    );
}

#[test]
fn bad_lengths_are_refused_before_anything_is_held() {
    let start = |kind: i32, length: i32| {
        let mut w = BytesMut::new();
        w.i32(kind);
        w.i64(0);
        w.i32(length);
        w
    };
    for (kind, length) in [(2, -2), (2, MAX as i32 + 1), (2, i32::MAX), (0, 0), (20, 0), (-1, 0)] {
        let mut bytes = start(kind, length);
        assert!(QuorumPacket::split_from(&mut bytes, MAX).is_err(), "{kind} {length}");
    }
    for ids in [-2, i32::MAX, MAX as i32 / 8 + 1, 10_001] {
        let mut bytes = start(1, -1);
        bytes.i32(ids);
        assert!(QuorumPacket::split_from(&mut bytes, MAX).is_err(), "{ids} ids");
    }
    let mut bytes = start(1, -1);
    bytes.i32(2);
    bytes.i32(MAX as i32 - 3);
    assert!(QuorumPacket::split_from(&mut bytes, MAX).is_err(), "identities beyond the bound");
}

#[test]
fn a_packet_that_comes_bit_by_bit_is_looked_at_once() {
    let mut packet =
        QuorumPacket::with_data(PacketKind::Request, Zxid(-1), Bytes::from(vec![0; 9]));
    packet.auth = Some((0..5000).map(|_| Id { scheme: None, id: None }).collect());
    let bytes = packet.to_bytes();
    let (mut cutter, mut input) = (PacketCutter::default(), BytesMut::new());
    for (n, byte) in bytes.iter().enumerate() {
        assert_eq!(cutter.split_from(&mut input, MAX), Ok(None), "{n} bytes");
        input.extend_from_slice(&[*byte]);
    }
    assert_eq!(cutter.split_from(&mut input, MAX), Ok(Some(packet.clone())));
    assert_eq!(cutter.looked, 3 + 2 * 5000);
    // The next one, behind bytes that are there already.
    for next in samples() {
        input.extend_from_slice(&next.to_bytes());
    }
    for next in samples() {
        assert_eq!(cutter.split_from(&mut input, MAX), Ok(Some(next)));
    }
    // Identities that are small on the wire are large in memory.
    let mut many = BytesMut::new();
    many.i32(1);
    many.i64(-1);
    many.i32(-1);
    many.i32(10_001);
    assert!(PacketCutter::default().split_from(&mut many, MAX).is_err());
}

#[test]
fn learner_info_of_34_has_no_config_version() {
    let info = LearnerInfo {
        server: ServerId(3),
        protocol: PROTOCOL_VERSION,
        config_version: 9,
        rookeeper: false,
        claim: None,
    };
    let bytes = info.to_bytes();
    assert_eq!(bytes.len(), 20);
    assert_eq!(LearnerInfo::from_bytes(bytes.clone()), Ok(info));
    let old = LearnerInfo { config_version: 0, ..info };
    assert_eq!(LearnerInfo::from_bytes(bytes.slice(..12)), Ok(old));
    assert!(LearnerInfo::from_bytes(bytes.slice(..8)).is_err());
}

#[test]
fn the_mark_follows_what_apache_reads() {
    let plain = LearnerInfo {
        server: ServerId(3),
        protocol: PROTOCOL_VERSION,
        config_version: 9,
        rookeeper: false,
        claim: None,
    };
    let marked = LearnerInfo { rookeeper: true, ..plain };
    let bytes = marked.to_bytes();
    assert_eq!(bytes[..20], plain.to_bytes()[..]);
    assert_eq!(LearnerInfo::from_bytes(bytes.clone()), Ok(marked));
    let cut = LearnerInfo::from_bytes(bytes.slice(..bytes.len() - 1));
    assert_eq!(cut, Ok(plain), "something else follows");
}

#[test]
fn only_a_ping_with_four_bytes_promises_something() {
    assert_eq!(promised_silence(&quick_ping(Zxid(7), 2500)), Some(2500));
    assert_eq!(promised_silence(&quick_ping(Zxid(7), 0)), None);
    assert_eq!(promised_silence(&quick_ping(Zxid(7), -1)), None);
    assert_eq!(promised_silence(&QuorumPacket::new(PacketKind::Ping, Zxid(7))), None);
    let touched = encode_touched([(SessionId(1), 4000)]);
    let reply = QuorumPacket::with_data(PacketKind::Ping, Zxid(7), touched);
    assert_eq!(promised_silence(&reply), None);
}

#[test]
fn payloads_round_trip() {
    let sessions = vec![(SessionId(1), 4000), (SessionId(-5), 30_000)];
    let bytes = encode_touched(sessions.clone());
    assert_eq!(bytes.len(), 24);
    assert_eq!(touched_sessions(bytes.clone()), Ok(sessions));
    assert!(touched_sessions(bytes.slice(..13)).is_err());
    let answer = revalidated(SessionId(7), false);
    assert_eq!(answer.payload().len(), 9);
    assert_eq!(read_revalidated(answer.payload()), Ok((SessionId(7), false)));
    assert_eq!(ack_epoch_current(&ack_epoch(Epoch(-1), Zxid(3))), Ok(Epoch(-1)));
    for kind in PacketKind::ALL {
        assert_eq!(PacketKind::from_code(*kind as i32), Some(*kind));
    }
}

#[test]
fn random_bytes_never_panic() {
    let mut state = 1_u64;
    for _ in 0..20_000 {
        let mut bytes = BytesMut::new();
        for _ in 0..40 {
            state = state.wrapping_mul(6364136223846793005).wrapping_add(1442695040888963407);
            let b = (state >> 56) as u8;
            bytes.extend_from_slice(&[if b > 40 { 0 } else { b }]);
        }
        let _ = QuorumPacket::split_from(&mut bytes, 64);
    }
}

#[test]
fn what_a_learner_says_of_its_history_is_read_back() {
    let info = |claim| LearnerInfo {
        server: ServerId(3),
        protocol: PROTOCOL_VERSION,
        config_version: 7,
        rookeeper: true,
        claim,
    };
    for end in [ClaimedEnd::Unknown, ClaimedEnd::Foreign, ClaimedEnd::Print(u32::MAX)] {
        let claim = Claim { current: Epoch(4), last: Zxid::new(Epoch(4), 9), end };
        let bytes = info(Some(claim)).to_bytes();
        assert_eq!(bytes.len(), 20 + LEARNER_MARK.len() + 24);
        assert_eq!(LearnerInfo::from_bytes(bytes.clone()), Ok(info(Some(claim))));
        // What is cut short says nothing.
        let short = bytes.slice(..bytes.len() - 1);
        assert_eq!(LearnerInfo::from_bytes(short), Ok(info(None)));
    }
    assert!(is_marked(&marked_leader_info(Epoch(2))) && !is_marked(&leader_info(Epoch(2))));
    let (to, print) = (Zxid::new(Epoch(1), 2), 0xdead_beef);
    assert_eq!(truncation_print(&truncation(to, print)), Some(print));
    assert_eq!(truncation_print(&QuorumPacket::new(PacketKind::Trunc, to)), None);
}
