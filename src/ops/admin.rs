//! The HTTP side of ops: the endpoint of Apache's PrometheusMetricsProvider.
//!
//! `GET /metrics` answers with the exposition; the rest is refused. One request a connection, a head
//! of 8 KiB at most and five seconds to send it: nobody keeps anything open here.
//!
//! Must not know: where the numbers come from; the caller gives a function.

use std::io;
use std::sync::Arc;
use std::time::Duration;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::Semaphore;

use super::metrics::prometheus::CONTENT_TYPE;

/// Longest head of a request, in bytes.
const HEAD_MAX: usize = 8 * 1024;
/// How long a client may take for its request or for taking the answer.
const PATIENCE: Duration = Duration::from_secs(5);
/// Connections at the same time; more wait in the backlog.
const CONNECTIONS_MAX: usize = 16;

/// Answers scrapes until the task is dropped. `text` makes the exposition anew for each; it may
/// block for a moment.
pub async fn serve_metrics(
    listener: TcpListener,
    text: impl Fn() -> String + Send + Sync + 'static,
) {
    let text = Arc::new(text);
    let permits = Arc::new(Semaphore::new(CONNECTIONS_MAX));
    loop {
        // The semaphore is never closed, so there is always a permit in the end.
        let Ok(permit) = permits.clone().acquire_owned().await else { return };
        match listener.accept().await {
            Ok((stream, _)) => {
                let text = text.clone();
                tokio::spawn(async move {
                    // Clients that vanish are no news.
                    let _ = tokio::time::timeout(PATIENCE, exchange(stream, text)).await;
                    drop(permit);
                });
            }
            // Out of descriptors, most likely: a pause lets others free some.
            Err(_) => tokio::time::sleep(Duration::from_millis(100)).await,
        }
    }
}

async fn exchange(
    mut stream: TcpStream,
    text: Arc<impl Fn() -> String + Send + Sync + 'static>,
) -> io::Result<()> {
    let mut head = Vec::new();
    while !head.windows(4).any(|w| w == b"\r\n\r\n") && head.len() < HEAD_MAX {
        if stream.read_buf(&mut head).await? == 0 {
            break;
        }
    }
    let answer = tokio::task::spawn_blocking(move || respond(&head, || text())).await;
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
