//! Transaction logs, snapshots and epoch files, in Apache's formats.
