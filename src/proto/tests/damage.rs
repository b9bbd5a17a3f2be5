//! Every decoder of what comes from a socket, with every prefix and single-byte mutations of what
//! Apache was recorded to send: an error or a value, never a panic; and a value is one that
//! can be written and read again.

use super::*;
use crate::proto::election::{self, Hello, Notification};
use crate::proto::quorum::{self, ForwardedRequest, LearnerInfo, PacketKind, QuorumPacket};
use crate::testing::recorded::{every_damage, recorded};

/// Decodes a record; what decodes is the same after it was written.
fn read<T: Jute + PartialEq + std::fmt::Debug>(bytes: &Bytes) -> bool {
    let Ok(value) = T::from_bytes(bytes.clone()) else { return false };
    assert_eq!(T::from_bytes(value.to_bytes()).as_ref(), Ok(&value));
    true
}

fn request_body(opcode: OpCode, body: &Bytes) -> bool {
    match opcode {
        OpCode::CREATE | OpCode::CREATE2 | OpCode::CREATE_CONTAINER => read::<CreateRequest>(body),
        OpCode::CREATE_TTL => read::<CreateTtlRequest>(body),
        OpCode::DELETE => read::<DeleteRequest>(body),
        OpCode::SET_DATA => read::<SetDataRequest>(body),
        OpCode::SET_ACL => read::<SetAclRequest>(body),
        OpCode::CHECK => read::<CheckVersionRequest>(body),
        OpCode::EXISTS | OpCode::GET_DATA | OpCode::GET_CHILDREN | OpCode::GET_CHILDREN2 => {
            read::<ReadRequest>(body)
        }
        OpCode::ADD_WATCH | OpCode::REMOVE_WATCHES | OpCode::CHECK_WATCHES => {
            read::<WatchRequest>(body)
        }
        OpCode::SET_WATCHES => read::<SetWatches>(body),
        OpCode::SET_WATCHES2 => read::<SetWatches2>(body),
        OpCode::AUTH => read::<AuthPacket>(body),
        OpCode::SASL => read::<SaslToken>(body),
        OpCode::RECONFIG => read::<ReconfigRequest>(body),
        OpCode::MULTI | OpCode::MULTI_READ => {
            multi::read_ops(&mut Reader::new(body.clone())).is_ok()
        }
        _ => read::<PathRecord>(body),
    }
}

/// A frame of a client. True: there is something in it.
fn from_client(bytes: &[u8]) -> bool {
    let mut input = BytesMut::from(bytes);
    let Ok(Some(frame)) = frame::next_frame(&mut input, frame::MAX_BUFFER_DEFAULT) else {
        return false;
    };
    let connect = read::<ConnectRequest>(&frame);
    let Ok(header) = RequestHeader::from_bytes(frame.clone()) else { return connect };
    request_body(OpCode(header.opcode), &frame.slice(8..)) || connect
}

/// A frame of a server.
fn from_server(bytes: &[u8]) -> bool {
    let mut input = BytesMut::from(bytes);
    let Ok(Some(frame)) = frame::next_frame(&mut input, frame::MAX_BUFFER_DEFAULT) else {
        return false;
    };
    let connected = read::<ConnectResponse>(&frame);
    if !read::<ReplyHeader>(&frame) {
        return connected;
    }
    let body = frame.slice(16..);
    let records: [fn(&Bytes) -> bool; 10] = [
        read::<WatcherEvent>,
        read::<StatResponse>,
        read::<DataResponse>,
        read::<AclResponse>,
        read::<NamesResponse>,
        read::<CountResponse>,
        read::<WhoAmIResponse>,
        read::<ErrorResponse>,
        read::<PathRecord>,
        read::<SaslToken>,
    ];
    records.iter().for_each(|record| {
        record(&body);
    });
    true
}

/// A packet of a learner or its leader, with what it carries.
fn between_servers(bytes: &[u8]) -> bool {
    let mut input = BytesMut::from(bytes);
    let Ok(Some(packet)) = QuorumPacket::split_from(&mut input, 1 << 20) else { return false };
    assert_eq!(QuorumPacket::from_bytes(packet.to_bytes()).as_ref(), Ok(&packet));
    let data = packet.payload();
    match packet.kind {
        PacketKind::Request => match ForwardedRequest::from_bytes(data) {
            Ok(request) => request_body(OpCode(request.opcode), &request.body),
            Err(_) => false,
        },
        PacketKind::Proposal | PacketKind::Inform => match TxnEntry::decode(data) {
            Ok(entry) => {
                assert_eq!(TxnEntry::decode(entry.encode()), Ok(entry));
                true
            }
            Err(_) => false,
        },
        PacketKind::Ping | PacketKind::Revalidate => {
            quorum::promised_silence(&packet);
            quorum::touched_sessions(data.clone()).is_ok() | quorum::read_revalidated(data).is_ok()
        }
        _ => LearnerInfo::from_bytes(data).is_ok() | quorum::ack_epoch_current(&packet).is_ok(),
    }
}

/// What comes to an election port.
fn from_voter(bytes: &[u8]) -> bool {
    let hello = Hello::split_from(&mut BytesMut::from(bytes)).is_ok_and(|hello| hello.is_some());
    let Ok(Some(frame)) = election::split_frame(&mut BytesMut::from(bytes)) else { return hello };
    let Ok(notification) = Notification::decode(frame) else { return hello };
    if notification.version == 2 {
        assert_eq!(Notification::decode(notification.encode()), Ok(notification));
    }
    true
}

#[test]
fn damaged_frames_of_clients() {
    let (mut frames, mut read) = (0, 0);
    for message in recorded("client").iter().filter(|m| m.remark != "no whole frame") {
        let decode: fn(&[u8]) -> bool = if message.forth { from_client } else { from_server };
        frames += 1;
        read += usize::from(decode(&message.bytes));
        every_damage(&message.bytes, &mut |bytes| {
            decode(bytes);
        });
    }
    // Recordings of bad bodies are among them.
    assert!(read * 10 > frames * 8, "{read} of {frames} are read");
}

#[test]
fn damaged_packets_between_servers() {
    for message in recorded("learner") {
        // The snapshots' images are in `storage/tests`.
        if message.remark.starts_with("snapshot") {
            continue;
        }
        every_damage(&message.bytes, &mut |bytes| {
            between_servers(bytes);
        });
    }
}

#[test]
fn damaged_votes() {
    for message in recorded("election") {
        assert!(from_voter(&message.bytes), "{message:?}");
        every_damage(&message.bytes, &mut |bytes| {
            from_voter(bytes);
        });
    }
}
