//! The names of all metrics of Apache 3.9 (`ServerMetrics`), with kind and help.
//!
//! `mntr` and Prometheus show every one of them, also those that a different design leaves at zero:
//! dashboards and alert rules look for the names.

macro_rules! table {
    ($(#[$doc:meta])* $name:ident { $($variant:ident = $text:literal, $help:literal;)* }) => {
        $(#[$doc])*
        #[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
        pub enum $name {
            $(#[doc = $help] $variant,)*
        }

        impl $name {
            /// All of them, in order.
            pub const ALL: &'static [$name] = &[$($name::$variant,)*];

            /// Apache's name, without `zk_`.
            pub fn name(self) -> &'static str {
                match self { $($name::$variant => $text,)* }
            }

            /// What it counts, in one line.
            pub fn help(self) -> &'static str {
                match self { $($name::$variant => $help,)* }
            }
        }
    };
}

table! {
    /// Numbers that only grow.
    Counter {
        AddDeadWatcherStallTime = "add_dead_watcher_stall_time", "time spent waiting to queue a dead watcher, in ms";
        BytesReceivedCount = "bytes_received_count", "bytes received from clients";
        CnxnClosedWithoutZkServerRunning = "cnxn_closed_without_zk_server_running", "connections closed because the server did not serve";
        CommitCount = "commit_count", "proposals committed as a leader";
        ConnectionDropCount = "connection_drop_count", "connections that clients closed without closing their session";
        ConnectionRejected = "connection_rejected", "connections refused because of a limit";
        ConnectionRequestCount = "connection_request_count", "connections asked for by clients";
        ConnectionRevalidateCount = "connection_revalidate_count", "sessions asked to be revalidated at the leader";
        DeadWatchersCleared = "dead_watchers_cleared", "dead watchers removed";
        DeadWatchersQueued = "dead_watchers_queued", "dead watchers queued for removal";
        DiffCount = "diff_count", "learners synchronised by a difference";
        DigestMismatchesCount = "digest_mismatches_count", "transactions whose digest of the tree was not the expected one";
        EnsembleAuthFail = "ensemble_auth_fail", "clients with the wrong ensemble name";
        EnsembleAuthSkip = "ensemble_auth_skip", "clients without an ensemble name";
        EnsembleAuthSuccess = "ensemble_auth_success", "clients with the right ensemble name";
        InsecureAdminCount = "insecure_admin_count", "requests to the admin server without TLS";
        LargeRequestsRejected = "large_requests_rejected", "large requests refused";
        LearnerCommitReceivedCount = "learner_commit_received_count", "commits received from the leader";
        LearnerProposalReceivedCount = "learner_proposal_received_count", "proposals received from the leader";
        LookingCount = "looking_count", "times the server looked for a leader";
        OutstandingChangesQueued = "outstanding_changes_queued", "changes put on the list of those not yet applied";
        OutstandingChangesRemoved = "outstanding_changes_removed", "changes taken off that list";
        PrepProcessorRequestQueued = "prep_processor_request_queued", "requests queued for preparation";
        ProposalCount = "proposal_count", "proposals made as a leader";
        QuitLeadingDueToDisloyalVoter = "quit_leading_due_to_disloyal_voter", "times leading was given up because a voter left";
        RequestCommitQueued = "request_commit_queued", "commits queued";
        RequestThrottleWaitCount = "request_throttle_wait_count", "times a request stalled because of throttling";
        RequestsNotForwardedToCommitProcessor = "requests_not_forwarded_to_commit_processor", "learner requests that skipped the commit stage";
        ResponseBytes = "response_bytes", "bytes sent to clients";
        ResponsePacketCacheHits = "response_packet_cache_hits", "replies found in the cache";
        ResponsePacketCacheMisses = "response_packet_cache_misses", "replies not found in the cache";
        ResponsePacketGetChildrenCacheHits = "response_packet_get_children_cache_hits", "getChildren replies found in the cache";
        ResponsePacketGetChildrenCacheMisses = "response_packet_get_children_cache_misses", "getChildren replies not found in the cache";
        RestoreErrorCount = "restore_error_count", "restores through the admin server that failed";
        RestoreRateLimitedCount = "restore_rate_limited_count", "restores through the admin server refused by the rate limit";
        RevalidateCount = "revalidate_count", "sessions revalidated for followers";
        SessionlessConnectionsExpired = "sessionless_connections_expired", "connections closed because no session was made in time";
        SkipLearnerRequestToNextProcessorCount = "skip_learner_request_to_next_processor_count", "learner requests that skipped a stage";
        SnapCount = "snap_count", "learners synchronised by a snapshot";
        SnapshotErrorCount = "snapshot_error_count", "snapshots through the admin server that failed";
        SnapshotRateLimitedCount = "snapshot_rate_limited_count", "snapshots through the admin server refused by the rate limit";
        StaleReplies = "stale_replies", "replies whose connection was gone";
        StaleRequests = "stale_requests", "requests whose connection or session was gone";
        StaleRequestsDropped = "stale_requests_dropped", "stale requests not executed";
        StaleSessionsExpired = "stale_sessions_expired", "sessions expired by the server";
        SyncProcessorRequestQueued = "sync_processor_request_queued", "transactions queued for the log";
        ThrottledOps = "throttled_ops", "operations refused by throttling";
        TlsHandshakeExceeded = "tls_handshake_exceeded", "TLS handshakes refused because of the limit";
        UnrecoverableErrorCount = "unrecoverable_error_count", "errors that stopped the server";
        UnsuccessfulHandshake = "unsuccessful_handshake", "TLS handshakes that failed";
        WatchBytes = "watch_bytes", "bytes of watch events sent";
    }
}

table! {
    /// Counters per key.
    CounterSet {
        QuotaExceededErrorPerNamespace = "quota_exceeded_error_per_namespace", "writes refused by a quota below a top-level node";
    }
}

table! {
    /// Summaries with minimum, maximum, average, count and sum.
    Basic {
        CommitCommitProcReqQueued = "commit_commit_proc_req_queued", "commits queued at the commit stage";
        CommitProcessTime = "commit_process_time", "time to process a commit, in ms";
        ConcurrentRequestProcessingInCommitProcessor = "concurrent_request_processing_in_commit_processor", "requests in process at the commit stage";
        ConnectionTokenDeficit = "connection_token_deficit", "tokens missing in the connection bucket";
        DbInitTime = "dbinittime", "time to load the database, in ms";
        ElectionTime = "election_time", "time of an election, in ms";
        FollowerSyncTime = "follower_sync_time", "time a follower took to synchronise, in ms";
        FsyncTime = "fsynctime", "time of an fsync of the log, in ms";
        InflightDiffCount = "inflight_diff_count", "differences being sent to learners";
        InflightSnapCount = "inflight_snap_count", "snapshots being sent to learners";
        LeaderUnavailableTime = "leader_unavailable_time", "time without a leader, in ms";
        LearnerRequestProcessorQueueSize = "learner_request_processor_queue_size", "learner requests queued";
        NettyQueuedBufferCapacity = "netty_queued_buffer_capacity", "bytes queued of a connection";
        NodeChangedWatchCount = "node_changed_watch_count", "watch events for changed data";
        NodeChildrenWatchCount = "node_children_watch_count", "watch events for changed children";
        NodeCreatedWatchCount = "node_created_watch_count", "watch events for created nodes";
        NodeDeletedWatchCount = "node_deleted_watch_count", "watch events for deleted nodes";
        ObserverSyncTime = "observer_sync_time", "time an observer took to synchronise, in ms";
        PendingSessionQueueSize = "pending_session_queue_size", "sessions with requests waiting";
        PrepProcessTime = "prep_process_time", "time to prepare a request, in ms";
        PrepProcessorQueueSize = "prep_processor_queue_size", "requests queued for preparation";
        ProposalProcessTime = "proposal_process_time", "time to process a proposal, in ms";
        ReadCommitProcIssued = "read_commit_proc_issued", "reads issued by the commit stage";
        ReadCommitProcReqQueued = "read_commit_proc_req_queued", "reads queued at the commit stage";
        ReadsAfterWriteInSessionQueue = "reads_after_write_in_session_queue", "reads of a session behind its write";
        ReadsIssuedFromSessionQueue = "reads_issued_from_session_queue", "reads issued after their session's write";
        RequestsInSessionQueue = "requests_in_session_queue", "requests of a session waiting";
        RestoreTime = "restore_time", "time of a restore through the admin server, in ms";
        SessionQueuesDrained = "session_queues_drained", "sessions whose requests were all issued";
        SnapshotTime = "snapshottime", "time to write a snapshot, in ms";
        SocketClosingTime = "socket_closing_time", "time to close a socket, in ms";
        StartupSnapLoadTime = "startup_snap_load_time", "time to load the snapshot at the start, in ms";
        StartupTxnsLoadTime = "startup_txns_load_time", "time to replay the log at the start, in ms";
        StartupTxnsLoaded = "startup_txns_loaded", "transactions replayed at the start";
        SyncProcessTime = "sync_process_time", "time of a turn of the log, in ms";
        SyncProcessorBatchSize = "sync_processor_batch_size", "transactions per fsync";
        SyncProcessorQueueSize = "sync_processor_queue_size", "transactions queued for the log";
        TimeWaitingEmptyPoolInCommitProcessorReadMs = "time_waiting_empty_pool_in_commit_processor_read_ms", "time a commit waited for reads, in ms";
        UnavailableTime = "unavailable_time", "time without serving, in ms";
        WriteBatchTimeInCommitProcessor = "write_batch_time_in_commit_processor", "time of a batch of commits, in ms";
        WriteCommitProcIssued = "write_commit_proc_issued", "writes issued by the commit stage";
        WriteCommitProcReqQueued = "write_commit_proc_req_queued", "writes queued at the commit stage";
    }
}

table! {
    /// Summaries with quantiles as well.
    Advanced {
        CloseSessionPrepTime = "close_session_prep_time", "time to prepare the end of a session, in ms";
        CommitPropagationLatency = "commit_propagation_latency", "time from a commit at the leader to here, in ms";
        DeadWatchersCleanerLatency = "dead_watchers_cleaner_latency", "time to remove dead watchers, in ms";
        JvmPauseTimeMs = "jvm_pause_time_ms", "pauses of the process, in ms";
        LocalWriteCommittedTimeMs = "local_write_committed_time_ms", "time from a local write to its commit, in ms";
        OmCommitProcessTimeMs = "om_commit_process_time_ms", "time an observer master took for a commit, in ms";
        OmProposalProcessTimeMs = "om_proposal_process_time_ms", "time an observer master took for a proposal, in ms";
        PrepProcessorQueueTimeMs = "prep_processor_queue_time_ms", "time a request waited for preparation, in ms";
        PropagationLatency = "propagation_latency", "time from the proposal to here, in ms";
        ProposalAckCreationLatency = "proposal_ack_creation_latency", "time from a proposal to its ACK, in ms";
        ProposalLatency = "proposal_latency", "time from the leader's proposal to its arrival, in ms";
        QuorumAckLatency = "quorum_ack_latency", "time from a proposal to the quorum's ACK, in ms";
        ReadCommitprocTimeMs = "read_commitproc_time_ms", "time a read spent at the commit stage, in ms";
        ReadFinalProcTimeMs = "read_final_proc_time_ms", "time to answer a read, in ms";
        ReadLatency = "readlatency", "time from a read's arrival to its reply, in ms";
        RequestThrottleQueueTimeMs = "request_throttle_queue_time_ms", "time a request waited for throttling, in ms";
        ServerWriteCommittedTimeMs = "server_write_committed_time_ms", "time from any write to its commit, in ms";
        SyncProcessorQueueAndFlushTimeMs = "sync_processor_queue_and_flush_time_ms", "time a transaction waited for the log and its fsync, in ms";
        SyncProcessorQueueFlushTimeMs = "sync_processor_queue_flush_time_ms", "time a transaction waited for the fsync, in ms";
        SyncProcessorQueueTimeMs = "sync_processor_queue_time_ms", "time a transaction waited for the log, in ms";
        UpdateLatency = "updatelatency", "time from a write's arrival to its reply, in ms";
        WriteCommitprocTimeMs = "write_commitproc_time_ms", "time a write spent at the commit stage, in ms";
        WriteFinalProcTimeMs = "write_final_proc_time_ms", "time to apply and answer a write, in ms";
    }
}

table! {
    /// Basic summaries per key.
    BasicSet {
        LearnerHandlerQpSize = "learner_handler_qp_size", "packets queued for a learner";
        ReadPerNamespace = "read_per_namespace", "bytes read below a top-level node";
        WritePerNamespace = "write_per_namespace", "bytes written below a top-level node";
    }
}

table! {
    /// Advanced summaries per key.
    AdvancedSet {
        AckLatency = "ack_latency", "time from a proposal to a follower's ACK, in ms";
        LearnerHandlerQpTimeMs = "learner_handler_qp_time_ms", "time a packet waited for a learner, in ms";
    }
}
