use bytes::BytesMut;

use super::*;
use crate::proto::frame;
use crate::proto::jute::Write;
use crate::types::open_acl;

fn check(
    opcode: OpCode,
    body: &impl Jute,
    err: i32,
    reply: impl FnOnce(&mut BytesMut),
    expect: &[&str],
) {
    let auth = Auth::default();
    let ids = [Id::new("ip", "10.0.0.1"), Id::new("digest", "bob:hash"), Id::new("super", "")];
    let asker = Asker { session: SessionId(0x10), ids: &ids, ip: "10.0.0.1" };
    let mut out = BytesMut::new();
    let at = frame::begin(&mut out);
    out.put(&ReplyHeader { xid: 1, zxid: 2, err });
    reply(&mut out);
    frame::end(&mut out, at);
    let lines = lines(&auth, asker, subject(opcode, &body.to_bytes()), &out);
    let lines: Vec<String> = lines.iter().map(|line| line.replace('\t', " ")).collect();
    assert_eq!(lines, expect);
}

#[test]
fn changes_are_written_down_with_who_what_and_how_it_went() {
    let who = "session=0x10 user=10.0.0.1,bob ip=10.0.0.1";
    let create =
        |flags| CreateRequest { path: Some("/a".into()), data: None, acl: Some(open_acl()), flags };
    check(
        OpCode::CREATE,
        &create(3),
        0,
        |out| out.str("/a0000000007"),
        &[&format!(
            "{who} operation=create znode=/a0000000007 znode_type=ephemeral_sequential result=success"
        )],
    );
    check(
        OpCode::CREATE,
        &create(0),
        -110,
        |_| {},
        &[&format!("{who} operation=create znode=/a znode_type=persistent result=failure")],
    );
    let set_acl = SetAclRequest { path: Some("/a".into()), acl: Some(open_acl()), version: -1 };
    check(
        OpCode::SET_ACL,
        &set_acl,
        0,
        |_| {},
        &[&format!("{who} operation=setAcl znode=/a acl=world:anyone:cdrwa result=success")],
    );
    check(OpCode::SYNC, &PathRecord { path: Some("/a".into()) }, 0, |_| {}, &[]);
    let delete = DeleteRequest { path: Some("/a\nresult=success".into()), version: -1 };
    check(
        OpCode::DELETE,
        &delete,
        -101,
        |_| {},
        &[&format!("{who} operation=delete znode=/a?result=success result=failure")],
    );
}

#[test]
fn a_multi_is_one_failure_or_its_parts() {
    struct Ops(Vec<Op>);
    impl Jute for Ops {
        fn read(_: &mut Reader) -> Result<Self, crate::proto::jute::DecodeError> {
            unreachable!("only written")
        }
        fn write(&self, w: &mut BytesMut) {
            multi::write_ops(w, &self.0);
        }
    }
    let who = "session=0x10 user=10.0.0.1,bob ip=10.0.0.1";
    let ops = || {
        Ops(vec![
            Op::Delete(DeleteRequest { path: Some("/a".into()), version: -1 }),
            Op::Check(crate::proto::records::CheckVersionRequest::default()),
        ])
    };
    check(
        OpCode::MULTI,
        &ops(),
        0,
        |out| {
            multi::write_result(out, OpCode::DELETE);
            multi::write_result(out, OpCode::CHECK);
            multi::write_end(out);
        },
        &[&format!("{who} operation=delete znode=/a result=success")],
    );
    check(
        OpCode::MULTI,
        &ops(),
        0,
        |out| {
            multi::write_error(out, crate::types::Code::OK);
            multi::write_error(out, crate::types::Code::BAD_VERSION);
            multi::write_end(out);
        },
        &[&format!("{who} operation=multiOperation result=failure")],
    );
}
