//! The client port while the server starts: bound, and not served yet.
//!
//! Loading a large tree takes minutes, and so may binding the election port. A probe that asks `ruok`
//! meanwhile is answered, as Apache's standalone server does (its member accepts nobody until the tree is
//! loaded); other words get the answers of a server that does not serve. Clients wait, with their connect
//! request unread, and are served when the start is over.

use std::collections::VecDeque;
use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::watch;
use tokio::task::{AbortHandle, JoinHandle, JoinSet};

use crate::ops::Word;

use super::accept::Failures;
use super::report::Reporter;

/// Connections that may wait; beyond, the oldest is closed. (More wait in the system's backlog of the
/// port once this process is out of descriptors.)
const WAITING_MAX: usize = 512;
/// For the first four bytes of a connection, and for taking the answer to a word.
const PATIENCE: Duration = Duration::from_secs(10);
/// Between two looks at a connection that has sent the beginning of a word.
const LOOK_AGAIN: Duration = Duration::from_millis(20);

/// Somebody who waits for the start to be over.
pub type Visitor = (TcpStream, SocketAddr);

/// Answers probes at the client port until it is opened; closed when dropped.
#[derive(Debug)]
pub struct Door {
    open: watch::Sender<bool>,
    keeper: Option<JoinHandle<(TcpListener, Vec<Visitor>)>>,
}

impl Door {
    /// Begins to answer. At most `connections` are open at a time, or [`WAITING_MAX`] if that is less.
    pub fn new(listener: TcpListener, reporter: Arc<Reporter>, connections: u64) -> Door {
        let (open, opened) = watch::channel(false);
        let max = usize::try_from(connections).unwrap_or(WAITING_MAX).min(WAITING_MAX);
        Door { open, keeper: Some(tokio::spawn(keep(listener, reporter, max, opened))) }
    }

    /// Ends it: the listener, and those who wait, the oldest first.
    ///
    /// # Errors
    /// When its task has panicked.
    pub async fn open(mut self) -> io::Result<(TcpListener, Vec<Visitor>)> {
        self.open.send_replace(true);
        let Some(keeper) = self.keeper.take() else { return Err(io::ErrorKind::NotFound.into()) };
        keeper.await.map_err(io::Error::other)
    }
}

impl Drop for Door {
    fn drop(&mut self) {
        if let Some(keeper) = &self.keeper {
            keeper.abort();
        }
    }
}

async fn keep(
    listener: TcpListener,
    reporter: Arc<Reporter>,
    waiting_max: usize,
    mut opened: watch::Receiver<bool>,
) -> (TcpListener, Vec<Visitor>) {
    let mut visitors = JoinSet::new();
    let mut handles: VecDeque<AbortHandle> = VecDeque::new();
    let mut number = 0_u64;
    let mut failures = Failures::new("client port");
    loop {
        let accepted = tokio::select! {
            // An error means that the start was given up, and this task with it.
            _ = opened.wait_for(|open| *open) => break,
            accepted = listener.accept() => accepted,
        };
        while visitors.try_join_next().is_some() {}
        handles.retain(|visitor| !visitor.is_finished());
        let (stream, remote) = match accepted {
            Ok(accepted) => accepted,
            Err(error) => {
                failures.wait(&error).await;
                continue;
            }
        };
        failures.none();
        number += 1;
        let remote = SocketAddr::new(remote.ip().to_canonical(), remote.port());
        let (reporter, opened) = (Arc::clone(&reporter), opened.clone());
        handles.push_back(visitors.spawn(async move {
            Some((number, receive(stream, &reporter, opened).await?, remote))
        }));
        if handles.len() > waiting_max
            && let Some(oldest) = handles.pop_front()
        {
            oldest.abort();
        }
    }
    let mut waiting = Vec::new();
    while let Some(visitor) = visitors.join_next().await {
        waiting.extend(visitor.ok().flatten());
    }
    waiting.sort_by_key(|(number, ..)| *number);
    (listener, waiting.into_iter().map(|(_, stream, remote)| (stream, remote)).collect())
}

/// Answers a word, or gives the connection back when the door opens: with all it has sent unread.
async fn receive(
    stream: TcpStream,
    reporter: &Reporter,
    mut opened: watch::Receiver<bool>,
) -> Option<TcpStream> {
    let mut asked = opened.clone();
    let word = tokio::select! {
        word = tokio::time::timeout(PATIENCE, ask(&stream)) => word,
        _ = asked.wait_for(|open| *open) => return Some(stream),
    };
    match word {
        // It closed, or said nothing in time.
        Err(_) | Ok(Err(_)) => None,
        Ok(Ok(Some(word))) => {
            // Whether it takes the answer is its own affair.
            let _ = tokio::time::timeout(PATIENCE, answer(stream, word, reporter)).await;
            None
        }
        Ok(Ok(None)) => {
            let _ = opened.wait_for(|open| *open).await;
            Some(stream)
        }
    }
}

/// The word that a connection begins with, or None: a connect request. Nobody waits for the argument
/// of `stmk`: it comes with the word, or there is none.
async fn ask(stream: &TcpStream) -> io::Result<Option<Word>> {
    let mut bytes = [0; 12];
    loop {
        let n = stream.peek(&mut bytes).await?;
        if n == 0 {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
        if let Some(head) = bytes[..n].first_chunk::<4>() {
            return Ok(Word::parse(*head));
        }
        tokio::time::sleep(LOOK_AGAIN).await;
    }
}

async fn answer(mut stream: TcpStream, word: Word, reporter: &Reporter) -> io::Result<()> {
    let mut bytes = vec![0; 4 + word.argument_length()];
    let n = stream.read(&mut bytes).await?;
    let argument = bytes[..n].get(4..).unwrap_or_default();
    stream.write_all(reporter.answer_early(word, argument).as_bytes()).await?;
    stream.shutdown().await
}

#[cfg(test)]
mod tests;
