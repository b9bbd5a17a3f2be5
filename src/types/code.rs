//! The protocol's error codes: results, not Rust errors.

use std::fmt;

/// What a request ended in. The numbers are the wire's (Apache `KeeperException.Code`).
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
pub struct Code(pub i32);

macro_rules! codes {
    ($($(#[$doc:meta])* $name:ident = $value:literal, $label:literal;)*) => {
        impl Code {
            $($(#[$doc])* pub const $name: Code = Code($value);)*

            /// Apache's name of the code, or "Unknown".
            pub const fn label(self) -> &'static str {
                match self.0 { $($value => $label,)* _ => "Unknown" }
            }
        }
    };
}

codes! {
    /// Success.
    OK = 0, "Ok";
    /// Never sent by the server.
    SYSTEM_ERROR = -1, "SystemError";
    /// A later part of a multi that failed.
    RUNTIME_INCONSISTENCY = -2, "RuntimeInconsistency";
    /// Never sent by the server.
    DATA_INCONSISTENCY = -3, "DataInconsistency";
    /// Client side only.
    CONNECTION_LOSS = -4, "ConnectionLoss";
    /// The body could not be decoded or processed; the connection stays open.
    MARSHALLING_ERROR = -5, "MarshallingError";
    /// Unknown operation (then the connection closes), or one this server refuses.
    UNIMPLEMENTED = -6, "Unimplemented";
    /// Client side only.
    OPERATION_TIMEOUT = -7, "OperationTimeout";
    /// A path, flag or argument that is not allowed.
    BAD_ARGUMENTS = -8, "BadArguments";
    /// Standalone only: the session vanished under the request.
    UNKNOWN_SESSION = -12, "UnknownSession";
    /// Reconfig would leave no synced quorum.
    NEW_CONFIG_NO_QUORUM = -13, "NewConfigNoQuorum";
    /// Another reconfig is under way.
    RECONFIG_IN_PROGRESS = -14, "ReconfigInProgress";
    /// The node does not exist.
    NO_NODE = -101, "NoNode";
    /// Not permitted by the node's ACL.
    NO_AUTH = -102, "NoAuth";
    /// The version given is not the node's.
    BAD_VERSION = -103, "BadVersion";
    /// Ephemeral nodes have no children.
    NO_CHILDREN_FOR_EPHEMERALS = -108, "NoChildrenForEphemerals";
    /// The node exists already.
    NODE_EXISTS = -110, "NodeExists";
    /// The node has children.
    NOT_EMPTY = -111, "NotEmpty";
    /// The session is expired or closing.
    SESSION_EXPIRED = -112, "SessionExpired";
    /// The ACL given is not valid.
    INVALID_ACL = -114, "InvalidACL";
    /// Authentication failed; the connection closes.
    AUTH_FAILED = -115, "AuthFailed";
    /// The session lives at another server; never sent, the connection closes instead.
    SESSION_MOVED = -118, "SessionMoved";
    /// A read-only server was asked to write.
    NOT_READ_ONLY = -119, "NotReadOnly";
    /// Ephemerals need a global session.
    EPHEMERAL_ON_LOCAL_SESSION = -120, "EphemeralOnLocalSession";
    /// No such watch.
    NO_WATCHER = -121, "NoWatcher";
    /// Reconfig is switched off.
    RECONFIG_DISABLED = -123, "ReconfigDisabled";
    /// The server requires authentication first; the connection closes.
    SESSION_CLOSED_REQUIRE_SASL_AUTH = -124, "SessionClosedRequireSaslAuth";
    /// A hard quota would be exceeded.
    QUOTA_EXCEEDED = -125, "QuotaExceeded";
    /// The request waited too long and was dropped unprocessed.
    THROTTLED_OP = -127, "ThrottledOp";
}

impl fmt::Debug for Code {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}({})", self.label(), self.0)
    }
}

impl fmt::Display for Code {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Debug::fmt(self, f)
    }
}
