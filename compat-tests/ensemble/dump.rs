//! The whole tree as one member shows it, to be compared with another member's.

use std::collections::BTreeMap;
use std::time::Duration;

use rookeeper::client::{Client, Options};
use rookeeper::types::Stat;

/// Every path with its data and stat.
pub type Tree = BTreeMap<String, (Option<Vec<u8>>, Stat)>;

/// Reads the tree of the server at `address`, after a sync. Nodes below "/zookeeper" are left out:
/// the configuration differs by what a member was started with. A session that expires takes nodes
/// away between the listing and the reading, so it is tried again.
pub fn tree(address: &str) -> Result<Tree, String> {
    let mut outcome = read(address);
    for _ in 0..20 {
        if outcome.is_ok() {
            break;
        }
        std::thread::sleep(Duration::from_millis(500));
        outcome = read(address);
    }
    outcome
}

fn read(address: &str) -> Result<Tree, String> {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .map_err(|e| e.to_string())?;
    runtime.block_on(async {
        let mut options = Options::new(address).map_err(|e| e.to_string())?;
        options.session_timeout = Duration::from_secs(20);
        let (client, _events) =
            Client::connect(options).await.map_err(|e| format!("{address}: {e}"))?;
        client.sync("/").await.map_err(|e| format!("{address}: sync: {e}"))?;
        let mut tree = Tree::new();
        let mut todo = vec!["/".to_string()];
        while let Some(path) = todo.pop() {
            let (names, _) = match client.children_stat(&path, false).await {
                Ok(found) => found,
                Err(e) => return Err(format!("{address}: children of {path}: {e}")),
            };
            let (data, stat) =
                client.get(&path, false).await.map_err(|e| format!("{address}: {path}: {e}"))?;
            tree.insert(path.clone(), (data.map(|d| d.to_vec()), stat));
            for name in names {
                if path == "/" && name == "zookeeper" {
                    continue;
                }
                let slash = if path == "/" { "" } else { "/" };
                todo.push(format!("{path}{slash}{name}"));
            }
        }
        client.close().await;
        Ok(tree)
    })
}

/// The first differences between two trees, in words; empty when they are equal.
pub fn differences(a: &Tree, b: &Tree) -> String {
    let mut text = String::new();
    for (path, node) in a {
        match b.get(path) {
            None => text.push_str(&format!("{path}: only in the first\n")),
            Some(other) if other != node => {
                text.push_str(&format!("{path}: {node:?} and {other:?}\n"));
            }
            Some(_) => {}
        }
    }
    for path in b.keys().filter(|path| !a.contains_key(*path)) {
        text.push_str(&format!("{path}: only in the second\n"));
    }
    text.lines().take(10).collect::<Vec<_>>().join("\n")
}
