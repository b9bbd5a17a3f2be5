//! Text to configuration, once, at start; immutable afterwards.
//!
//! ```text
//! bytes --properties--> (key, value, line)* --zoo_cfg + table--> Config (settings)
//!                                              \--dynamic--> QuorumConfig (server.N, group, weight)
//! ```
//!
//! Everything here is a function of its input: the few files a configuration names (`myid`, the
//! dynamic file) are read through the [`Files`] trait, whose one real implementation is
//! [`files::RealFiles`]. The table in [`table`] is the single list of every key and system property
//! that Apache ZooKeeper 3.9 knows, with type, default and what rookeeper does with it.
//!
//! Must not know: sockets, clocks, the data tree, Zab. Modules take their own small `Options`, made
//! from a [`Config`] by the shell.

pub mod diagnostic;
pub mod dynamic;
pub mod files;
pub mod host;
pub mod properties;
pub mod settings;
pub mod table;
pub mod version;
pub mod zoo_cfg;

pub use diagnostic::{ConfigErrors, Diagnostic, Origin, Severity, Warning};
pub use dynamic::{Member, MemberAddress, QuorumConfig, QuorumRule, Role};
pub use files::{Files, RealFiles};
pub use settings::*;
pub use version::CompatVersion;
pub use zoo_cfg::{Loaded, Overrides, Setting, load_defaults, load_file, load_positional};
