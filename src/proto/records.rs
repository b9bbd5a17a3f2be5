//! Requests and responses of the client protocol, in the order of `zookeeper.jute`.
//!
//! Optional strings, buffers and vectors are nullable on the wire and stay so here: null and empty
//! differ.

use bytes::{Bytes, BytesMut};

use super::jute::{DecodeError, Jute, Reader, Write};
use crate::types::{Acl, Stat};

/// Declares records field by field: the struct, its decoding and its encoding.
macro_rules! records {
    ($($(#[$doc:meta])* $name:ident { $($(#[$fdoc:meta])* $field:ident: $type:ty),* $(,)? })*) => {$(
        $(#[$doc])*
        #[derive(Clone, Debug, PartialEq, Eq, Default)]
        pub struct $name { $($(#[$fdoc])* pub $field: $type),* }

        impl Jute for $name {
            fn read(r: &mut Reader) -> Result<Self, DecodeError> {
                Ok($name { $($field: r.get()?),* })
            }
            fn write(&self, w: &mut BytesMut) {
                $(w.put(&self.$field);)*
            }
        }
    )*};
}

records! {
    /// Before every request.
    RequestHeader {
        /// Echoed in the reply.
        xid: i32,
        /// The operation.
        opcode: i32,
    }
    /// Before every reply and watch event.
    ReplyHeader {
        /// The request's, or -1 for a watch event.
        xid: i32,
        /// The last transaction the server has applied; -1 for some events and errors.
        zxid: i64,
        /// The code; with an error the body is normally absent.
        err: i32,
    }
    /// create, create2, createContainer.
    CreateRequest {
        /// Where; the prefix when sequential.
        path: Option<String>,
        /// Null and empty differ.
        data: Option<Bytes>,
        /// Null or empty is INVALIDACL.
        acl: Option<Vec<Acl>>,
        /// A create mode.
        flags: i32,
    }
    /// createTTL.
    CreateTtlRequest {
        /// Where; the prefix when sequential.
        path: Option<String>,
        /// Null and empty differ.
        data: Option<Bytes>,
        /// Null or empty is INVALIDACL.
        acl: Option<Vec<Acl>>,
        /// A create mode.
        flags: i32,
        /// Milliseconds.
        ttl: i64,
    }
    /// delete.
    DeleteRequest {
        /// Which.
        path: Option<String>,
        /// Expected, -1 for any.
        version: i32,
    }
    /// setData.
    SetDataRequest {
        /// Which.
        path: Option<String>,
        /// Null and empty differ.
        data: Option<Bytes>,
        /// Expected, -1 for any.
        version: i32,
    }
    /// setACL.
    SetAclRequest {
        /// Which.
        path: Option<String>,
        /// Null or empty is INVALIDACL.
        acl: Option<Vec<Acl>>,
        /// Expected aversion, -1 for any.
        version: i32,
    }
    /// check, inside a multi.
    CheckVersionRequest {
        /// Which.
        path: Option<String>,
        /// Expected, -1 for any.
        version: i32,
    }
    /// exists, getData, getChildren, getChildren2.
    ReadRequest {
        /// Which.
        path: Option<String>,
        /// Leave a watch.
        watch: bool,
    }
    /// getACL, sync, getEphemerals, getAllChildrenNumber, deleteContainer; and the replies of
    /// create and sync.
    PathRecord {
        /// Which.
        path: Option<String>,
    }
    /// removeWatches, checkWatches (type), addWatch (mode).
    WatchRequest {
        /// Which.
        path: Option<String>,
        /// Watcher type or mode.
        kind: i32,
    }
    /// setWatches.
    SetWatches {
        /// The last zxid the client has seen.
        relative_zxid: i64,
        /// Watches left by getData.
        data: Option<Vec<String>>,
        /// Watches left by exists on a missing node.
        exist: Option<Vec<String>>,
        /// Watches left by getChildren.
        child: Option<Vec<String>>,
    }
    /// setWatches2.
    SetWatches2 {
        /// The last zxid the client has seen.
        relative_zxid: i64,
        /// Watches left by getData.
        data: Option<Vec<String>>,
        /// Watches left by exists on a missing node.
        exist: Option<Vec<String>>,
        /// Watches left by getChildren.
        child: Option<Vec<String>>,
        /// Persistent watches.
        persistent: Option<Vec<String>>,
        /// Persistent recursive watches.
        recursive: Option<Vec<String>>,
    }
    /// auth.
    AuthPacket {
        /// Ignored.
        kind: i32,
        /// Which scheme.
        scheme: Option<String>,
        /// In the scheme's form.
        auth: Option<Bytes>,
    }
    /// sasl, both directions.
    SaslToken {
        /// The mechanism's.
        token: Option<Bytes>,
    }
    /// reconfig.
    ReconfigRequest {
        /// `server.N=...` lines, comma separated.
        joining: Option<String>,
        /// Ids, comma separated.
        leaving: Option<String>,
        /// A whole membership.
        new_members: Option<String>,
        /// Expected version of the configuration, -1 for any.
        config_version: i64,
    }
    /// A watch event's body.
    WatcherEvent {
        /// See `state::watch::EventKind`.
        kind: i32,
        /// Always 3, SyncConnected.
        state: i32,
        /// The node.
        path: Option<String>,
    }
    /// Reply of exists, setData, setACL.
    StatResponse {
        /// After the operation.
        stat: Stat,
    }
    /// Reply of getData and reconfig.
    DataResponse {
        /// Null and empty differ.
        data: Option<Bytes>,
        /// At the same moment.
        stat: Stat,
    }
    /// Reply of getACL.
    AclResponse {
        /// Masked for some callers.
        acl: Option<Vec<Acl>>,
        /// At the same moment.
        stat: Stat,
    }
    /// Reply of getChildren and getEphemerals.
    NamesResponse {
        /// In no particular order.
        names: Option<Vec<String>>,
    }
    /// Reply of getChildren2.
    Children2Response {
        /// In no particular order.
        children: Option<Vec<String>>,
        /// At the same moment.
        stat: Stat,
    }
    /// Reply of create2, createContainer, createTTL.
    Create2Response {
        /// With the sequence suffix.
        path: Option<String>,
        /// Of the new node.
        stat: Stat,
    }
    /// Reply of getAllChildrenNumber.
    CountResponse {
        /// Nodes below.
        total: i32,
    }
    /// One identity of a connection.
    ClientInfo {
        /// The scheme.
        scheme: Option<String>,
        /// The provider's user name of the id.
        user: Option<String>,
    }
    /// Reply of whoAmI.
    WhoAmIResponse {
        /// All identities.
        clients: Option<Vec<ClientInfo>>,
    }
    /// Body of an addWatch reply, and of error results inside a multi.
    ErrorResponse {
        /// The code.
        err: i32,
    }
    /// Between the parts of a multi.
    MultiHeader {
        /// An opcode, -1 for an error or the end.
        opcode: i32,
        /// The end.
        done: bool,
        /// A code.
        err: i32,
    }
}

/// The first packet of a connection.
#[derive(Clone, Debug, PartialEq, Eq, Default)]
pub struct ConnectRequest {
    /// Ignored.
    pub protocol: i32,
    /// A server that is behind it refuses the client.
    pub last_zxid: i64,
    /// Asked for, ms; clamped by the server.
    pub timeout_ms: i32,
    /// 0 for a new session.
    pub session: i64,
    /// 16 bytes for a renewal.
    pub passwd: Option<Bytes>,
    /// None when an old client does not send the byte; then the reply omits it too.
    pub read_only: Option<bool>,
}

impl Jute for ConnectRequest {
    fn read(r: &mut Reader) -> Result<Self, DecodeError> {
        Ok(ConnectRequest {
            protocol: r.i32()?,
            last_zxid: r.i64()?,
            timeout_ms: r.i32()?,
            session: r.i64()?,
            passwd: r.buffer()?,
            read_only: if r.remaining() > 0 { Some(r.bool()?) } else { None },
        })
    }
    fn write(&self, w: &mut BytesMut) {
        w.i32(self.protocol);
        w.i64(self.last_zxid);
        w.i32(self.timeout_ms);
        w.i64(self.session);
        w.buffer(self.passwd.as_deref());
        if let Some(read_only) = self.read_only {
            w.bool(read_only);
        }
    }
}

/// The answer to a [`ConnectRequest`]; all zero means that the session is gone.
#[derive(Clone, Debug, PartialEq, Eq, Default)]
pub struct ConnectResponse {
    /// Always 0.
    pub protocol: i32,
    /// Negotiated, ms.
    pub timeout_ms: i32,
    /// The session.
    pub session: i64,
    /// 16 bytes.
    pub passwd: Option<Bytes>,
    /// Present when the request had it.
    pub read_only: Option<bool>,
}

impl Jute for ConnectResponse {
    fn read(r: &mut Reader) -> Result<Self, DecodeError> {
        Ok(ConnectResponse {
            protocol: r.i32()?,
            timeout_ms: r.i32()?,
            session: r.i64()?,
            passwd: r.buffer()?,
            read_only: if r.remaining() > 0 { Some(r.bool()?) } else { None },
        })
    }
    fn write(&self, w: &mut BytesMut) {
        w.i32(self.protocol);
        w.i32(self.timeout_ms);
        w.i64(self.session);
        w.buffer(self.passwd.as_deref());
        if let Some(read_only) = self.read_only {
            w.bool(read_only);
        }
    }
}
