//! Access control lists.

/// Permission bits of an ACL entry (Apache `ZooDefs.Perms`).
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
pub struct Perms(pub i32);

impl Perms {
    /// getData, getChildren, exists, getACL.
    pub const READ: Perms = Perms(1);
    /// setData.
    pub const WRITE: Perms = Perms(2);
    /// Creating children.
    pub const CREATE: Perms = Perms(4);
    /// Deleting children.
    pub const DELETE: Perms = Perms(8);
    /// setACL.
    pub const ADMIN: Perms = Perms(16);
    /// Everything.
    pub const ALL: Perms = Perms(31);

    /// Whether any of the bits of `wanted` is there: Apache's check is "any", not "all".
    pub const fn any(self, wanted: Perms) -> bool {
        self.0 & wanted.0 != 0
    }
}

/// An identity: who a connection is, or whom an ACL entry names. Null strings are possible on the
/// wire and are refused before an ACL is stored.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
pub struct Id {
    /// `world`, `digest`, `ip`, ...
    pub scheme: Option<String>,
    /// In the syntax of the scheme.
    pub id: Option<String>,
}

impl Id {
    /// An identity with both halves present.
    pub fn new(scheme: impl Into<String>, id: impl Into<String>) -> Id {
        Id { scheme: Some(scheme.into()), id: Some(id.into()) }
    }

    /// The scheme, empty when null.
    pub fn scheme(&self) -> &str {
        self.scheme.as_deref().unwrap_or("")
    }

    /// The id, empty when null.
    pub fn id(&self) -> &str {
        self.id.as_deref().unwrap_or("")
    }
}

/// One entry of an access control list.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
pub struct Acl {
    /// What is permitted; bits beyond [`Perms::ALL`] are kept as the client sent them.
    pub perms: Perms,
    /// To whom.
    pub id: Id,
}

/// `world:anyone` may do everything: index -1 in snapshots (Apache `Ids.OPEN_ACL_UNSAFE`).
pub fn open_acl() -> Vec<Acl> {
    vec![Acl { perms: Perms::ALL, id: Id::new("world", "anyone") }]
}

/// `world:anyone` may read: the default of `/zookeeper/config` (Apache `Ids.READ_ACL_UNSAFE`).
pub fn read_acl() -> Vec<Acl> {
    vec![Acl { perms: Perms::READ, id: Id::new("world", "anyone") }]
}
