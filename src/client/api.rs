//! The handle that users hold: every operation, typed.

use std::sync::Arc;

use bytes::{Bytes, BytesMut};
use tokio::sync::{mpsc, oneshot, watch};

use super::driver::{Command, Driver, Reply, strip_chroot};
use super::multi::read_results;
use super::watches::Effect;
use super::{AddWatchMode, Error, Events, OpResult, Options, State, Status, WatcherType};
use crate::proto::frame;
use crate::proto::jute::{Jute, Reader, Write};
use crate::proto::multi::{Op, write_ops};
use crate::proto::opcode::OpCode;
use crate::proto::records::{
    AclResponse, Children2Response, ClientInfo, CountResponse, Create2Response, CreateRequest,
    CreateTtlRequest, DataResponse, DeleteRequest, NamesResponse, PathRecord, ReadRequest,
    ReconfigRequest, RequestHeader, SetAclRequest, SetDataRequest, StatResponse, WatchRequest,
    WhoAmIResponse,
};
use crate::types::{Acl, Code, CreateMode, Stat, path};

/// Requests waiting between handles and their task.
const INBOX: usize = 1024;
/// Events waiting for the user.
const EVENTS: usize = 1024;

/// A session with an ensemble. Cheap to clone; all clones share the session and the order of
/// requests. When the last one is dropped the session is closed.
///
/// Every operation takes paths relative to the chroot and can end in [`Error::ConnectionLoss`] (the
/// outcome of a write is then unknown), [`Error::SessionExpired`], [`Error::Closed`],
/// [`Error::InvalidPath`], or [`Error::Code`] with the server's code. Requests are sent in the
/// order in which the calls' futures are first polled, and answered in that order.
#[derive(Clone, Debug)]
pub struct Client {
    commands: mpsc::Sender<Command>,
    status: watch::Receiver<Status>,
    chroot: Arc<str>,
}

/// A change of an ensemble's membership; see Apache's `ZooKeeperAdmin.reconfigure`.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ReconfigChange {
    /// `server.N=...` lines, comma separated, to add or change.
    pub joining: Option<String>,
    /// Ids to remove, comma separated.
    pub leaving: Option<String>,
    /// A whole membership instead of the two above.
    pub new_members: Option<String>,
}

impl Client {
    /// Starts a client without waiting for a connection. Must be called within a tokio runtime.
    pub fn start(options: Options) -> (Client, Events) {
        let (commands, inbox) = mpsc::channel(INBOX);
        let (events_in, events) = mpsc::channel(EVENTS);
        let (session, passwd) = options.renew.clone().unwrap_or_default();
        let (status_in, status) = watch::channel(Status {
            state: State::Connecting,
            session,
            passwd,
            timeout_ms: 0,
            server: String::new(),
        });
        let chroot = options.connect.chroot.as_str().into();
        tokio::spawn(Driver::new(options, inbox, events_in, status_in).run());
        (Client { commands, status, chroot }, events)
    }

    /// Starts a client and waits until it is connected, at most for the session timeout.
    ///
    /// # Errors
    /// [`Error::ConnectionLoss`] when no server took the session in time; [`Error::SessionExpired`]
    /// when the session to renew is over; [`Error::AuthFailed`].
    pub async fn connect(options: Options) -> Result<(Client, Events), Error> {
        let patience = options.session_timeout;
        let (client, events) = Client::start(options);
        match tokio::time::timeout(patience, client.connected()).await {
            Ok(Ok(())) => Ok((client, events)),
            Ok(Err(error)) => Err(error),
            Err(_) => Err(Error::ConnectionLoss),
        }
    }

    /// Waits until the client is connected.
    ///
    /// # Errors
    /// [`Error::SessionExpired`], [`Error::AuthFailed`] or [`Error::Closed`] when it never will be.
    pub async fn connected(&self) -> Result<(), Error> {
        let mut status = self.status.clone();
        let over = |state| match state {
            State::Expired => Error::SessionExpired,
            State::AuthFailed => Error::AuthFailed,
            _ => Error::Closed,
        };
        let state = status
            .wait_for(|status| status.state.is_connected() || status.state.is_over())
            .await
            .map(|status| status.state)
            .unwrap_or(State::Closed);
        if state.is_connected() { Ok(()) } else { Err(over(state)) }
    }

    /// The session and the connection's state, now.
    pub fn status(&self) -> Status {
        self.status.borrow().clone()
    }

    /// A receiver of every change of the status.
    pub fn status_changes(&self) -> watch::Receiver<Status> {
        self.status.clone()
    }

    /// The prefix of all paths, empty for none.
    pub fn chroot(&self) -> &str {
        &self.chroot
    }

    /// Closes the session, with its ephemeral nodes; returns when the server has confirmed it or
    /// is gone.
    pub async fn close(&self) {
        let (done, wait) = oneshot::channel();
        if self.commands.send(Command::Close { done }).await.is_ok() {
            let _ = wait.await;
        }
    }

    /// Breaks the connection as if the network had; the client reconnects and renews its session.
    /// For tests.
    pub async fn disconnect(&self) {
        let _ = self.commands.send(Command::Disconnect).await;
    }

    /// Presents a further identity, now and on every later connection. For `digest`, `auth` is
    /// `user:password`.
    pub async fn add_auth(&self, scheme: &str, auth: impl Into<Bytes>) -> Result<(), Error> {
        let (done, wait) = oneshot::channel();
        let command = Command::Auth { scheme: scheme.to_owned(), auth: auth.into(), done };
        self.commands.send(command).await.map_err(|_| self.gone())?;
        wait.await.map_err(|_| self.gone())?
    }

    /// Sends a request of any opcode with a ready body and returns whatever the server answers;
    /// paths in it are the server's.
    pub async fn raw(&self, opcode: OpCode, body: &[u8]) -> Result<Reply, Error> {
        self.send(opcode, Effect::None, |w| w.extend_from_slice(body)).await
    }

    /// Creates a node and returns its path, with the suffix when sequential. Null data (None) and
    /// empty data differ. TTL modes need [`Client::create_ttl`].
    pub async fn create(
        &self,
        path: &str,
        data: Option<&[u8]>,
        acl: Vec<Acl>,
        mode: CreateMode,
    ) -> Result<String, Error> {
        if mode == CreateMode::Container {
            return Ok(self.create_stat(path, data, acl, mode).await?.0);
        }
        let request = self.create_request(path, data, acl, mode)?;
        let reply: PathRecord = self.call(OpCode::CREATE, path, &request, Effect::None).await?;
        Ok(self.strip(reply.path))
    }

    /// As [`Client::create`], and returns the new node's stat (create2, createContainer).
    pub async fn create_stat(
        &self,
        path: &str,
        data: Option<&[u8]>,
        acl: Vec<Acl>,
        mode: CreateMode,
    ) -> Result<(String, Stat), Error> {
        let request = self.create_request(path, data, acl, mode)?;
        let opcode = match mode {
            CreateMode::Container => OpCode::CREATE_CONTAINER,
            _ => OpCode::CREATE2,
        };
        let reply: Create2Response = self.call(opcode, path, &request, Effect::None).await?;
        Ok((self.strip(reply.path), reply.stat))
    }

    /// Creates a node that goes away when it has had no children and no change for `ttl_ms`
    /// (1 to 1,099,511,627,775); `mode` is one of the two TTL modes.
    pub async fn create_ttl(
        &self,
        path: &str,
        data: Option<&[u8]>,
        acl: Vec<Acl>,
        mode: CreateMode,
        ttl_ms: i64,
    ) -> Result<(String, Stat), Error> {
        let CreateRequest { path: full, data, acl, flags } =
            self.create_request(path, data, acl, mode)?;
        let request = CreateTtlRequest { path: full, data, acl, flags, ttl: ttl_ms };
        let reply: Create2Response =
            self.call(OpCode::CREATE_TTL, path, &request, Effect::None).await?;
        Ok((self.strip(reply.path), reply.stat))
    }

    /// Deletes a node; `version` must be the node's, or [`super::ANY_VERSION`].
    pub async fn delete(&self, path: &str, version: i32) -> Result<(), Error> {
        let request = DeleteRequest { path: Some(self.full(path)?), version };
        self.call(OpCode::DELETE, path, &request, Effect::None).await
    }

    /// The node's stat, or None when it does not exist; the watch is left in both cases.
    pub async fn exists(&self, path: &str, watch: bool) -> Result<Option<Stat>, Error> {
        let full = self.full(path)?;
        let effect = if watch { Effect::Exists(full.clone()) } else { Effect::None };
        let request = ReadRequest { path: Some(full), watch };
        match self.call::<StatResponse>(OpCode::EXISTS, path, &request, effect).await {
            Ok(reply) => Ok(Some(reply.stat)),
            Err(Error::Code { code: Code::NO_NODE, .. }) => Ok(None),
            Err(error) => Err(error),
        }
    }

    /// A node's data and stat.
    pub async fn get(&self, path: &str, watch: bool) -> Result<(Option<Bytes>, Stat), Error> {
        let full = self.full(path)?;
        let effect = if watch { Effect::Data(full.clone()) } else { Effect::None };
        let request = ReadRequest { path: Some(full), watch };
        let reply: DataResponse = self.call(OpCode::GET_DATA, path, &request, effect).await?;
        Ok((reply.data, reply.stat))
    }

    /// Sets a node's data; `version` must be the node's, or [`super::ANY_VERSION`].
    pub async fn set(&self, path: &str, data: Option<&[u8]>, version: i32) -> Result<Stat, Error> {
        let data = data.map(Bytes::copy_from_slice);
        let request = SetDataRequest { path: Some(self.full(path)?), data, version };
        let reply: StatResponse = self.call(OpCode::SET_DATA, path, &request, Effect::None).await?;
        Ok(reply.stat)
    }

    /// A node's ACL and stat.
    pub async fn acl(&self, path: &str) -> Result<(Vec<Acl>, Stat), Error> {
        let request = PathRecord { path: Some(self.full(path)?) };
        let reply: AclResponse = self.call(OpCode::GET_ACL, path, &request, Effect::None).await?;
        Ok((reply.acl.unwrap_or_default(), reply.stat))
    }

    /// Replaces a node's ACL; `version` must be the node's aversion, or [`super::ANY_VERSION`].
    pub async fn set_acl(&self, path: &str, acl: Vec<Acl>, version: i32) -> Result<Stat, Error> {
        let request = SetAclRequest { path: Some(self.full(path)?), acl: Some(acl), version };
        let reply: StatResponse = self.call(OpCode::SET_ACL, path, &request, Effect::None).await?;
        Ok(reply.stat)
    }

    /// The names of a node's children, in no particular order.
    pub async fn children(&self, path: &str, watch: bool) -> Result<Vec<String>, Error> {
        let full = self.full(path)?;
        let effect = if watch { Effect::Children(full.clone()) } else { Effect::None };
        let request = ReadRequest { path: Some(full), watch };
        let reply: NamesResponse = self.call(OpCode::GET_CHILDREN, path, &request, effect).await?;
        Ok(reply.names.unwrap_or_default())
    }

    /// As [`Client::children`], with the parent's stat (getChildren2).
    pub async fn children_stat(
        &self,
        path: &str,
        watch: bool,
    ) -> Result<(Vec<String>, Stat), Error> {
        let full = self.full(path)?;
        let effect = if watch { Effect::Children(full.clone()) } else { Effect::None };
        let request = ReadRequest { path: Some(full), watch };
        let reply: Children2Response =
            self.call(OpCode::GET_CHILDREN2, path, &request, effect).await?;
        Ok((reply.children.unwrap_or_default(), reply.stat))
    }

    /// Executes all operations or none. A failed multi is `Ok` too, with [`OpResult::Error`] for
    /// every operation; see [`OpResult::Error`] for how to find the culprit.
    pub async fn multi(&self, ops: Vec<Op>) -> Result<Vec<OpResult>, Error> {
        self.multi_of(OpCode::MULTI, ops).await
    }

    /// Executes getData and getChildren operations; each has its own result.
    pub async fn multi_read(&self, ops: Vec<Op>) -> Result<Vec<OpResult>, Error> {
        self.multi_of(OpCode::MULTI_READ, ops).await
    }

    async fn multi_of(&self, opcode: OpCode, mut ops: Vec<Op>) -> Result<Vec<OpResult>, Error> {
        for op in &mut ops {
            let path = match op {
                Op::Create(_, r) => &mut r.path,
                Op::CreateTtl(r) => &mut r.path,
                Op::Delete(r) => &mut r.path,
                Op::SetData(r) => &mut r.path,
                Op::Check(r) => &mut r.path,
                Op::GetData(r) | Op::GetChildren(r) => &mut r.path,
            };
            if !self.chroot.is_empty() {
                *path = Some(self.prefix(path.as_deref().unwrap_or_default()));
            }
        }
        let reply = self.send(opcode, Effect::None, |w| write_ops(w, &ops)).await?;
        let body = expect_ok(reply, "")?;
        let mut results = read_results(&mut Reader::new(body))?;
        for result in &mut results {
            if let OpResult::Created(path) | OpResult::CreatedStat(path, _) = result {
                *path = strip_chroot(&self.chroot, std::mem::take(path));
            }
        }
        Ok(results)
    }

    /// Waits until the server has caught up with the leader, as of now.
    pub async fn sync(&self, path: &str) -> Result<(), Error> {
        let request = PathRecord { path: Some(self.full(path)?) };
        self.call::<PathRecord>(OpCode::SYNC, path, &request, Effect::None).await.map(drop)
    }

    /// Leaves a watch that stays.
    pub async fn add_watch(&self, path: &str, mode: AddWatchMode) -> Result<(), Error> {
        let full = self.full(path)?;
        let request = WatchRequest { path: Some(full.clone()), kind: mode as i32 };
        self.call(OpCode::ADD_WATCH, path, &request, Effect::Add(full, mode)).await
    }

    /// Removes this client's watches of a path. With `locally`, also forgets them when no server
    /// can be asked; NoWatcher when there are none.
    pub async fn remove_watches(
        &self,
        path: &str,
        kind: WatcherType,
        locally: bool,
    ) -> Result<(), Error> {
        let full = self.full(path)?;
        let request = WatchRequest { path: Some(full.clone()), kind: kind as i32 };
        let effect = Effect::Remove(full.clone(), kind);
        match self.call::<()>(OpCode::REMOVE_WATCHES, path, &request, effect).await {
            Err(Error::ConnectionLoss) if locally => {
                let (done, wait) = oneshot::channel();
                let command = Command::RemoveLocally { path: full, kind, done };
                self.commands.send(command).await.map_err(|_| self.gone())?;
                match wait.await {
                    Ok(true) => Ok(()),
                    _ => Err(Error::Code { code: Code::NO_WATCHER, path: path.to_owned() }),
                }
            }
            other => other,
        }
    }

    /// Whether this client has watches of `kind` at the path, by the server's account.
    pub async fn check_watches(&self, path: &str, kind: WatcherType) -> Result<bool, Error> {
        let request = WatchRequest { path: Some(self.full(path)?), kind: kind as i32 };
        match self.call::<()>(OpCode::CHECK_WATCHES, path, &request, Effect::None).await {
            Ok(()) => Ok(true),
            Err(Error::Code { code: Code::NO_WATCHER, .. }) => Ok(false),
            Err(error) => Err(error),
        }
    }

    /// The session's ephemeral nodes whose paths start with `prefix` (a plain string prefix on the
    /// server, "/" for all).
    pub async fn ephemerals(&self, prefix: &str) -> Result<Vec<String>, Error> {
        let request = PathRecord { path: Some(self.full(prefix)?) };
        let reply: NamesResponse =
            self.call(OpCode::GET_EPHEMERALS, prefix, &request, Effect::None).await?;
        let names = reply.names.unwrap_or_default();
        Ok(names.into_iter().map(|path| strip_chroot(&self.chroot, path)).collect())
    }

    /// How many nodes there are below the path, at all depths.
    pub async fn all_children_number(&self, path: &str) -> Result<i32, Error> {
        let request = PathRecord { path: Some(self.full(path)?) };
        let reply: CountResponse =
            self.call(OpCode::GET_ALL_CHILDREN_NUMBER, path, &request, Effect::None).await?;
        Ok(reply.total)
    }

    /// The identities of this connection.
    pub async fn who_am_i(&self) -> Result<Vec<ClientInfo>, Error> {
        let reply: WhoAmIResponse = self.call(OpCode::WHO_AM_I, "", &(), Effect::None).await?;
        Ok(reply.clients.unwrap_or_default())
    }

    /// The ensemble's configuration: the data of `/zookeeper/config`, whatever the chroot.
    pub async fn config(&self, watch: bool) -> Result<(Option<Bytes>, Stat), Error> {
        let effect = if watch { Effect::Data(path::CONFIG.to_owned()) } else { Effect::None };
        let request = ReadRequest { path: Some(path::CONFIG.to_owned()), watch };
        let reply: DataResponse =
            self.call(OpCode::GET_DATA, path::CONFIG, &request, effect).await?;
        Ok((reply.data, reply.stat))
    }

    /// Changes the ensemble's membership and returns the new configuration. `version` is that of
    /// the configuration to change, -1 for any.
    pub async fn reconfig(
        &self,
        change: ReconfigChange,
        version: i64,
    ) -> Result<(Option<Bytes>, Stat), Error> {
        let ReconfigChange { joining, leaving, new_members } = change;
        let request = ReconfigRequest { joining, leaving, new_members, config_version: version };
        let reply: DataResponse = self.call(OpCode::RECONFIG, "", &request, Effect::None).await?;
        Ok((reply.data, reply.stat))
    }

    fn create_request(
        &self,
        path: &str,
        data: Option<&[u8]>,
        acl: Vec<Acl>,
        mode: CreateMode,
    ) -> Result<CreateRequest, Error> {
        // What the server will create is what must be valid, so a sequential prefix may end in "/".
        if mode.is_sequential() {
            self.full(&format!("{path}1"))?;
        } else {
            self.full(path)?;
        }
        let data = data.map(Bytes::copy_from_slice);
        Ok(CreateRequest {
            path: Some(self.prefix(path)),
            data,
            acl: Some(acl),
            flags: mode as i32,
        })
    }

    /// The server's path of a user's valid path.
    fn full(&self, path: &str) -> Result<String, Error> {
        if !path::is_valid(path) {
            return Err(Error::InvalidPath { path: path.to_owned() });
        }
        Ok(self.prefix(path))
    }

    fn prefix(&self, path: &str) -> String {
        match path {
            "/" if !self.chroot.is_empty() => self.chroot.to_string(),
            _ => format!("{}{path}", self.chroot),
        }
    }

    fn strip(&self, path: Option<String>) -> String {
        strip_chroot(&self.chroot, path.unwrap_or_default())
    }

    async fn call<T: Jute>(
        &self,
        opcode: OpCode,
        path: &str,
        request: &impl Jute,
        effect: Effect,
    ) -> Result<T, Error> {
        let reply = self.send(opcode, effect, |w| request.write(w)).await?;
        Ok(T::from_bytes(expect_ok(reply, path)?)?)
    }

    async fn send(
        &self,
        opcode: OpCode,
        effect: Effect,
        body: impl FnOnce(&mut BytesMut),
    ) -> Result<Reply, Error> {
        let mut buf = BytesMut::with_capacity(64);
        let at = frame::begin(&mut buf);
        buf.put(&RequestHeader { xid: 0, opcode: opcode.0 });
        body(&mut buf);
        frame::end(&mut buf, at);
        let (done, wait) = oneshot::channel();
        let command = Command::Request { frame: buf, effect, done };
        self.commands.send(command).await.map_err(|_| self.gone())?;
        wait.await.map_err(|_| self.gone())?
    }

    /// Why the task behind this handle is gone.
    fn gone(&self) -> Error {
        match self.status.borrow().state {
            State::Expired => Error::SessionExpired,
            State::AuthFailed => Error::AuthFailed,
            _ => Error::Closed,
        }
    }
}

fn expect_ok(reply: Reply, path: &str) -> Result<Bytes, Error> {
    match reply.code {
        Code::OK => Ok(reply.body),
        code => Err(Error::Code { code, path: path.to_owned() }),
    }
}
