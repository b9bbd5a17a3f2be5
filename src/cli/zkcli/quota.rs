//! `setquota`, `listquota`, `delquota`: two nodes below `/zookeeper/quota` per limited node.
//!
//! A limits node is `count=C,bytes=B`, and `=;byteHardLimit=B;countHardLimit=C` after it where there
//! are hard limits; -1 is none (`StatsTrack`).

use super::commands::{Failure, Outcome};
use super::line::Parsed;
use super::{Said, text};
use crate::client::{ANY_VERSION, Client, Error};
use crate::types::{Code, CreateMode, open_acl};

const ROOT: &str = "/zookeeper/quota";
const LIMITS: &str = "zookeeper_limits";
const STATS: &str = "zookeeper_stats";

/// Limits of a node; -1 is none.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Limits {
    count: i64,
    bytes: i64,
    count_hard: i64,
    bytes_hard: i64,
}

impl Limits {
    const NONE: Limits = Limits { count: -1, bytes: -1, count_hard: -1, bytes_hard: -1 };

    fn parse(text: &str) -> Limits {
        let mut limits = Limits::NONE;
        for part in text.split([',', ';']) {
            let Some((key, value)) = part.split_once('=') else { continue };
            let value = value.trim_end_matches('=').parse().unwrap_or(-1);
            match key {
                "count" => limits.count = value,
                "bytes" => limits.bytes = value,
                "countHardLimit" => limits.count_hard = value,
                "byteHardLimit" => limits.bytes_hard = value,
                _ => {}
            }
        }
        limits
    }

    fn text(&self) -> String {
        format!(
            "count={},bytes={}=;byteHardLimit={};countHardLimit={}",
            self.count, self.bytes, self.bytes_hard, self.count_hard
        )
    }

    /// The limit that an option of one letter stands for.
    fn of(&mut self, option: char) -> &mut i64 {
        match option {
            'n' => &mut self.count,
            'b' => &mut self.bytes,
            'N' => &mut self.count_hard,
            _ => &mut self.bytes_hard,
        }
    }
}

const OPTIONS: [char; 4] = ['n', 'b', 'N', 'B'];

fn limits_path(path: &str) -> String {
    format!("{ROOT}{path}/{LIMITS}")
}

fn stats_path(path: &str) -> String {
    format!("{ROOT}{path}/{STATS}")
}

fn failed(error: &Error, path: &str) -> Failure {
    Failure::Text(text::error(error, Some(path)))
}

/// `listquota path`.
pub async fn list(client: &Client, path: &str, said: &mut Said) -> Outcome {
    let limits = limits_path(path);
    said.err.push_str(&format!("absolute path is {limits}\n"));
    let shown = match client.get(&limits, false).await {
        Ok((data, _)) => text::data(data.as_deref()),
        Err(e) if e.code() == Code::NO_NODE => {
            said.err.push_str(&format!("quota for {path} does not exist.\n"));
            return Ok(());
        }
        Err(e) => return Err(failed(&e, &limits)),
    };
    said.out.push_str(&format!("Output quota for {path} {shown}\n"));
    let stats = stats_path(path);
    let (data, _) = client.get(&stats, false).await.map_err(|e| failed(&e, &stats))?;
    said.out.push_str(&format!("Output stat for {path} {}\n", text::data(data.as_deref())));
    Ok(())
}

/// `setquota -n|-b|-N|-B value path`.
pub async fn set(client: &Client, parsed: &Parsed, said: &mut Said) -> Outcome {
    let given: Vec<(char, &str)> =
        OPTIONS.iter().filter_map(|o| Some((*o, parsed.value(&o.to_string())?))).collect();
    let (option, value) = match given.as_slice() {
        [] => {
            return Err(Failure::Text(
                "org.apache.commons.cli.MissingOptionException: Missing required option: [-n num \
                 soft quota, -b bytes soft quota, -N num hard quota, -B bytes hard quota]"
                    .to_owned(),
            ));
        }
        [one] => *one,
        [first, second, ..] => {
            return Err(Failure::Text(format!(
                "org.apache.commons.cli.AlreadySelectedException: The option '{}' was specified \
                 but an option from this group has already been selected: '{}'",
                second.0, first.0
            )));
        }
    };
    let path = parsed.arg(0).ok_or(Failure::Usage("setquota"))?;
    if path.starts_with(ROOT) {
        said.err.push_str(&format!("cannot set a quota under the path: {ROOT}\n"));
        return Ok(());
    }
    let Ok(value) = value.parse::<i64>() else {
        said.err.push_str("NumberFormatException happens when parsing the option value\n");
        return Ok(());
    };
    let (least, what) = match option {
        'n' | 'N' => (1, "the num quota must be greater than zero"),
        _ => (0, "the bytes quota must be greater than or equal to zero"),
    };
    if value < least {
        said.err.push_str(&format!("{what}\n"));
        return Ok(());
    }
    if client.exists(path, false).await.map_err(|e| failed(&e, path))?.is_none() {
        return Err(Failure::Text(format!("{path} does not exist.")));
    }
    check_family(client, path).await?;
    create_parents(client, path).await?;
    let node = limits_path(path);
    match client.get(&node, false).await {
        Ok((data, _)) => {
            let mut limits = Limits::parse(&text::data(data.as_deref()));
            *limits.of(option) = value;
            warn_if_exceeded(client, path, limits, said).await?;
            let text = limits.text();
            client
                .set(&node, Some(text.as_bytes()), ANY_VERSION)
                .await
                .map_err(|e| failed(&e, &node))?;
        }
        Err(e) if e.code() == Code::NO_NODE => {
            let mut limits = Limits::NONE;
            *limits.of(option) = value;
            create(client, &node, &limits.text()).await?;
            create(client, &stats_path(path), "count=0,bytes=0").await?;
            warn_if_exceeded(client, path, limits, said).await?;
        }
        Err(e) => return Err(failed(&e, &node)),
    }
    Ok(())
}

/// Says which limits what is there exceeds already (`SetQuotaCommand.checkQuota`).
async fn warn_if_exceeded(client: &Client, path: &str, limits: Limits, said: &mut Said) -> Outcome {
    let stats = stats_path(path);
    let (data, _) = client.get(&stats, false).await.map_err(|e| failed(&e, &stats))?;
    let there = Limits::parse(&text::data(data.as_deref()));
    let exceeded = |limit: i64, there: i64| limit > -1 && limit < there;
    for (what, soft, hard, there) in [
        ("count", limits.count, limits.count_hard, there.count),
        ("bytes", limits.bytes, limits.bytes_hard, there.bytes),
    ] {
        if exceeded(soft, there) || exceeded(hard, there) {
            said.out.push_str(&format!(
                "[Warning]: the {what} quota you create is less than the existing {what}:{there}\n"
            ));
        }
    }
    Ok(())
}

async fn create(client: &Client, path: &str, data: &str) -> Outcome {
    let created =
        client.create(path, Some(data.as_bytes()), open_acl(), CreateMode::Persistent).await;
    match created {
        Err(e) if e.code() != Code::NODE_EXISTS => Err(failed(&e, path)),
        _ => Ok(()),
    }
}

/// The nodes between `/zookeeper/quota` and the limits.
async fn create_parents(client: &Client, path: &str) -> Outcome {
    let mut at = ROOT.to_owned();
    for part in path.split('/').filter(|p| !p.is_empty()) {
        at = format!("{at}/{part}");
        let created = client.create(&at, None, open_acl(), CreateMode::Persistent).await;
        if let Err(e) = created
            && e.code() != Code::NODE_EXISTS
        {
            return Err(failed(&e, &at));
        }
    }
    Ok(())
}

/// A quota within a quota isn't possible: neither above nor below.
async fn check_family(client: &Client, path: &str) -> Outcome {
    let mut above = path;
    while let Some((parent, _)) = above.rsplit_once('/').filter(|(p, _)| !p.is_empty()) {
        let limits = limits_path(parent);
        if client.exists(&limits, false).await.map_err(|e| failed(&e, &limits))?.is_some() {
            return Err(Failure::Text(format!("{path} has a parent {parent} which has a quota")));
        }
        above = parent;
    }
    let mut open = vec![path.to_owned()];
    while let Some(node) = open.pop() {
        let quota = format!("{ROOT}{node}");
        let children = match client.children(&quota, false).await {
            Ok(children) => children,
            Err(e) if e.code() == Code::NO_NODE => continue,
            Err(e) => return Err(failed(&e, &quota)),
        };
        for child in children {
            if child == STATS {
                continue;
            }
            if child != LIMITS {
                open.push(format!("{node}/{child}"));
            } else if node != path {
                return Err(Failure::Text(format!("{path} has a child {node} which has a quota")));
            }
        }
    }
    Ok(())
}

/// `delquota [-n|-b|-N|-B] path`.
pub async fn delete(client: &Client, parsed: &Parsed, said: &mut Said) -> Outcome {
    let path = parsed.arg(0).ok_or(Failure::Usage("delquota"))?;
    let node = limits_path(path);
    let (data, _) = match client.get(&node, false).await {
        Ok(found) => found,
        Err(e) if e.code() == Code::NO_NODE => {
            said.err.push_str(&format!("quota does not exist for {path}\n"));
            return Ok(());
        }
        Err(e) => return Err(failed(&e, &node)),
    };
    let mut limits = Limits::parse(&text::data(data.as_deref()));
    let mut some = false;
    for option in OPTIONS.into_iter().filter(|o| parsed.has(*o)) {
        *limits.of(option) = -1;
        some = true;
    }
    if some {
        let text = limits.text();
        client
            .set(&node, Some(text.as_bytes()), ANY_VERSION)
            .await
            .map_err(|e| failed(&e, &node))?;
        return Ok(());
    }
    for name in [LIMITS, STATS] {
        let node = format!("{ROOT}{path}/{name}");
        client.delete(&node, ANY_VERSION).await.map_err(|e| failed(&e, &node))?;
    }
    trim(client, path).await
}

/// Removes what is left of the way to a quota, up to the first node that others need.
async fn trim(client: &Client, path: &str) -> Outcome {
    let mut at = path;
    while !at.is_empty() && at != "/" {
        let node = format!("{ROOT}{at}");
        match client.delete(&node, ANY_VERSION).await {
            Ok(()) => {}
            Err(e) if matches!(e.code(), Code::NOT_EMPTY | Code::NO_NODE) => break,
            Err(e) => return Err(failed(&e, &node)),
        }
        at = at.rsplit_once('/').map_or("", |(parent, _)| parent);
    }
    Ok(())
}
