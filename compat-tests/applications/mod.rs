//! Applications whose users would notice first: Kafka in ZooKeeper mode, and HBase. Each runs from
//! its Maven jars on the loopback address against three members, and loses a process of its own and
//! the ensemble's leader on the way.

mod hbase;
mod kafka;

use crate::harness::runner::Suite;
use crate::harness::tools::Level;

/// Adds the cases.
pub fn add(suite: &mut Suite) {
    suite.add("applications", "kafka-3.9.1-short", Level::Ci, || kafka::run(20_000, 2_000));
    suite.add("applications", "kafka-3.9.1", Level::Full, || kafka::run(100_000, 4_000));
    suite.add("applications", "hbase-2.6.1-short", Level::Ci, || hbase::run(5_000));
    suite.add("applications", "hbase-2.6.1", Level::Full, || hbase::run(100_000));
}
