//! Four-letter answers with what may differ replaced.

use super::render::Names;

/// Makes the answer to `word` comparable: one line of text per line kept.
pub fn normalise(word: &str, text: &str, names: &Names) -> Vec<String> {
    let name = word.split([' ', '\\']).next().unwrap_or(word);
    match name {
        "srvr" | "stat" => {
            let mut lines: Vec<String> = text.lines().map(|l| stat_line(l, names)).collect();
            // Connections come in an order that is indeterminate in Apache: a set of objects by
            // their identity.
            if let Some(first) = lines.iter().position(|l| l.starts_with(" /")) {
                let count = lines[first..].iter().take_while(|l| l.starts_with(" /")).count();
                lines[first..first + count].sort();
            }
            lines
        }
        "conf" => text.lines().map(conf_line).collect(),
        "cons" => {
            let mut lines: Vec<String> = text.lines().map(|l| cons_line(l, names)).collect();
            lines.sort();
            lines
        }
        "dump" => dump(text, names),
        "wchs" | "wchc" | "wchp" => watches(text, names, !word.ends_with(" as-sent")),
        // `mntr namespaces` keeps the per-namespace keys alone, `mntr` all others.
        "mntr" => mntr(text, word.contains(' ')),
        "envi" => {
            let key = |l: &str| l.split_once('=').map(|(k, _)| k.to_string());
            text.lines().map(|l| key(l).unwrap_or_else(|| l.to_string())).collect()
        }
        "dirs" => text.lines().map(digits_out).collect(),
        "hash" => {
            // The digests hang on the times of the transactions.
            let line = |l: &str| match l.split_once(": ") {
                Some((zxid, _)) => {
                    let zxid = i64::from_str_radix(zxid, 16).unwrap_or(-1);
                    format!("{}: digest", names.zxid(zxid))
                }
                None => l.to_string(),
            };
            text.lines().map(line).collect()
        }
        _ => text.lines().map(str::to_string).collect(),
    }
}

fn digits_out(line: &str) -> String {
    let mut out = String::new();
    let mut in_number = false;
    for c in line.chars() {
        if c.is_ascii_digit() {
            if !in_number {
                out.push('N');
            }
            in_number = true;
        } else {
            in_number = false;
            out.push(c);
        }
    }
    out
}

fn stat_line(line: &str, names: &Names) -> String {
    if let Some(rest) = line.strip_prefix("Zookeeper version: ") {
        let ok = rest.split_once(", built on ").is_some_and(|(v, date)| {
            let mut parts = v.splitn(2, '-');
            parts.next().is_some_and(|p| p.split('.').count() == 3)
                && parts.next().is_some_and(|h| !h.is_empty())
                && date.len() >= 20
        });
        return if ok { "Zookeeper version: V, built on D".to_string() } else { line.to_string() };
    }
    if line.starts_with("Latency min/avg/max: ") {
        let shape: String =
            line.chars().map(|c| if c.is_ascii_digit() { 'N' } else { c }).collect();
        // "0/0.0/0": the middle one has a point.
        let middle = shape.split('/').nth(3).unwrap_or_default();
        return format!(
            "Latency min/avg/max: N/{}/N",
            if middle.contains('.') { "N.N" } else { "N" }
        );
    }
    if let Some(hex) = line.strip_prefix("Zxid: 0x") {
        let zxid = i64::from_str_radix(hex, 16).unwrap_or(-1);
        return format!("Zxid: {}", names.zxid(zxid));
    }
    // How often the suite had to ask until the server was ready is nobody's business.
    for counter in ["Received: ", "Sent: "] {
        if line.strip_prefix(counter).is_some_and(|n| n.parse::<u64>().is_ok()) {
            return format!("{counter}N");
        }
    }
    if line.starts_with(" /") {
        return client_line(line);
    }
    line.to_string()
}

fn client_line(line: &str) -> String {
    // " /127.0.0.1:40000[1](queued=0,recved=3,sent=3)"
    match (line.rfind(':'), line.find('[')) {
        (Some(_), Some(open)) => {
            let start = line[..open].rfind(':').unwrap_or(0);
            format!("{}:P{}", &line[..start], &line[open..])
        }
        _ => line.to_string(),
    }
}

fn cons_line(line: &str, names: &Names) -> String {
    let line = client_line(line);
    let Some((head, rest)) = line.split_once('(') else {
        return line;
    };
    let fields: Vec<String> = rest
        .trim_end_matches(')')
        .split(',')
        .map(|field| match field.split_once('=') {
            Some(("sid", v)) => {
                let id = u64::from_str_radix(v.trim_start_matches("0x"), 16).unwrap_or(0) as i64;
                format!("sid={}", names.session(id))
            }
            Some(("lzxid", v)) => {
                let id = u64::from_str_radix(v.trim_start_matches("0x"), 16).unwrap_or(0) as i64;
                format!("lzxid={}", names.zxid(id))
            }
            Some((k @ ("est" | "lresp" | "llat" | "minlat" | "avglat" | "maxlat"), _)) => {
                format!("{k}=N")
            }
            _ => field.to_string(),
        })
        .collect();
    format!("{head}({})", fields.join(","))
}

fn conf_line(line: &str) -> String {
    match line.split_once('=') {
        Some((k @ ("clientPort" | "dataDirSize" | "dataLogSize"), _)) => format!("{k}=N"),
        Some((k @ ("dataDir" | "dataLogDir"), v)) => {
            let ends = if v.ends_with("version-2") { "DIR/version-2" } else { "DIR" };
            format!("{k}={ends}")
        }
        _ => line.to_string(),
    }
}

fn session_hex(word: &str, names: &Names) -> Option<String> {
    let digits = word.trim().trim_end_matches(':').strip_prefix("0x")?;
    let id = u64::from_str_radix(digits, 16).ok()? as i64;
    Some(names.session(id))
}

/// The sessions come in an order that hangs on their ids and on times (Apache groups them by when
/// they expire), which differ between any two servers; each one's paths keep their order.
fn dump(text: &str, names: &Names) -> Vec<String> {
    let mut out = Vec::new();
    let mut group: Vec<String> = Vec::new();
    for line in text.lines() {
        if line.starts_with("\tip:") || line.contains(" expire at ") {
            continue;
        }
        let shown = || session_hex(line, names).unwrap_or_else(|| line.trim().to_string());
        if line.starts_with("0x") {
            group.push(format!("{}:", shown()));
        } else if line.starts_with('\t') {
            match group.last_mut() {
                Some(last) if last.contains(':') => last.push_str(&format!(" {}", shown())),
                _ => group.push(shown()),
            }
        } else {
            group.sort();
            out.append(&mut group);
            // Of "Sets (buckets)/(entries)" the buckets hang on times. A connection of which Apache
            // has not yet seen the end counts too.
            let fixed = line.starts_with("Sessions with Ephemerals");
            let sets = line.split_once("Session Sets (").and_then(|(_, n)| n.split_once(")/"));
            out.push(match sets {
                _ if fixed => line.to_string(),
                Some((_, sessions)) => format!("Session Sets (N)/{sessions}"),
                None => digits_out(line),
            });
        }
    }
    group.sort();
    out.append(&mut group);
    out
}

/// Connections come in an order that is indeterminate in Apache (a map by the objects' identity), and
/// so do the sessions of a path. Paths come in that of a hash table, which we do not imitate: see the
/// gap of `watches-order`.
fn watches(text: &str, names: &Names, sorted: bool) -> Vec<String> {
    let mut blocks: Vec<(String, Vec<String>)> = Vec::new();
    for line in text.lines() {
        let shown = session_hex(line, names).unwrap_or_else(|| line.trim().to_string());
        if line.starts_with('\t') {
            if let Some(last) = blocks.last_mut() {
                last.1.push(shown);
            }
        } else {
            blocks.push((shown, Vec::new()));
        }
    }
    if sorted {
        for block in &mut blocks {
            block.1.sort();
        }
        blocks.sort();
    }
    blocks.into_iter().map(|(head, rest)| format!("{head} {}", rest.join(" "))).collect()
}

/// Keys whose values must be the same; of the others only the key is kept.
const SAME: &[&str] = &[
    "zk_server_state",
    "zk_znode_count",
    "zk_watch_count",
    "zk_ephemerals_count",
    "zk_num_alive_connections",
    "zk_outstanding_requests",
    "zk_global_sessions",
    "zk_local_sessions",
    "zk_connection_rejected",
    "zk_digest_mismatches_count",
    "zk_unrecoverable_error_count",
    "zk_auth_failed_count",
    "zk_non_mtls_remote_conn_count",
    "zk_stale_sessions_expired",
];

fn mntr(text: &str, namespaces: bool) -> Vec<String> {
    let mut out: Vec<String> = text
        .lines()
        .filter(|l| !l.starts_with("zk_jvm_") && !l.starts_with("zk_process_"))
        .filter(|l| l.contains("_per_namespace") == namespaces)
        .map(|line| match line.split_once('\t') {
            Some((k, v)) if SAME.contains(&k) => format!("{k} {v}"),
            Some((k, _)) => k.to_string(),
            None => line.to_string(),
        })
        .collect();
    // The first two lines have their place; the rest are in no order.
    let at = 2.min(out.len());
    out[at..].sort();
    out
}
