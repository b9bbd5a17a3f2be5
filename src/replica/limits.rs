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
    /// Bytes of requests, half-sent ones included, that all connections together may have waiting or
    /// in process; only what a connection has beyond `request_bytes_free` counts. Who would exceed it
    /// is closed.
    pub request_bytes_max: usize,
    /// What a connection may have of them without being counted.
    pub request_bytes_free: usize,
    /// The largest reply, bytes of its body: [`reply_bytes_max`] of `frame_bytes_max`. A request that
    /// would have a larger one is answered MARSHALLINGERROR.
    pub reply_bytes_max: usize,
    /// Bytes of replies and watch events that all connections together may have waiting; only what a
    /// connection has beyond `reply_bytes_free` counts. A large reply that would exceed it waits; who
    /// would exceed it by watch events or answers to writes is closed (`limits.replyBytes`).
    pub all_replies_bytes_max: usize,
    /// What a connection may have of them without being counted. While all are at their bound, a
    /// connection that has more waiting is answered nothing until its client has read that.
    pub reply_bytes_free: usize,
    /// Bytes of replies that may wait before a connection's further requests are not executed.
    pub output_high_water_bytes: usize,
    /// Bytes of replies and watch events that may wait before the connection is closed: only watch
    /// events and one large reply can exceed the high-water mark.
    pub output_bytes_max: usize,
    /// Writes in process on the whole server above which connections that have some are not read
    /// (`globalOutstandingLimit`).
    pub global_outstanding_max: usize,
    /// Requests in process on the whole server at which no connection goes on; 0 is off
    /// (`request_throttle_max_requests`).
    pub throttle_requests_max: usize,
    /// A request that throttling held back longer than this many ms is answered THROTTLEDOP; 0 is
    /// off (`throttled_op_wait_time`).
    pub throttled_op_wait_ms: u64,
    /// Requests above this many bytes count as large; None is off (`largeRequestThreshold`).
    pub large_request_bytes: Option<usize>,
    /// Bytes of large requests in process; one too many closes its connection
    /// (`largeRequestMaxBytes`).
    pub large_requests_bytes_max: usize,
    /// Identities that one connection may gather by auth packets.
    pub identities_max: usize,
    /// Bytes of these identities.
    pub identity_bytes_max: usize,
    /// Bytes of auth data that are hashed for one packet.
    pub auth_bytes_max: usize,
}

impl Default for Limits {
    fn default() -> Limits {
        Limits {
            frame_bytes_max: crate::proto::frame::MAX_BUFFER_DEFAULT,
            queued_requests_max: 1000,
            queued_bytes_max: 4 << 20,
            request_bytes_max: 1 << 30,
            request_bytes_free: 64 << 10,
            reply_bytes_max: reply_bytes_max(crate::proto::frame::MAX_BUFFER_DEFAULT),
            all_replies_bytes_max: 1 << 30,
            reply_bytes_free: 64 << 10,
            output_high_water_bytes: 256 << 10,
            output_bytes_max: 64 << 20,
            global_outstanding_max: 1000,
            throttle_requests_max: 0,
            throttled_op_wait_ms: 0,
            large_request_bytes: None,
            large_requests_bytes_max: 100 << 20,
            identities_max: 1000,
            identity_bytes_max: 1 << 20,
            auth_bytes_max: 64 << 10,
        }
    }
}

/// The largest reply is so many times the largest request.
const REPLY_TIMES: usize = 64;
/// It is no smaller than this, for nodes and lists from before `jute.maxbuffer` was lowered.
const REPLY_LEAST: usize = 64 << 20;
/// It is no larger: a length on the wire has 31 bits.
const REPLY_MOST: usize = 1 << 30;

/// The largest reply where the largest request has `frame_bytes` (`jute.maxbuffer`): 64 times that,
/// within 64 MiB and 1 GiB. A million children with names of 60 bytes are within it.
pub fn reply_bytes_max(frame_bytes: usize) -> usize {
    frame_bytes.saturating_mul(REPLY_TIMES).clamp(REPLY_LEAST, REPLY_MOST)
}
