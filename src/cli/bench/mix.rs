//! What a load consists of: kinds of operations with weights, and their prepared requests.

use std::fmt;
use std::str::FromStr;

use bytes::Bytes;

use crate::client::pipe::{Pipe, Prepared};
use crate::proto::multi::{Op, write_ops};
use crate::proto::opcode::OpCode;
use crate::proto::records::{
    CreateRequest, DeleteRequest, PathRecord, ReadRequest, SetDataRequest,
};
use crate::types::open_acl;

/// One kind of operation.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Kind {
    /// getData of a random node.
    Get,
    /// exists of a random node.
    Exists,
    /// getChildren of a random parent.
    Children,
    /// create of a new node.
    Create,
    /// setData of a random node.
    Set,
    /// delete of a node that this connection created (creates one when there is none).
    Delete,
    /// create of an ephemeral node and delete of it, in turn.
    Ephemeral,
    /// setData of several random nodes in one multi.
    Multi,
    /// sync.
    Sync,
    /// getData with a watch.
    Watch,
}

impl Kind {
    /// All kinds, in the order of their numbers.
    pub const ALL: [Kind; 10] = [
        Kind::Get,
        Kind::Exists,
        Kind::Children,
        Kind::Create,
        Kind::Set,
        Kind::Delete,
        Kind::Ephemeral,
        Kind::Multi,
        Kind::Sync,
        Kind::Watch,
    ];

    /// As written in a mix.
    pub fn label(self) -> &'static str {
        match self {
            Kind::Get => "get",
            Kind::Exists => "exists",
            Kind::Children => "children",
            Kind::Create => "create",
            Kind::Set => "set",
            Kind::Delete => "delete",
            Kind::Ephemeral => "ephemeral",
            Kind::Multi => "multi",
            Kind::Sync => "sync",
            Kind::Watch => "watch",
        }
    }
}

/// Operations with weights, as in `get=90,set=10` or `multi:4`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Mix {
    entries: Vec<(Kind, u32)>,
    total: u32,
    /// Operations in one multi.
    pub multi_size: usize,
}

/// Why a text is not a mix.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{part:?} is not an operation with a weight, such as get=90 or multi:4=10")]
pub struct MixError {
    part: String,
}

impl FromStr for Mix {
    type Err = MixError;

    fn from_str(text: &str) -> Result<Mix, MixError> {
        let mut mix = Mix { entries: Vec::new(), total: 0, multi_size: 4 };
        for part in text.split(',') {
            let error = || MixError { part: part.to_owned() };
            let (name, weight) = part.trim().split_once('=').unwrap_or((part.trim(), "1"));
            let (name, size) = name.split_once(':').map_or((name, None), |(n, s)| (n, Some(s)));
            let kind = Kind::ALL.into_iter().find(|k| k.label() == name).ok_or_else(error)?;
            let weight: u32 = weight.parse().map_err(|_| error())?;
            match (kind, size) {
                (_, None) => {}
                (Kind::Multi, Some(size)) => {
                    mix.multi_size = size.parse().ok().filter(|&n| n > 0).ok_or_else(error)?;
                }
                _ => return Err(error()),
            }
            mix.total = mix.total.checked_add(weight).ok_or_else(error)?;
            mix.entries.push((kind, weight));
        }
        if mix.total == 0 {
            return Err(MixError { part: text.to_owned() });
        }
        Ok(mix)
    }
}

impl fmt::Display for Mix {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (i, (kind, weight)) in self.entries.iter().enumerate() {
            let comma = if i == 0 { "" } else { "," };
            match kind {
                Kind::Multi => write!(f, "{comma}multi:{}={weight}", self.multi_size)?,
                _ => write!(f, "{comma}{}={weight}", kind.label())?,
            }
        }
        Ok(())
    }
}

impl Mix {
    /// Draws a kind.
    pub fn pick(&self, random: &mut Random) -> Kind {
        if let [(kind, _)] = self.entries[..] {
            return kind;
        }
        let mut draw = random.below(self.total.into()) as u32;
        for &(kind, weight) in &self.entries {
            if draw < weight {
                return kind;
            }
            draw -= weight;
        }
        self.entries[0].0
    }

    /// Whether any operation makes nodes of its own.
    pub fn creates(&self) -> bool {
        let own = [Kind::Create, Kind::Delete, Kind::Ephemeral];
        self.entries.iter().any(|(kind, _)| own.contains(kind))
    }
}

/// A small fast generator (xorshift64*), for choosing nodes.
#[derive(Clone, Debug)]
pub struct Random(u64);

impl Random {
    /// A generator for any seed.
    pub fn new(seed: u64) -> Random {
        Random(seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1)
    }

    /// A number below `bound`, which is not 0; the bias is that of a multiplication.
    pub fn below(&mut self, bound: u64) -> u64 {
        self.0 ^= self.0 >> 12;
        self.0 ^= self.0 << 25;
        self.0 ^= self.0 >> 27;
        let high = self.0.wrapping_mul(0x2545_f491_4f6c_dd1d) >> 32;
        (high * (bound & 0xffff_ffff)) >> 32
    }
}

/// The nodes of a run: `<root>/dDDDDDDD/nNNNNNNNNNN`, so that no parent has more children than
/// wanted and every path has the same length.
#[derive(Clone, Debug)]
pub struct Nodes {
    /// A path that the run owns.
    pub root: String,
    /// How many nodes, at least 1.
    pub count: u64,
    /// Children per parent, at least 1.
    pub per_parent: u64,
    /// Bytes of data in each.
    pub size: usize,
    /// What connections create themselves goes below the first parent, beside its nodes, and not
    /// each to a parent of its own; for up to 500 connections.
    pub crowded: bool,
}

const DIR_DIGITS: usize = 7;
const NODE_DIGITS: usize = 10;

impl Nodes {
    /// How many parents.
    pub fn parents(&self) -> u64 {
        self.count.div_ceil(self.per_parent)
    }

    /// The path of parent number `i`.
    pub fn parent(&self, i: u64) -> String {
        format!("{}/d{i:07}", self.root)
    }

    /// The path of node number `i`.
    pub fn node(&self, i: u64) -> String {
        format!("{}/n{i:010}", self.parent(i / self.per_parent))
    }

    /// The parent of what connection `i` creates itself.
    pub fn own(&self, i: usize) -> String {
        match self.crowded {
            true => self.parent(0),
            false => format!("{}/w{i:06}", self.root),
        }
    }

    /// The data of every node.
    pub fn data(&self) -> Bytes {
        vec![b'x'; self.size].into()
    }

    /// A create of `path`.
    pub fn create(&self, path: String, data: Bytes, flags: i32) -> Prepared {
        let request =
            CreateRequest { path: Some(path), data: Some(data), acl: Some(open_acl()), flags };
        Prepared::new(OpCode::CREATE, &request)
    }
}

/// A prepared request and where its numbers go.
#[derive(Clone, Debug)]
struct Template {
    request: Prepared,
    dirs: Vec<usize>,
    nodes: Vec<usize>,
}

impl Template {
    fn new(request: Prepared) -> Template {
        let after = |text: &str| request.find_all(text).iter().map(|at| at + 2).collect();
        let dirs = after("/d0000000");
        let nodes = after("/n0000000000");
        Template { request, dirs, nodes }
    }

    fn push(&self, pipe: &mut Pipe, nodes: &Nodes, random: &mut Random) {
        let mut slots = [(0, 0, 0); 64];
        let mut used = 0;
        for (i, &at) in self.dirs.iter().enumerate().take(32) {
            let node = random.below(nodes.count);
            slots[used] = (at, DIR_DIGITS, node / nodes.per_parent);
            used += 1;
            if let Some(&at) = self.nodes.get(i) {
                slots[used] = (at, NODE_DIGITS, node);
                used += 1;
            }
        }
        pipe.push_numbered(&self.request, &slots[..used]);
    }
}

/// The requests of one run, and what their replies must look like.
#[derive(Clone, Debug)]
pub struct Requests {
    nodes: Nodes,
    get: Template,
    watch: Template,
    exists: Template,
    children: Template,
    set: Template,
    multi: Template,
    sync: Template,
}

/// What one connection has created itself.
#[derive(Debug)]
pub struct Own {
    create: Prepared,
    ephemeral: Prepared,
    delete: Prepared,
    at_create: usize,
    at_ephemeral: usize,
    at_delete: usize,
    next: u64,
    live: std::collections::VecDeque<u64>,
    ephemerals: std::collections::VecDeque<u64>,
    reply: usize,
}

impl Own {
    /// For connection number `connection`.
    pub fn new(nodes: &Nodes, connection: usize) -> Own {
        let path = format!("{}/n0000000000", nodes.own(connection));
        let create = nodes.create(path.clone(), nodes.data(), 0);
        let ephemeral = nodes.create(path.clone(), nodes.data(), 1);
        let reply = path.len() + 4;
        let delete =
            Prepared::new(OpCode::DELETE, &DeleteRequest { path: Some(path), version: -1 });
        let at = |request: &Prepared| request.find("/n0000000000").map_or(0, |at| at + 2);
        Own {
            at_create: at(&create),
            at_ephemeral: at(&ephemeral),
            at_delete: at(&delete),
            create,
            ephemeral,
            delete,
            next: if nodes.crowded { 4_000_000_000 + connection as u64 * 10_000_000 } else { 0 },
            live: Default::default(),
            ephemerals: Default::default(),
            reply,
        }
    }

    fn push_create(&mut self, pipe: &mut Pipe) {
        pipe.push_numbered(&self.create, &[(self.at_create, NODE_DIGITS, self.next)]);
        self.live.push_back(self.next);
        self.next += 1;
    }

    /// How many nodes there are to delete.
    pub fn live_count(&self) -> u64 {
        self.live.len() as u64
    }

    /// Queues the delete of the oldest node; false when there is none.
    pub fn push_delete(&mut self, pipe: &mut Pipe) -> bool {
        let Some(node) = self.live.pop_front() else { return false };
        pipe.push_numbered(&self.delete, &[(self.at_delete, NODE_DIGITS, node)]);
        true
    }
}

/// The length of a reply's body that an operation must have, where it is known.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Expect {
    /// Exactly so many bytes.
    Bytes(usize),
    /// Any body.
    Any,
    /// Results of setData in a multi: no error result.
    Sets,
}

impl Requests {
    /// The requests over `nodes`.
    pub fn new(nodes: &Nodes, multi_size: usize) -> Requests {
        let path = nodes.node(0);
        let read = |opcode, path: &str, watch| {
            let request = ReadRequest { path: Some(path.to_owned()), watch };
            Template::new(Prepared::new(opcode, &request))
        };
        let set =
            SetDataRequest { path: Some(path.clone()), data: Some(nodes.data()), version: -1 };
        let sets = vec![Op::SetData(set.clone()); multi_size];
        Requests {
            get: read(OpCode::GET_DATA, &path, false),
            watch: read(OpCode::GET_DATA, &path, true),
            exists: read(OpCode::EXISTS, &path, false),
            children: read(OpCode::GET_CHILDREN, &nodes.parent(0), false),
            set: Template::new(Prepared::new(OpCode::SET_DATA, &set)),
            multi: Template::new(Prepared::with(OpCode::MULTI, |w| write_ops(w, &sets))),
            sync: Template::new(Prepared::new(
                OpCode::SYNC,
                &PathRecord { path: Some(path.clone()) },
            )),
            nodes: nodes.clone(),
        }
    }

    /// Queues one request of `kind` and says what its reply must be.
    pub fn push(
        &self,
        kind: Kind,
        pipe: &mut Pipe,
        own: Option<&mut Own>,
        random: &mut Random,
    ) -> Expect {
        const STAT: usize = 68;
        let data = Expect::Bytes(4 + self.nodes.size + STAT);
        let (template, expect) = match kind {
            Kind::Get => (&self.get, data),
            Kind::Watch => (&self.watch, data),
            Kind::Exists => (&self.exists, Expect::Bytes(STAT)),
            Kind::Children => (&self.children, Expect::Any),
            Kind::Set => (&self.set, Expect::Bytes(STAT)),
            Kind::Multi => (&self.multi, Expect::Sets),
            Kind::Sync => (&self.sync, Expect::Any),
            Kind::Create | Kind::Delete | Kind::Ephemeral => {
                return own.map_or(Expect::Any, |own| push_own(kind, pipe, own));
            }
        };
        template.push(pipe, &self.nodes, random);
        expect
    }
}

fn push_own(kind: Kind, pipe: &mut Pipe, own: &mut Own) -> Expect {
    let created = Expect::Bytes(own.reply);
    match kind {
        Kind::Delete if own.push_delete(pipe) => Expect::Bytes(0),
        Kind::Ephemeral => {
            if let Some(node) = own.ephemerals.pop_front() {
                pipe.push_numbered(&own.delete, &[(own.at_delete, NODE_DIGITS, node)]);
                return Expect::Bytes(0);
            }
            pipe.push_numbered(&own.ephemeral, &[(own.at_ephemeral, NODE_DIGITS, own.next)]);
            own.ephemerals.push_back(own.next);
            own.next += 1;
            created
        }
        _ => {
            own.push_create(pipe);
            created
        }
    }
}
