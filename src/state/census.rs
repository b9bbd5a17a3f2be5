//! How many nodes are below one, counted in steps between which the state may change.

use super::NodeRef;
use super::arena::NONE;
use super::listing::Progress;
use super::removals::Seen;

/// A count under way. Nodes that come and go meanwhile are counted or not, as in Apache, whose count
/// goes over a table that changes.
#[derive(Debug)]
pub struct Census {
    seen: Seen,
    top: u32,
    czxid: i64,
    at: Spot,
    count: usize,
}

/// Where the count has come.
#[derive(Clone, Copy, Debug)]
enum Spot {
    /// At a node that is counted; its children are next.
    Counted(u32),
    /// In the list of children of `parent`, before `next`.
    Before { parent: u32, next: u32 },
}

impl Census {
    /// Begins below `node`.
    pub fn begin(node: &NodeRef) -> Census {
        let tree = &node.state.tree;
        Census {
            seen: tree.removals.seen(),
            top: node.id,
            czxid: tree.nodes[node.id].czxid,
            at: Spot::Counted(node.id),
            count: 0,
        }
    }

    /// Nodes so far.
    pub fn count(&self) -> usize {
        self.count
    }

    /// Goes on by up to `max` nodes; `node` is what is at the path now.
    pub fn step(&mut self, node: &NodeRef, max: usize) -> Progress {
        let tree = &node.state.tree;
        if node.id != self.top || tree.nodes[node.id].czxid != self.czxid {
            return Progress::Restart;
        }
        let Some(removals) = tree.removals.since(&mut self.seen) else {
            return Progress::Restart;
        };
        for removal in removals.filter(|removal| removal.next != removal.id) {
            let beyond = Spot::Before { parent: removal.parent, next: removal.next };
            self.at = match self.at {
                Spot::Counted(id) if id == removal.id => beyond,
                Spot::Before { next, .. } if next == removal.id => beyond,
                Spot::Before { parent, .. } if parent == removal.id => beyond,
                at => at,
            };
        }
        for _ in 0..max {
            let (mut parent, mut next) = match self.at {
                Spot::Counted(id) => (id, tree.nodes[id].first_child),
                Spot::Before { parent, next } => (parent, next),
            };
            // A step's share is of nodes looked at, dead ones and ancestors too.
            if next != NONE {
                self.at = Spot::Counted(next);
                if tree.nodes[next].is_dead() {
                    continue;
                }
                self.count += 1;
                continue;
            }
            if parent == self.top {
                return Progress::Done;
            }
            (next, parent) = (tree.nodes[parent].next, tree.nodes[parent].parent);
            self.at = Spot::Before { parent, next };
        }
        Progress::More
    }
}
