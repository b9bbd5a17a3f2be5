//! The HTTP side of ops: the endpoint of Apache's PrometheusMetricsProvider.
//!
//! `GET /metrics` answers with the exposition; the rest is refused. One request a connection, a head
//! of 8 KiB at most and five seconds to send it: nobody keeps anything open here. When all places are
//! taken and another comes, who has been silent the longest goes, so that sockets that say nothing
//! delay no scrape.
//!
//! Must not know: where the numbers come from; the caller gives a function.

use std::collections::VecDeque;
use std::io;
use std::sync::Arc;
use std::sync::atomic::{AtomicU8, Ordering};
use std::time::Duration;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::Semaphore;
use tokio::task::AbortHandle;

use super::metrics::prometheus::CONTENT_TYPE;

/// Longest head of a request, in bytes.
const HEAD_MAX: usize = 8 * 1024;
/// How long a client may take for its request or for taking the answer.
const PATIENCE: Duration = Duration::from_secs(5);
/// Connections at the same time.
const CONNECTIONS_MAX: usize = 16;

/// What a connection is at: it has not sent its request, the answer is made, it takes the answer.
const SILENT: u8 = 0;
const ANSWERED: u8 = 1;
const WRITING: u8 = 2;

/// A connection under way.
struct Guest {
    handle: AbortHandle,
    phase: Arc<AtomicU8>,
}

/// Answers scrapes until the task is dropped. `text` makes the exposition anew for each; it may
/// block for a moment.
pub async fn serve_metrics(
    listener: TcpListener,
    text: impl Fn() -> String + Send + Sync + 'static,
) {
    let text = Arc::new(text);
    let permits = Arc::new(Semaphore::new(CONNECTIONS_MAX));
    let mut guests = VecDeque::new();
    loop {
        match listener.accept().await {
            Ok((stream, _)) => {
                make_room(&mut guests);
                // The semaphore is never closed. A place is free soon: who has one and keeps it was
                // just asked to go, and to make an answer takes no client.
                let Ok(permit) = permits.clone().acquire_owned().await else { return };
                let (text, phase) = (text.clone(), Arc::new(AtomicU8::new(SILENT)));
                let at = Arc::clone(&phase);
                let task = tokio::spawn(async move {
                    // Clients that vanish are no news.
                    let _ = tokio::time::timeout(PATIENCE, exchange(stream, text, &at)).await;
                    drop(permit);
                });
                guests.push_back(Guest { handle: task.abort_handle(), phase });
            }
            // Out of descriptors, most likely: a pause lets others free some.
            Err(_) => tokio::time::sleep(Duration::from_millis(100)).await,
        }
    }
}

/// Of as many connections as there may be, the oldest that has sent no request is closed; if all
/// have, the oldest that does not take its answer.
fn make_room(guests: &mut VecDeque<Guest>) {
    guests.retain(|guest| !guest.handle.is_finished());
    if guests.len() < CONNECTIONS_MAX {
        return;
    }
    let oldest = [SILENT, WRITING].into_iter().find_map(|phase| {
        guests.iter().position(|guest| guest.phase.load(Ordering::Relaxed) == phase)
    });
    if let Some(guest) = oldest.and_then(|at| guests.remove(at)) {
        guest.handle.abort();
    }
}

async fn exchange(
    mut stream: TcpStream,
    text: Arc<impl Fn() -> String + Send + Sync + 'static>,
    phase: &AtomicU8,
) -> io::Result<()> {
    let mut head = Vec::new();
    while !head.windows(4).any(|w| w == b"\r\n\r\n") && head.len() < HEAD_MAX {
        if stream.read_buf(&mut head).await? == 0 {
            break;
        }
    }
    phase.store(ANSWERED, Ordering::Relaxed);
    let answer = tokio::task::spawn_blocking(move || respond(&head, || text())).await;
    phase.store(WRITING, Ordering::Relaxed);
    stream.write_all(&answer.map_err(io::Error::other)?).await?;
    stream.shutdown().await
}

/// The answer to a request's head; `text` is only asked for when it is wanted.
fn respond(head: &[u8], text: impl FnOnce() -> String) -> Vec<u8> {
    let line = head.split(|b| *b == b'\r' || *b == b'\n').next().unwrap_or_default();
    let line = String::from_utf8_lossy(line);
    let mut words = line.split(' ');
    let (method, target) = (words.next().unwrap_or(""), words.next().unwrap_or(""));
    let path = target.split('?').next().unwrap_or("");
    let (status, body) = match (method, path) {
        ("TRACE", _) => ("403 Forbidden", String::new()),
        ("GET" | "HEAD", "/metrics" | "/metrics/") => ("200 OK", text()),
        ("GET" | "HEAD", _) => ("404 Not Found", "not here; try /metrics\n".to_owned()),
        ("POST" | "PUT" | "DELETE" | "OPTIONS", _) => ("405 Method Not Allowed", String::new()),
        _ => ("400 Bad Request", String::new()),
    };
    let mut out = format!(
        "HTTP/1.1 {status}\r\nContent-Type: {CONTENT_TYPE}\r\nContent-Length: {}\r\n\
         Connection: close\r\n\r\n",
        body.len()
    );
    if method != "HEAD" {
        out.push_str(&body);
    }
    out.into_bytes()
}

#[cfg(test)]
mod tests;
