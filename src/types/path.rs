//! Rules of znode paths (Apache `PathUtils`).

/// Whether `path` is a legal path of a node. Per UTF-16 unit, so a character outside the BMP is
/// never legal.
pub fn is_valid(path: &str) -> bool {
    let Some(rest) = path.strip_prefix('/') else { return false };
    if rest.is_empty() {
        return true;
    }
    // One pass over bytes, for every write; characters are looked at only where there are any that
    // take more than a byte.
    let rest = rest.as_bytes();
    let mut start = 0;
    for (i, &byte) in rest.iter().enumerate() {
        if byte == b'/' {
            if is_bad_part(&rest[start..i]) {
                return false;
            }
            start = i + 1;
        } else if byte < 0x20 || byte == 0x7f {
            return false;
        }
    }
    !is_bad_part(&rest[start..]) && (rest.is_ascii() || path.chars().all(is_valid_char))
}

fn is_bad_part(part: &[u8]) -> bool {
    matches!(part, b"" | b"." | b"..")
}

fn is_valid_char(c: char) -> bool {
    let c = c as u32;
    !(c <= 0x1f || (0x7f..=0x9f).contains(&c) || (0xd800..=0xf8ff).contains(&c) || c >= 0xfff0)
}

/// The parent of `path`: "/" for a child of the root, None when there is no slash at all. The
/// parent of "/" is "/" itself, as far as strings go.
pub fn parent(path: &str) -> Option<&str> {
    match path.rfind('/')? {
        0 => Some("/"),
        at => Some(&path[..at]),
    }
}

/// The part after the last slash.
pub fn name(path: &str) -> &str {
    path.rfind('/').map_or(path, |at| &path[at + 1..])
}

/// `prefix` with the sequence suffix of `counter`, `%010d` as in Java: a negative counter has its
/// sign within the ten columns.
pub fn sequential(prefix: &str, counter: i32) -> String {
    format!("{prefix}{counter:010}")
}

/// Whether `path` is `ancestor` or lies below it.
pub fn is_within(path: &str, ancestor: &str) -> bool {
    ancestor == "/"
        || path.strip_prefix(ancestor).is_some_and(|rest| rest.is_empty() || rest.starts_with('/'))
}

/// Nodes that always exist and that no request can delete.
pub const SPECIAL: [&str; 4] = ["/", "/zookeeper", "/zookeeper/quota", "/zookeeper/config"];

/// `/zookeeper`, the parent of everything the server itself keeps in the tree.
pub const ZOOKEEPER: &str = "/zookeeper";
/// `/zookeeper/quota`.
pub const QUOTA: &str = "/zookeeper/quota";
/// `/zookeeper/config`.
pub const CONFIG: &str = "/zookeeper/config";
