//! Every bound of the server on what clients and peers can make it hold, in one place.

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

/// Bounds on what other members, and strangers at the ports between members, can make a member hold.
///
/// A **waiting** link has not sent its first packet or its hello yet. A **guest** has introduced itself
/// and is no member: an observer that the membership does not list, a joiner, or a stranger. Links of
/// members are as many as there are members: a newer one takes an older one's place.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PeerLimits {
    /// Waiting links at the learner port and at the port for observers; one more closes the oldest.
    pub waiting_links_max: usize,
    /// Bytes of the first packet of a link that was accepted (20 or so are needed).
    pub first_packet_bytes_max: usize,
    /// Guests of a leader, or of a follower that serves observers. One more closes the oldest that
    /// is not synchronised; if all are, it is refused.
    pub guests_max: usize,
    /// Bytes of packets, of all guests together, that the node thread has not handled yet: what
    /// guests can put into one turn of it. What asks for something counts until that is done.
    pub guest_bytes_in_flight: usize,
    /// The same for each link of a member; a single larger packet is let through alone.
    pub member_bytes_in_flight: usize,
    /// Bytes that wait to be written to links, and bytes of packets that have half arrived, over all
    /// links of the learner port and the port for observers. Beyond it a link is closed: the guest
    /// that has most, while guests have more than a quarter of this, otherwise the link that has most.
    pub link_bytes_max: u64,
    /// Connections to the election port whose hello has not come; one more closes the oldest.
    pub greetings_max: usize,
    /// Peers outside the membership at the election port; one more closes the oldest.
    pub strangers_max: usize,
    /// Addresses that are taken from a hello, beside those of the membership.
    pub hello_addresses_max: usize,
    /// Notifications of one member that wait to be read; then its oldest is dropped. (Apache: 100 for
    /// all senders together, so that one of them can push out the others.)
    pub notifications_per_member_max: usize,
    /// Notifications of all strangers together that wait to be read; then their oldest is dropped.
    pub notifications_of_strangers_max: usize,
}

impl Default for PeerLimits {
    fn default() -> PeerLimits {
        PeerLimits {
            waiting_links_max: 128,
            first_packet_bytes_max: 4096,
            guests_max: 128,
            guest_bytes_in_flight: 256 << 10,
            member_bytes_in_flight: 16 << 20,
            link_bytes_max: 1 << 30,
            greetings_max: 256,
            strangers_max: 64,
            hello_addresses_max: 4,
            notifications_per_member_max: 16,
            notifications_of_strangers_max: 32,
        }
    }
}
