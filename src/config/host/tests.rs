use super::*;
use std::path::{Path, PathBuf};

/// Knows one name, and no file.
struct OneName;

impl Files for OneName {
    fn look_up(&self, name: &str) -> io::Result<IpAddr> {
        match name {
            "here" => Ok(IpAddr::from([10, 0, 0, 1])),
            _ => Err(io::ErrorKind::NotFound.into()),
        }
    }

    fn read(&self, _: &Path) -> io::Result<Vec<u8>> {
        Err(io::ErrorKind::NotFound.into())
    }

    fn canonical(&self, path: &Path) -> PathBuf {
        path.to_path_buf()
    }
}

#[test]
fn hosts_are_read_as_java_reads_them() {
    for (host, expect) in [
        ("", Some("127.0.0.1")),
        ("127.0.0.1", Some("127.0.0.1")),
        ("::1", Some("::1")),
        ("[::1]", Some("::1")),
        ("[0:0:0:0:0:0:0:1]", Some("::1")),
        ("::ffff:127.0.0.1", Some("127.0.0.1")),
        ("[::ffff:127.0.0.1]", Some("127.0.0.1")),
        ("here", Some("10.0.0.1")),
        ("elsewhere", None),
        ("[127.0.0.1]", None),
        ("[here]", None),
        ("[::1", None),
        ("[]", None),
    ] {
        let got = address(host, &OneName).ok();
        assert_eq!(got.map(|address| address.to_string()).as_deref(), expect, "{host}");
    }
}

#[test]
fn all_addresses_have_many_names() {
    for (host, expect) in [
        ("0.0.0.0", None),
        ("::", None),
        ("[::]", None),
        ("0:0:0:0:0:0:0:0", None),
        ("[::1]", Some("::1")),
        ("0:0:0:0:0:0:0:1", Some("::1")),
        ("127.0.0.1", Some("127.0.0.1")),
        ("a.example", Some("a.example")),
    ] {
        assert_eq!(to_listen_on(host).as_deref(), expect, "{host}");
    }
}
