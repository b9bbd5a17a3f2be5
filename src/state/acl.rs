//! Interned access control lists: one copy per distinct list, counted by the nodes that use it
//! (Apache `ReferenceCountedACLCache`).
//!
//! The number of a list is its number in snapshots; the open ACL is number -1 there and never
//! listed. Numbers are reused once no node refers to them.

use std::sync::Arc;

use crate::proto::image::OPEN_ACL_INDEX;
use crate::types::{Acl, Id, Map, Perms, map, open_acl};

/// An interned list.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct AclId(pub u32);

impl AclId {
    /// `world:anyone` may do everything.
    pub const OPEN: AclId = AclId(0);
    /// A fuzzy snapshot of Apache named a list that it does not hold (ZOOKEEPER-4846). Reads
    /// answer MARSHALLINGERROR, as Apache does; nobody is permitted anything, until the log or an
    /// administrator sets the ACL again.
    pub const MISSING: AclId = AclId(1);

    /// The number in snapshots.
    pub fn index(self) -> i64 {
        match self {
            AclId::OPEN => OPEN_ACL_INDEX,
            AclId::MISSING => -2,
            AclId(n) => i64::from(n),
        }
    }
}

#[derive(Debug)]
struct Entry {
    list: Arc<[Acl]>,
    uses: u32,
}

/// Whether it is the one list that most nodes have; found without hashing it.
fn is_open(list: &[Acl]) -> bool {
    let [acl] = list else { return false };
    acl.perms == Perms::ALL && acl.id.scheme() == "world" && acl.id.id() == "anyone"
}

/// All lists in use.
#[derive(Debug)]
pub(super) struct AclTable {
    entries: Vec<Entry>,
    ids: Map<Arc<[Acl]>, AclId>,
    free: Vec<u32>,
}

impl AclTable {
    /// The two that are always there.
    pub fn new() -> AclTable {
        let open: Arc<[Acl]> = open_acl().into();
        let nobody = [Acl { perms: Perms(0), id: Id { scheme: None, id: None } }];
        let entries =
            vec![Entry { list: open, uses: 0 }, Entry { list: nobody.to_vec().into(), uses: 0 }];
        AclTable { entries, ids: map(), free: Vec::new() }
    }

    /// The list's id, with one more use.
    pub fn intern(&mut self, list: &[Acl]) -> AclId {
        if is_open(list) {
            return AclId::OPEN;
        }
        if let Some(&id) = self.ids.get(list) {
            self.add_use(id);
            return id;
        }
        let entry = Entry { list: list.into(), uses: 1 };
        let id = match self.free.pop() {
            Some(n) => AclId(n),
            None => AclId(self.entries.len() as u32),
        };
        self.ids.insert(entry.list.clone(), id);
        match self.entries.get_mut(id.0 as usize) {
            Some(slot) => *slot = entry,
            None => self.entries.push(entry),
        }
        id
    }

    /// Counts one more use.
    pub fn add_use(&mut self, id: AclId) {
        if id > AclId::MISSING {
            self.entries[id.0 as usize].uses += 1;
        }
    }

    /// Counts one use less; a list without uses is forgotten.
    pub fn release(&mut self, id: AclId) {
        if id <= AclId::MISSING {
            return;
        }
        let entry = &mut self.entries[id.0 as usize];
        entry.uses -= 1;
        if entry.uses == 0 {
            self.ids.remove(&entry.list);
            entry.list = Arc::new([]);
            self.free.push(id.0);
        }
    }

    /// The list.
    pub fn get(&self, id: AclId) -> &[Acl] {
        &self.entries[id.0 as usize].list
    }

    /// The list to be kept beyond the node's life; None for the open ACL.
    pub fn share(&self, id: AclId) -> Option<Arc<[Acl]>> {
        (id != AclId::OPEN).then(|| self.entries[id.0 as usize].list.clone())
    }

    /// Lists in use with their numbers in snapshots, ascending; without the open one.
    pub fn listed(&self) -> Vec<(i64, Arc<[Acl]>)> {
        let ids = (2..self.entries.len() as u32).map(AclId);
        ids.filter(|id| self.entries[id.0 as usize].uses > 0)
            .map(|id| (id.index(), self.entries[id.0 as usize].list.clone()))
            .collect()
    }

    /// How often a list is used; 0 for the two special ones.
    #[cfg(test)]
    pub fn uses(&self, id: AclId) -> u32 {
        self.entries[id.0 as usize].uses
    }

    /// Ids of all lists in use but the special ones.
    #[cfg(test)]
    pub fn used_ids(&self) -> Vec<AclId> {
        (2..self.entries.len() as u32)
            .map(AclId)
            .filter(|id| self.entries[id.0 as usize].uses > 0)
            .collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// S13: ten thousand lists, and not one left with the last node that had it.
    #[test]
    fn lists_go_with_their_last_node() {
        let mut table = AclTable::new();
        let list = |n: u32| {
            let acl = |i: u32| Acl { perms: Perms(1), id: Id::new("ip", format!("10.0.{n}.{i}")) };
            (0..50).map(acl).collect::<Vec<_>>()
        };
        for round in 0..3 {
            let ids: Vec<_> = (0..10_000).map(|n| table.intern(&list(n))).collect();
            assert_eq!(table.intern(&list(3)), ids[3], "one copy");
            table.release(ids[3]);
            assert_eq!(table.listed().len(), 10_000);
            ids.into_iter().for_each(|id| table.release(id));
            assert_eq!((table.listed().len(), table.ids.len()), (0, 0));
            assert_eq!(table.entries.len(), 10_002, "numbers are used again in round {round}");
        }
    }
}
