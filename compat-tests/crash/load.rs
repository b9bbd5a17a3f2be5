//! Writers that go on through crashes and remember what they were promised.

use std::collections::BTreeSet;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use rookeeper::client::{Client, Error, Options};
use rookeeper::types::{Code, CreateMode, open_acl};

/// What one writer knows of the nodes it made.
#[derive(Default)]
struct Known {
    /// Created, and told so.
    created: BTreeSet<u64>,
    /// Asked to be deleted, with or without an answer: may be there or not.
    doomed: BTreeSet<u64>,
    /// Deleted, and told so.
    deleted: BTreeSet<u64>,
    /// The last number used for a node; one is used once, whatever becomes of it.
    last: u64,
    /// The largest value that setData on the writer's own node was acknowledged with.
    counter: u64,
    /// Contradictions met while writing.
    wrong: Vec<String>,
}

/// One writer with a session of its own.
struct Writer {
    known: Mutex<Known>,
    client: Mutex<Option<Client>>,
}

/// Several writers at work.
pub struct Load {
    writers: Vec<Arc<Writer>>,
    stop: Arc<AtomicBool>,
    acknowledged: Arc<AtomicU64>,
    runtime: tokio::runtime::Runtime,
    connect: String,
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

fn options(connect: &str) -> Result<Options, Error> {
    let mut options = Options::new(connect)?;
    options.session_timeout = Duration::from_secs(20);
    options.connect_timeout = Some(Duration::from_secs(2));
    options.retry = Duration::from_millis(20);
    Ok(options)
}

impl Load {
    /// Starts `count` writers against the servers of `connect`, which must be serving.
    pub fn start(connect: &str, count: usize) -> Result<Load, String> {
        let runtime = tokio::runtime::Builder::new_multi_thread()
            .worker_threads(1)
            .enable_all()
            .build()
            .map_err(|e| e.to_string())?;
        let stop = Arc::new(AtomicBool::new(false));
        let acknowledged = Arc::new(AtomicU64::new(0));
        let mut writers = Vec::new();
        for index in 0..count {
            let writer = Arc::new(Writer { known: Mutex::default(), client: Mutex::new(None) });
            writers.push(writer.clone());
            let (stop, acknowledged) = (stop.clone(), acknowledged.clone());
            let connect = connect.to_string();
            runtime.spawn(async move {
                while !stop.load(Ordering::Relaxed) {
                    if let Err(error) = write(&writer, index, &connect, &stop, &acknowledged).await
                    {
                        match error {
                            Error::ConnectionLoss | Error::SessionExpired | Error::Closed => {}
                            other => {
                                lock(&writer.known).wrong.push(format!("writer {index}: {other}"));
                                return;
                            }
                        }
                    }
                }
            });
        }
        Ok(Load { writers, stop, acknowledged, runtime, connect: connect.to_string() })
    }

    /// Writes acknowledged so far.
    pub fn acknowledged(&self) -> u64 {
        self.acknowledged.load(Ordering::Relaxed)
    }

    /// Waits until `more` further writes are acknowledged.
    pub fn progress(&self, more: u64, patience: Duration) -> Result<(), String> {
        let (start, goal) = (Instant::now(), self.acknowledged() + more);
        while self.acknowledged() < goal {
            if let Some(wrong) = self.wrong() {
                return Err(wrong);
            }
            if start.elapsed() > patience {
                return Err(format!("no {more} writes were acknowledged within {patience:?}"));
            }
            std::thread::sleep(Duration::from_millis(2));
        }
        Ok(())
    }

    fn wrong(&self) -> Option<String> {
        self.writers.iter().find_map(|w| lock(&w.known).wrong.first().cloned())
    }

    /// Compares what is there, on the servers of `connect`, with what was promised. A reader that loses
    /// its connection, as any client does when its member changes roles, begins again, twice at most,
    /// and says so.
    pub fn verify(&self, connect: &str) -> Result<(), String> {
        for _ in 0..2 {
            match self.verify_once(connect) {
                Err(lost) if lost.contains("connection loss") => {
                    println!("    the reader begins again: {lost}");
                }
                done => return done,
            }
        }
        self.verify_once(connect)
    }

    fn verify_once(&self, connect: &str) -> Result<(), String> {
        if let Some(wrong) = self.wrong() {
            return Err(wrong);
        }
        self.runtime.block_on(async {
            let options = options(connect).map_err(|e| e.to_string())?;
            let (client, _events) =
                Client::connect(options).await.map_err(|e| format!("the reader: {e}"))?;
            // Where it was asked says whose answer was wrong, or did not come.
            let asked = |e| format!("{e} (reader at {})", client.status().server);
            for (index, writer) in self.writers.iter().enumerate() {
                // What is promised before the read must be in it.
                let (created, deleted, counter) = {
                    let known = lock(&writer.known);
                    (known.created.clone(), known.deleted.clone(), known.counter)
                };
                client.sync("/").await.map_err(|e| format!("sync: {}", asked(e)))?;
                let there = match client.children(&format!("/load-{index}"), false).await {
                    Ok(names) => names,
                    Err(e) if created.is_empty() && e.code() == Code::NO_NODE => continue,
                    Err(e) => return Err(format!("children of /load-{index}: {}", asked(e))),
                };
                let there: BTreeSet<u64> = there.iter().filter_map(|n| n.parse().ok()).collect();
                // Doomed after the read: a node asked to be deleted meanwhile may be gone.
                let doomed = lock(&writer.known).doomed.clone();
                let lost: Vec<_> =
                    created.iter().filter(|n| !there.contains(n) && !doomed.contains(n)).collect();
                if !lost.is_empty() {
                    let lost = format!("writer {index}: acknowledged but lost: {lost:?}");
                    return Err(format!("{lost} (reader at {})", client.status().server));
                }
                let back: Vec<_> = deleted.iter().filter(|n| there.contains(n)).collect();
                if !back.is_empty() {
                    return Err(format!("writer {index}: deleted but there again: {back:?}"));
                }
                let (data, _) = client
                    .get(&format!("/load-{index}"), false)
                    .await
                    .map_err(|e| format!("/load-{index}: {}", asked(e)))?;
                let text = String::from_utf8_lossy(&data.unwrap_or_default()).into_owned();
                if text.parse::<u64>().unwrap_or(0) < counter {
                    return Err(format!(
                        "writer {index}: setData {counter} was acknowledged, {text:?} is there"
                    ));
                }
            }
            client.close().await;
            Ok(())
        })
    }

    /// Every writer's ephemeral node is there and belongs to the session that it still has.
    pub fn verify_sessions(&self) -> Result<(), String> {
        self.runtime.block_on(async {
            for (index, writer) in self.writers.iter().enumerate() {
                let Some(client) = lock(&writer.client).clone() else { continue };
                let path = format!("/load-session-{index}");
                let mut tries = 0..2;
                let stat = loop {
                    client
                        .connected()
                        .await
                        .map_err(|e| format!("writer {index}: session: {e}"))?;
                    match client.exists(&path, false).await {
                        // Its member has just learned that it leads nobody any more.
                        Err(e) if e.code() == Code::CONNECTION_LOSS && tries.next().is_some() => {
                            println!("    {path} is asked for again: {e}");
                        }
                        done => break done.map_err(|e| format!("{path}: {e}"))?,
                    }
                };
                let session = client.status().session;
                match stat {
                    Some(stat) if stat.ephemeral_owner == session => {}
                    other => {
                        return Err(format!("{path} of session 0x{session:x} is {other:?}"));
                    }
                }
            }
            Ok(())
        })
    }

    /// Stops the writers, gives a last verification.
    pub fn finish(self) -> Result<u64, String> {
        self.stop.store(true, Ordering::Relaxed);
        let connect = self.connect.clone();
        self.verify(&connect)?;
        let acknowledged = self.acknowledged();
        self.runtime.shutdown_timeout(Duration::from_secs(1));
        Ok(acknowledged)
    }
}

/// One session's life: writes until the session is over.
async fn write(
    writer: &Writer,
    index: usize,
    connect: &str,
    stop: &AtomicBool,
    acknowledged: &AtomicU64,
) -> Result<(), Error> {
    let (client, events) = Client::connect(options(connect)?).await?;
    // Kept and not read they would hold up the replies, after some hundred reconnections.
    drop(events);
    let home = format!("/load-{index}");
    loop {
        match client.create(&home, Some(b"0"), open_acl(), CreateMode::Persistent).await {
            Ok(_) => break,
            Err(e) if e.code() == Code::NODE_EXISTS => break,
            Err(Error::ConnectionLoss) => client.connected().await?,
            Err(e) => return Err(e),
        }
    }
    let mine = format!("/load-session-{index}");
    loop {
        match client.create(&mine, None, open_acl(), CreateMode::Ephemeral).await {
            Ok(_) => break,
            Err(Error::ConnectionLoss) => client.connected().await?,
            // Of an earlier try of this session, or of one that is about to expire.
            Err(e) if e.code() == Code::NODE_EXISTS => {
                let session = client.status().session;
                match client.exists(&mine, false).await? {
                    Some(stat) if stat.ephemeral_owner == session => break,
                    _ => tokio::time::sleep(Duration::from_millis(100)).await,
                }
            }
            Err(e) => return Err(e),
        }
    }
    *lock(&writer.client) = Some(client.clone());
    while !stop.load(Ordering::Relaxed) {
        match step(writer, &client, &home).await {
            Ok(done) => {
                acknowledged.fetch_add(done, Ordering::Relaxed);
            }
            Err(Error::ConnectionLoss) => client.connected().await?,
            Err(e) => {
                *lock(&writer.client) = None;
                return Err(e);
            }
        }
    }
    Ok(())
}

/// A create, now and then a setData and a delete.
async fn step(writer: &Writer, client: &Client, home: &str) -> Result<u64, Error> {
    let next = {
        let mut known = lock(&writer.known);
        known.last += 1;
        known.last
    };
    let path = format!("{home}/{next}");
    let result = client.create(&path, Some(b"payload"), open_acl(), CreateMode::Persistent).await;
    if let Err(error) = result {
        if error.code() == Code::NODE_EXISTS {
            let text = format!("{path} exists though it was never asked for before");
            lock(&writer.known).wrong.push(text);
        }
        return Err(error);
    }
    lock(&writer.known).created.insert(next);
    let mut done = 1;
    if next % 3 == 0 {
        let text = next.to_string();
        client.set(home, Some(text.as_bytes()), -1).await?;
        lock(&writer.known).counter = next;
        done += 1;
    }
    if next % 2 == 0 && next > 8 {
        let old = next - 8;
        let known = lock(&writer.known).created.contains(&old);
        if known {
            lock(&writer.known).doomed.insert(old);
            match client.delete(&format!("{home}/{old}"), -1).await {
                Ok(()) => {
                    lock(&writer.known).deleted.insert(old);
                    done += 1;
                }
                Err(e) => return Err(e),
            }
        }
    }
    Ok(done)
}
