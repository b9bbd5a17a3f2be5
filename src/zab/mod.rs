//! ZooKeeper Atomic Broadcast as a value.
