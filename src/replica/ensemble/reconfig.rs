//! Changes of the membership, as they concern the state and the clients.

use bytes::Bytes;

use super::Member;
use crate::config::QuorumConfig;
use crate::proto::jute::Jute;
use crate::proto::records::ReconfigRequest;
use crate::replica::membership::{self, Rules, membership};
use crate::replica::prep::Caller;
use crate::state::{Change, StateMachine};
use crate::types::path::CONFIG;
use crate::types::{Code, Now, Zxid};

impl Member {
    /// The same, where the membership may be changed (`reconfigEnabled`).
    pub fn with_reconfig(mut self, rules: Rules) -> Member {
        self.reconfig = Some(rules);
        self
    }

    /// Whether the membership may be changed.
    pub fn may_reconfigure(&self) -> bool {
        self.reconfig.is_some()
    }

    /// What a request for another membership comes to, in Apache's order of the checks; only who may
    /// ask for it comes later.
    pub(super) fn plan_reconfig(
        &self,
        caller: &Caller,
        rules: Rules,
        body: Bytes,
    ) -> Result<QuorumConfig, Code> {
        if caller.session_check != Code::OK {
            return Err(caller.session_check);
        }
        let request = ReconfigRequest::from_bytes(body).map_err(|_| Code::MARSHALLING_ERROR)?;
        if self.peer.is_reconfiguring() {
            return Err(Code::RECONFIG_IN_PROGRESS);
        }
        let current = &self.peer.options().membership;
        if request.config_version != -1 && request.config_version != current.version {
            return Err(Code::BAD_VERSION);
        }
        let text = String::from_utf8_lossy(&current.text);
        let current = QuorumConfig::parse(&text, true).map_err(|_| Code::BAD_ARGUMENTS)?;
        let planned = membership::plan(&request, &current, rules)?;
        if !self.peer.is_quorum_synced(&membership(&planned)) {
            return Err(Code::NEW_CONFIG_NO_QUORUM);
        }
        Ok(planned)
    }
}

/// Puts a config into the tree that no transaction in it has brought: the first one has no
/// transaction at all, and of later ones a server may hear in an election (Apache
/// `initConfigInZKDatabase`).
pub fn bring_config(
    state: &mut StateMachine,
    (text, version): (&[u8], Zxid),
    now: Now,
    changes: &mut Vec<Change>,
) {
    if state.node(CONFIG).is_none_or(|node| node.stat().mzxid < version.0) {
        state.init_config(text, version, now.wall, changes);
    }
}
