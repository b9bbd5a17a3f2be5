//! Changes of the membership: the last steps of preparing one.

use bytes::Bytes;

use super::{Caller, Prep, Work};
use crate::config::QuorumConfig;
use crate::proto::opcode::OpCode;
use crate::proto::txn::{Txn, TxnEntry};
use crate::state::StateMachine;
use crate::types::{Code, Perms, WallTime, path};

impl Prep {
    /// Prepares a change of the membership, or says why there is none. The config's version is the
    /// transaction's zxid, its node's version stays -1. That the caller may write the node is checked
    /// last, as in Apache.
    pub fn reconfig(
        &mut self,
        state: &StateMachine,
        caller: &Caller,
        time: WallTime,
        planned: Result<QuorumConfig, Code>,
    ) -> TxnEntry {
        let zxid = self.next();
        if self.overlay.is_empty() {
            self.digest = state.digest();
        }
        let work = Work { state, caller, zxid, time };
        let outcome = planned.and_then(|mut config| {
            config.version = zxid.0;
            let mut node = self.find(&work, path::CONFIG).ok_or(Code::NO_NODE)?;
            self.permit(&work, &node, Perms::WRITE)?;
            let data = Bytes::from(config.to_string());
            node.stat.version = -1;
            node.stat.mzxid = zxid.0;
            node.stat.mtime = time.0;
            node.data_len = data.len();
            self.change(&work, path::CONFIG, node);
            Ok(Txn::SetData { path: path::CONFIG.to_string(), data: Some(data), version: -1 })
        });
        self.finish(&work, OpCode::RECONFIG, outcome)
    }
}
