//! What a client call can end in beside success.

use crate::proto::jute::DecodeError;
use crate::types::Code;

/// Why a call failed.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Error {
    /// The server's answer was a code other than OK.
    #[error("{code} for {path}")]
    Code {
        /// The server's code.
        code: Code,
        /// What was asked about, as the caller wrote it; empty when the operation has no path.
        path: String,
    },
    /// The connection broke before the answer came, or no server could be reached. A write may or
    /// may not have happened.
    #[error("connection loss")]
    ConnectionLoss,
    /// The session is over, with its ephemeral nodes and watches; a new client is needed.
    #[error("session expired")]
    SessionExpired,
    /// The server refused an identity; the client is closed.
    #[error("authentication failed")]
    AuthFailed,
    /// The client was closed.
    #[error("client is closed")]
    Closed,
    /// Not a legal path; nothing was sent.
    #[error("invalid path {path:?}")]
    InvalidPath {
        /// As the caller wrote it.
        path: String,
    },
    /// Not a connect string.
    #[error("invalid connect string {text:?}: {why}")]
    ConnectString {
        /// As the caller wrote it.
        text: String,
        /// What is wrong with it.
        why: &'static str,
    },
    /// The server's answer could not be decoded.
    #[error("malformed reply: {0}")]
    Malformed(#[from] DecodeError),
}

impl Error {
    /// The error as a ZooKeeper code, as Apache's client would report it.
    pub fn code(&self) -> Code {
        match self {
            Error::Code { code, .. } => *code,
            Error::ConnectionLoss | Error::Closed => Code::CONNECTION_LOSS,
            Error::SessionExpired => Code::SESSION_EXPIRED,
            Error::AuthFailed => Code::AUTH_FAILED,
            Error::InvalidPath { .. } | Error::ConnectString { .. } => Code::BAD_ARGUMENTS,
            Error::Malformed(_) => Code::MARSHALLING_ERROR,
        }
    }
}
