//! Every bound of the server on what clients can make it hold, in one place.

/// Bounds per connection and of the server. All are enforced before memory is taken.
#[derive(Clone, Debug)]
pub struct Limits {
    /// The largest request frame, bytes (`jute.maxbuffer`).
    pub frame_bytes_max: usize,
    /// Requests that one connection may have waiting or in process; beyond it, its socket is not
    /// read.
    pub queued_requests_max: usize,
    /// Bytes of requests that one connection may have waiting or in process.
    pub queued_bytes_max: usize,
    /// Bytes of replies that may wait before a connection's further requests are not executed.
    pub output_high_water_bytes: usize,
    /// Bytes of replies and watch events that may wait before the connection is closed: only watch
    /// events and one large reply can exceed the high-water mark.
    pub output_bytes_max: usize,
    /// Writes in process on the whole server above which connections that have some are not read
    /// (`globalOutstandingLimit`).
    pub global_outstanding_max: usize,
    /// Identities that one connection may gather by auth packets.
    pub identities_max: usize,
    /// Bytes of auth data that are hashed for one packet.
    pub auth_bytes_max: usize,
}

impl Default for Limits {
    fn default() -> Limits {
        Limits {
            frame_bytes_max: crate::proto::frame::MAX_BUFFER_DEFAULT,
            queued_requests_max: 1000,
            queued_bytes_max: 4 << 20,
            output_high_water_bytes: 256 << 10,
            output_bytes_max: 64 << 20,
            global_outstanding_max: 1000,
            identities_max: 1000,
            auth_bytes_max: 64 << 10,
        }
    }
}
