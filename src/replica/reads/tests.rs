//! Reads as Apache was recorded to get them, damaged: each gets one reply, never a panic.

use super::*;
use crate::replica::conn::{Rules, Turn};
use crate::replica::long::{Long, Step};
use crate::state::Options;
use crate::testing::recorded::{every_damage, recorded};

#[test]
fn damaged_bodies_of_reads() {
    let state = StateMachine::new(Options::default());
    let auth = Auth::new(crate::auth::Options::default());
    let ids = [Id::new("ip", "10.0.0.1")];
    let session = SessionId(1);
    let asker = Asker { conn: ConnId(1), session, session_over: false, ids: &ids };
    let mut namespaces = Namespaces::default();
    let rules = Rules::default();
    let mut frames = 0;
    for message in recorded("client").iter().filter(|m| m.forth) {
        let Some(opcode) = message.opcode.map(OpCode) else { continue };
        let whole = &message.bytes[12..];
        if opcode.class() != Class::Read || whole.is_empty() {
            continue;
        }
        frames += 1;
        let watches = WatchTable::new();
        let view = View { state: &state, watches: &watches };
        let mut out = BytesMut::new();
        every_damage(whole, &mut |body, _| {
            out.clear();
            let told = Told { events: &mut 0, namespaces: Some(&mut namespaces) };
            let answered = answer(view, &auth, asker, 7, opcode, body, &mut out, told);
            if answered == Answered::InSteps {
                let request = (7, opcode, Bytes::copy_from_slice(body));
                let mut long = Long::new(request, ids.clone().into(), rules.load.reply_share());
                let submits = &mut Vec::new();
                let mut turn = Turn::new(&rules, 0, Some(view), &mut out, submits);
                long.settle();
                while long.step(view, asker, &mut turn) == Step::More {
                    long.settle();
                }
            }
            let first = frame::next_frame(&mut out, 1 << 20).expect("a length").expect("a reply");
            assert!(first.len() >= 16);
        });
    }
    assert!(frames > 50, "{frames}");
}
