//! Every decoder of what comes from a socket, with every prefix and every single-byte mutation of what
//! Apache was recorded to send: an error or a value, never a panic; and a value is one that
//! can be written and read again.

use super::*;
use crate::proto::election::{self, Hello, Notification};
use crate::proto::quorum::{self, ForwardedRequest, LearnerInfo, PacketKind, QuorumPacket};
use crate::testing::recorded::{every_damage, recorded};

/// Decodes a record; what decodes is the same after it was written, where one looks closely.
fn read<T: Jute + PartialEq + std::fmt::Debug>(bytes: &Bytes, closely: bool) -> bool {
    let Ok(value) = T::from_bytes(bytes.clone()) else { return false };
    if closely {
        assert_eq!(T::from_bytes(value.to_bytes()).as_ref(), Ok(&value));
    }
    true
}

fn request_body(opcode: OpCode, body: &Bytes, closely: bool) -> bool {
    match opcode {
        OpCode::CREATE | OpCode::CREATE2 | OpCode::CREATE_CONTAINER => {
            read::<CreateRequest>(body, closely)
        }
        OpCode::CREATE_TTL => read::<CreateTtlRequest>(body, closely),
        OpCode::DELETE => read::<DeleteRequest>(body, closely),
        OpCode::SET_DATA => read::<SetDataRequest>(body, closely),
        OpCode::SET_ACL => read::<SetAclRequest>(body, closely),
        OpCode::CHECK => read::<CheckVersionRequest>(body, closely),
        OpCode::EXISTS | OpCode::GET_DATA | OpCode::GET_CHILDREN | OpCode::GET_CHILDREN2 => {
            read::<ReadRequest>(body, closely)
        }
        OpCode::ADD_WATCH | OpCode::REMOVE_WATCHES | OpCode::CHECK_WATCHES => {
            read::<WatchRequest>(body, closely)
        }
        OpCode::SET_WATCHES => read::<SetWatches>(body, closely),
        OpCode::SET_WATCHES2 => read::<SetWatches2>(body, closely),
        OpCode::AUTH => read::<AuthPacket>(body, closely),
        OpCode::SASL => read::<SaslToken>(body, closely),
        OpCode::RECONFIG => read::<ReconfigRequest>(body, closely),
        OpCode::MULTI | OpCode::MULTI_READ => {
            multi::read_ops(&mut Reader::new(body.clone())).is_ok()
        }
        _ => read::<PathRecord>(body, closely),
    }
}

/// A frame of a client, the first of its connection where `opcode` is not there. True: there is
/// something in it.
fn from_client(opcode: Option<i32>, bytes: &[u8], closely: bool) -> bool {
    let mut input = BytesMut::from(bytes);
    let Ok(Some(frame)) = frame::next_frame(&mut input, frame::MAX_BUFFER_DEFAULT) else {
        return false;
    };
    if opcode.is_none() {
        return read::<ConnectRequest>(&frame, closely);
    }
    let Ok(header) = RequestHeader::from_bytes(frame.clone()) else { return false };
    request_body(OpCode(header.opcode), &frame.slice(8..), closely)
}

/// A frame of a server, read as our client reads it that asked for `opcode`.
fn from_server(opcode: Option<i32>, bytes: &[u8], closely: bool) -> bool {
    let mut input = BytesMut::from(bytes);
    let Ok(Some(frame)) = frame::next_frame(&mut input, frame::MAX_BUFFER_DEFAULT) else {
        return false;
    };
    let Some(opcode) = opcode else {
        return read::<ConnectResponse>(&frame, closely) || from_server_unasked(&frame, closely);
    };
    let Ok(header) = ReplyHeader::from_bytes(frame.clone()) else { return false };
    if header.err != 0 {
        return true;
    }
    let body = frame.slice(16..);
    match OpCode(opcode) {
        OpCode::CREATE | OpCode::SYNC => read::<PathRecord>(&body, closely),
        OpCode::CREATE2 | OpCode::CREATE_CONTAINER | OpCode::CREATE_TTL => {
            read::<Create2Response>(&body, closely)
        }
        OpCode::EXISTS | OpCode::SET_DATA | OpCode::SET_ACL => read::<StatResponse>(&body, closely),
        OpCode::GET_DATA | OpCode::RECONFIG => read::<DataResponse>(&body, closely),
        OpCode::GET_ACL => read::<AclResponse>(&body, closely),
        OpCode::GET_CHILDREN | OpCode::GET_EPHEMERALS => read::<NamesResponse>(&body, closely),
        OpCode::GET_CHILDREN2 => read::<Children2Response>(&body, closely),
        OpCode::GET_ALL_CHILDREN_NUMBER => read::<CountResponse>(&body, closely),
        OpCode::WHO_AM_I => read::<WhoAmIResponse>(&body, closely),
        OpCode::ADD_WATCH => read::<ErrorResponse>(&body, closely),
        OpCode::SASL => read::<SaslToken>(&body, closely),
        // The results of multis are in `client/tests.rs`.
        _ => true,
    }
}

/// An event.
fn from_server_unasked(frame: &Bytes, closely: bool) -> bool {
    ReplyHeader::from_bytes(frame.clone()).is_ok_and(|header| header.xid == -1)
        && read::<WatcherEvent>(&frame.slice(16..), closely)
}

/// A packet of a learner or its leader, with what it carries.
fn between_servers(bytes: &[u8], closely: bool) -> bool {
    let mut input = BytesMut::from(bytes);
    let Ok(Some(packet)) = QuorumPacket::split_from(&mut input, 1 << 20) else { return false };
    if closely {
        assert_eq!(QuorumPacket::from_bytes(packet.to_bytes()).as_ref(), Ok(&packet));
    }
    let data = packet.payload();
    match packet.kind {
        PacketKind::Request => match ForwardedRequest::from_bytes(data) {
            Ok(request) => request_body(OpCode(request.opcode), &request.body, closely),
            Err(_) => false,
        },
        PacketKind::Proposal | PacketKind::Inform => match TxnEntry::decode(data) {
            Ok(entry) => {
                if closely {
                    assert_eq!(TxnEntry::decode(entry.encode()), Ok(entry));
                }
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
fn from_voter(bytes: &[u8], closely: bool) -> bool {
    let hello = Hello::split_from(&mut BytesMut::from(bytes)).is_ok_and(|hello| hello.is_some());
    let Ok(Some(frame)) = election::split_frame(&mut BytesMut::from(bytes)) else { return hello };
    let Ok(notification) = Notification::decode(frame) else { return hello };
    if closely && notification.version == 2 {
        assert_eq!(Notification::decode(notification.encode()), Ok(notification));
    }
    true
}

#[test]
fn damaged_frames_of_clients() {
    let (mut frames, mut read) = (0, 0);
    for message in recorded("client").iter().filter(|m| m.remark != "no whole frame") {
        let decode = |bytes: &[u8], closely| match message.forth {
            true => from_client(message.opcode, bytes, closely),
            false => from_server(message.opcode, bytes, closely),
        };
        frames += 1;
        read += usize::from(decode(&message.bytes, true));
        every_damage(&message.bytes, &mut |bytes, closely| {
            decode(bytes, closely);
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
        every_damage(&message.bytes, &mut |bytes, closely| {
            between_servers(bytes, closely);
        });
    }
}

#[test]
fn damaged_votes() {
    for message in recorded("election") {
        assert!(from_voter(&message.bytes, true), "{message:?}");
        every_damage(&message.bytes, &mut |bytes, closely| {
            from_voter(bytes, closely);
        });
    }
}
