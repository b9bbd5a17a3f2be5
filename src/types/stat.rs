//! What is known of a znode beside its data, and what its owner field encodes.

use super::SessionId;

/// The stat of a znode as clients see it (68 bytes on the wire).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default)]
pub struct Stat {
    /// zxid of the creation.
    pub czxid: i64,
    /// zxid of the last change of the data.
    pub mzxid: i64,
    /// Wall time of the creation, ms since 1970.
    pub ctime: i64,
    /// Wall time of the last change of the data, ms since 1970.
    pub mtime: i64,
    /// Changes of the data.
    pub version: i32,
    /// Changes of the children: twice the creations minus the children there are.
    pub cversion: i32,
    /// Changes of the ACL.
    pub aversion: i32,
    /// The session of an ephemeral node, 0 for every other kind.
    pub ephemeral_owner: i64,
    /// Bytes of data, 0 for null.
    pub data_length: i32,
    /// Children.
    pub num_children: i32,
    /// zxid of the last creation or deletion of a child.
    pub pzxid: i64,
}

/// The stat of a znode as it is kept in memory and in snapshots (60 bytes in a file).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default)]
pub struct StatPersisted {
    /// zxid of the creation.
    pub czxid: i64,
    /// zxid of the last change of the data.
    pub mzxid: i64,
    /// Wall time of the creation, ms since 1970.
    pub ctime: i64,
    /// Wall time of the last change of the data, ms since 1970.
    pub mtime: i64,
    /// Changes of the data.
    pub version: i32,
    /// Creations of children, the source of sequence numbers; not what clients see.
    pub cversion: i32,
    /// Changes of the ACL.
    pub aversion: i32,
    /// Session, container mark or TTL, see [`OwnerKind`].
    pub ephemeral_owner: i64,
    /// zxid of the last creation or deletion of a child.
    pub pzxid: i64,
}

impl StatPersisted {
    /// The client's view: `cversion` becomes 2 x creations - children (32-bit wrap), and only a
    /// plain ephemeral shows its owner (Apache `DataNode.copyStat`).
    pub fn to_client(self, data_length: usize, num_children: usize, rules: OwnerRules) -> Stat {
        let ephemeral_owner = match rules.kind(self.ephemeral_owner) {
            OwnerKind::Ephemeral(session) => session.0,
            _ => 0,
        };
        Stat {
            czxid: self.czxid,
            mzxid: self.mzxid,
            ctime: self.ctime,
            mtime: self.mtime,
            version: self.version,
            cversion: self.cversion.wrapping_mul(2).wrapping_sub(num_children as u32 as i32),
            aversion: self.aversion,
            ephemeral_owner,
            data_length: i32::try_from(data_length).unwrap_or(i32::MAX),
            num_children: i32::try_from(num_children).unwrap_or(i32::MAX),
            pzxid: self.pzxid,
        }
    }
}

/// What kind of node an owner field says (Apache `EphemeralType`).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum OwnerKind {
    /// An ordinary node.
    Persistent,
    /// Belongs to a session.
    Ephemeral(SessionId),
    /// Deleted once it has had children and has none any more.
    Container,
    /// Deleted when childless and unchanged for this many milliseconds.
    Ttl(i64),
}

/// How owner fields are read: depends on two settings of the server.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default)]
pub struct OwnerRules {
    /// `zookeeper.extendedTypesEnabled`: TTL nodes exist.
    pub extended_types: bool,
    /// `zookeeper.emulate353TTLNodes`: any negative owner is a TTL.
    pub emulate_353: bool,
}

impl OwnerRules {
    /// The owner of container nodes.
    pub const CONTAINER: i64 = i64::MIN;
    /// Set in the owner of TTL nodes, with the TTL in the low 40 bits.
    pub const TTL_MASK: i64 = 0xFF00_0000_0000_0000_u64 as i64;
    /// The longest TTL, ms.
    pub const TTL_MAX: i64 = 0xFF_FFFF_FFFF;

    /// The kind that `owner` stands for. With extended types on, a TTL-marked owner whose feature
    /// id is unknown (bits 40 to 55) reads as persistent: Apache would throw.
    pub fn kind(self, owner: i64) -> OwnerKind {
        if owner == 0 {
            OwnerKind::Persistent
        } else if owner == Self::CONTAINER {
            OwnerKind::Container
        } else if self.extended_types {
            if self.emulate_353 && owner < 0 && owner & Self::TTL_MASK != Self::TTL_MASK {
                OwnerKind::Ttl(owner & i64::MAX)
            } else if owner & Self::TTL_MASK == Self::TTL_MASK {
                if owner & 0x00FF_FF00_0000_0000 == 0 {
                    OwnerKind::Ttl(owner & Self::TTL_MAX)
                } else {
                    OwnerKind::Persistent
                }
            } else {
                OwnerKind::Ephemeral(SessionId(owner))
            }
        } else {
            OwnerKind::Ephemeral(SessionId(owner))
        }
    }

    /// The owner of a TTL node of `ttl_ms`, 1 to [`OwnerRules::TTL_MAX`].
    pub fn ttl_owner(ttl_ms: i64) -> i64 {
        Self::TTL_MASK | (ttl_ms & Self::TTL_MAX)
    }
}

/// The flags of a create request (Apache `CreateMode`).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum CreateMode {
    /// 0
    Persistent,
    /// 1
    Ephemeral,
    /// 2
    PersistentSequential,
    /// 3
    EphemeralSequential,
    /// 4
    Container,
    /// 5
    PersistentTtl,
    /// 6
    PersistentSequentialTtl,
}

impl CreateMode {
    /// The mode of wire flags, None when there is no such mode.
    pub fn from_flags(flags: i32) -> Option<CreateMode> {
        Some(match flags {
            0 => CreateMode::Persistent,
            1 => CreateMode::Ephemeral,
            2 => CreateMode::PersistentSequential,
            3 => CreateMode::EphemeralSequential,
            4 => CreateMode::Container,
            5 => CreateMode::PersistentTtl,
            6 => CreateMode::PersistentSequentialTtl,
            _ => return None,
        })
    }

    /// Whether the name gets a suffix.
    pub fn is_sequential(self) -> bool {
        matches!(
            self,
            CreateMode::PersistentSequential
                | CreateMode::EphemeralSequential
                | CreateMode::PersistentSequentialTtl
        )
    }

    /// Whether the node belongs to the session.
    pub fn is_ephemeral(self) -> bool {
        matches!(self, CreateMode::Ephemeral | CreateMode::EphemeralSequential)
    }

    /// Whether the mode carries a TTL.
    pub fn is_ttl(self) -> bool {
        matches!(self, CreateMode::PersistentTtl | CreateMode::PersistentSequentialTtl)
    }
}
