//! The table of operations (Apache `ZooDefs.OpCode`, `Request.isValid`).

/// What a request asks for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct OpCode(pub i32);

/// How the server treats an operation.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Class {
    /// Ordered by the leader and logged.
    Write,
    /// Answered from the local tree.
    Read,
    /// A barrier through the leader, without a transaction.
    Sync,
    /// Handled by the connection before any ordering (auth, sasl).
    Connection,
    /// Not for clients, or unknown: answered UNIMPLEMENTED, then the connection closes.
    Invalid,
}

macro_rules! opcodes {
    ($($(#[$doc:meta])* $name:ident = $value:literal, $class:ident, $label:literal, $lop:literal;)*) => {
        impl OpCode {
            $($(#[$doc])* pub const $name: OpCode = OpCode($value);)*

            /// How it is treated when a client sends it.
            pub const fn class(self) -> Class {
                match self.0 { $($value => Class::$class,)* _ => Class::Invalid }
            }

            /// Apache's name, as in logs and metrics.
            pub const fn label(self) -> &'static str {
                match self.0 { $($value => $label,)* _ => "unknown" }
            }

            /// The four-letter abbreviation that `cons` shows as last operation.
            pub const fn lop(self) -> &'static str {
                match self.0 { $($value => $lop,)* _ => "NA" }
            }

            /// Every operation of the table.
            pub const ALL: &'static [OpCode] = &[$(OpCode($value)),*];
        }
    };
}

opcodes! {
    /// Server to client only.
    NOTIFICATION = 0, Invalid, "notification", "NA";
    /// create, answered with the path.
    CREATE = 1, Write, "create", "CREA";
    /// delete.
    DELETE = 2, Write, "delete", "DELE";
    /// exists.
    EXISTS = 3, Read, "exists", "EXIS";
    /// getData.
    GET_DATA = 4, Read, "getData", "GETD";
    /// setData.
    SET_DATA = 5, Write, "setData", "SETD";
    /// getACL.
    GET_ACL = 6, Read, "getACL", "GETA";
    /// setACL.
    SET_ACL = 7, Write, "setACL", "SETA";
    /// getChildren, names only.
    GET_CHILDREN = 8, Read, "getChildren", "GETC";
    /// sync.
    SYNC = 9, Sync, "sync", "SYNC";
    /// ping.
    PING = 11, Read, "ping", "PING";
    /// getChildren with the stat.
    GET_CHILDREN2 = 12, Read, "getChildren2", "GETC";
    /// check, only inside a multi (ZOOKEEPER-2623).
    CHECK = 13, Invalid, "check", "CHEC";
    /// multi.
    MULTI = 14, Write, "multi", "MULT";
    /// create, answered with path and stat.
    CREATE2 = 15, Write, "create2", "CREA";
    /// reconfig.
    RECONFIG = 16, Write, "reconfig", "RECO";
    /// checkWatches.
    CHECK_WATCHES = 17, Read, "checkWatches", "CHKW";
    /// removeWatches.
    REMOVE_WATCHES = 18, Read, "removeWatches", "REMW";
    /// createContainer.
    CREATE_CONTAINER = 19, Write, "createContainer", "CREA";
    /// From the server's own reaper only.
    DELETE_CONTAINER = 20, Invalid, "deleteContainer", "DELE";
    /// createTTL.
    CREATE_TTL = 21, Write, "createTTL", "CREA";
    /// multiRead.
    MULTI_READ = 22, Read, "multiRead", "MLTR";
    /// auth.
    AUTH = 100, Connection, "auth", "NA";
    /// setWatches.
    SET_WATCHES = 101, Read, "setWatches", "SETW";
    /// sasl.
    SASL = 102, Connection, "sasl", "NA";
    /// getEphemerals.
    GET_EPHEMERALS = 103, Read, "getEphemerals", "GETE";
    /// getAllChildrenNumber.
    GET_ALL_CHILDREN_NUMBER = 104, Read, "getAllChildrenNumber", "NA";
    /// setWatches2.
    SET_WATCHES2 = 105, Read, "setWatches2", "STW2";
    /// addWatch.
    ADD_WATCH = 106, Read, "addWatch", "ADDW";
    /// whoAmI.
    WHO_AM_I = 107, Read, "whoAmI", "HOMI";
    /// Internal: a new session. Refused from the wire.
    CREATE_SESSION = -10, Invalid, "createSession", "SESS";
    /// The client says good-bye.
    CLOSE_SESSION = -11, Write, "closeSession", "CLOS";
    /// A failed write, in the log only.
    ERROR = -1, Invalid, "error", "NA";
}
