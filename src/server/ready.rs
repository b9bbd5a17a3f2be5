//! Says whether clients are served: in the log, and by the ready file.
//!
//! The file is there exactly while clients are served, so that "the file exists" is a readiness probe: a
//! server alone writes it when it has loaded its data, a member when it joins a quorum (or begins to serve
//! readers, `readonlymode.enabled`), and takes it away when it has none any more and when it stops.

use std::net::SocketAddr;
use std::path::{Path, PathBuf};

/// What operators were told last.
#[derive(Debug)]
pub struct Ready {
    file: Option<PathBuf>,
    client: SocketAddr,
    told: Option<bool>,
}

impl Ready {
    /// Nothing is said yet.
    pub fn new(file: Option<PathBuf>, client: SocketAddr) -> Ready {
        Ready { file, client, told: None }
    }

    /// Says it where it is news.
    pub fn tell(&mut self, serves: bool) {
        let before = self.told.replace(serves);
        if before == Some(serves) {
            return;
        }
        if serves {
            tracing::info!("serving clients on {}", self.client);
            if let Some(file) = &self.file
                && let Err(error) = write(file, self.client)
            {
                tracing::error!("can't write the ready file {}: {error}", file.display());
            }
            return;
        }
        match before {
            None => tracing::info!(
                "listening for clients on {}; they are served once this member has a quorum",
                self.client
            ),
            Some(_) => tracing::info!("serving no clients: this member has no quorum"),
        }
        self.remove();
    }

    /// The server stops.
    pub fn end(&mut self) {
        if self.told.take() == Some(true) {
            self.remove();
        }
    }

    fn remove(&self) {
        let Some(file) = &self.file else { return };
        match std::fs::remove_file(file) {
            Err(error) if error.kind() != std::io::ErrorKind::NotFound => {
                tracing::error!("can't remove the ready file {}: {error}", file.display());
            }
            _ => {}
        }
    }
}

/// Writes the file: JSON, complete when it appears.
fn write(path: &Path, client: SocketAddr) -> std::io::Result<()> {
    let text = format!("{{\"pid\": {}, \"client\": {}}}\n", std::process::id(), client.port());
    let tmp = path.with_extension("ready-tmp");
    std::fs::write(&tmp, text)?;
    std::fs::rename(&tmp, path)
}
