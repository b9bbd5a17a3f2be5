//! What the log says of sessions: established (at debug), closed, expired. Why connections end, and with
//! them that a session moved or was refused, is in [`super::closings`].

use std::net::SocketAddr;

use super::lines::{self, Lines};
use crate::replica::{EndCause, SessionEnd};
use crate::types::SessionId;

/// Ends of sessions, each kind within a bound of its own: a flood of the one hides none of the other.
#[derive(Debug, Default)]
pub struct SessionLog {
    expired: Lines,
    closed: Lines,
}

impl SessionLog {
    /// A client has its session, new or renewed.
    pub fn established(session: SessionId, remote: SocketAddr, timeout_ms: i32) {
        tracing::debug!("session {session} established for {remote}, timeout {timeout_ms} ms");
    }

    /// A session has ended; `remote` is the address of the client that closed it.
    pub fn ended(&self, end: SessionEnd, remote: Option<SocketAddr>) {
        let lines = match end.cause {
            EndCause::Silence(_) => &self.expired,
            EndCause::Client(_) => &self.closed,
        };
        let Some(suppressed) = lines.next() else { return };
        tracing::info!("{}{}", text(end, remote), lines::others(suppressed));
    }
}

fn text(end: SessionEnd, remote: Option<SocketAddr>) -> String {
    let SessionEnd { session, cause, ephemerals } = end;
    let how = match (cause, remote) {
        (EndCause::Silence(timeout_ms), _) => {
            format!("expired: nothing was heard of its client for {timeout_ms} ms")
        }
        (EndCause::Client(_), Some(remote)) => format!("closed by its client, {remote}"),
        (EndCause::Client(_), None) => "closed by its client".to_owned(),
    };
    let nodes = match ephemerals {
        None => "all its ephemeral znodes deleted".to_owned(),
        Some(0) => "no ephemeral znodes".to_owned(),
        Some(1) => "1 ephemeral znode deleted".to_owned(),
        Some(n) => format!("{n} ephemeral znodes deleted"),
    };
    format!("session {session} {how}; {nodes}")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::types::ConnId;

    #[test]
    fn ends_of_sessions_name_the_session_the_reason_and_what_went_with_it() {
        let session = SessionId(0x1000_0000_0000_0001);
        let expired = SessionEnd { session, cause: EndCause::Silence(4000), ephemerals: Some(2) };
        assert_eq!(
            text(expired, None),
            "session 0x1000000000000001 expired: nothing was heard of its client for 4000 ms; \
             2 ephemeral znodes deleted"
        );
        let closed =
            SessionEnd { session, cause: EndCause::Client(ConnId(1)), ephemerals: Some(0) };
        assert_eq!(
            text(closed, "127.0.0.1:5000".parse().ok()),
            "session 0x1000000000000001 closed by its client, 127.0.0.1:5000; no ephemeral znodes"
        );
    }
}
