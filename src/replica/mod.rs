//! The ZooKeeper server as one deterministic value.
