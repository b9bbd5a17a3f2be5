//! The Prometheus endpoint: its port, and the numbers made anew for each scrape.

use std::sync::Arc;
use std::time::Duration;

use tokio::net::TcpListener;

use crate::config::Config;
use crate::ops::admin::serve_metrics;

use super::StartError;
use super::client::Clients;
use super::standalone::bind;

/// How often recorded values are put together while nobody scrapes.
const UPKEEP: Duration = Duration::from_secs(5);

/// Takes the endpoint's port when `metricsProvider.className` is Apache's Prometheus provider and
/// `metricsProvider.httpPort` isn't -1. Scrapes wait until [`serve`].
///
/// # Errors
/// The port can't be had: Apache doesn't start then either.
pub async fn listen(config: &Config) -> Result<Option<TcpListener>, StartError> {
    let Some(endpoint) = config.metrics.prometheus.as_ref().and_then(|p| p.http.as_ref()) else {
        return Ok(None);
    };
    let keys = "metricsProvider.httpPort and httpHost";
    let listener = bind(endpoint, None).await.map_err(|why| StartError::Bind { keys, why })?;
    Ok(Some(listener))
}

/// Answers scrapes.
pub fn serve(
    listener: Option<TcpListener>,
    clients: &Arc<Clients>,
) -> Option<tokio::task::JoinHandle<()>> {
    let listener = listener?;
    if let Ok(address) = listener.local_addr() {
        tracing::info!("serving metrics on http://{address}/metrics");
    }
    let for_text = Arc::clone(clients);
    let text = move || for_text.reporter.exposition(&for_text);
    let for_upkeep = Arc::clone(clients);
    let upkeep = async move {
        loop {
            tokio::time::sleep(UPKEEP).await;
            for_upkeep.shared.metrics.upkeep();
        }
    };
    Some(tokio::spawn(async move {
        tokio::join!(serve_metrics(listener, text), upkeep);
    }))
}
