//! The file of `-client-configuration`: properties of Java's client (`ZKClientConfig`).
//!
//! A property that this client knows takes effect; one that asks for TLS is refused, because the
//! connection would not be protected; every other one is named in a warning.

use std::path::Path;

use crate::config::properties;

/// What a file comes to.
#[derive(Debug, Default, Clone, PartialEq, Eq)]
pub struct Settings {
    /// `jute.maxbuffer`: the longest reply that is accepted, in bytes.
    pub reply_bytes_max: Option<usize>,
    /// Warnings, a sentence each.
    pub notes: Vec<String>,
}

impl Settings {
    /// Reads a file of properties.
    ///
    /// # Errors
    /// A sentence that names the file: it can't be read or parsed, a value is not of its kind, or it
    /// asks for TLS.
    pub fn read(path: &Path) -> Result<Settings, String> {
        let file = path.display();
        let bytes = std::fs::read(path)
            .map_err(|e| format!("error: can't read the client configuration {file}: {e}"))?;
        Settings::parse(&file.to_string(), &bytes)
    }

    fn parse(file: &str, bytes: &[u8]) -> Result<Settings, String> {
        let all = properties::parse(bytes).map_err(|e| format!("error: {file}: {e}"))?;
        let mut settings = Settings::default();
        for property in properties::last_wins(all) {
            let (key, value) = (property.key.as_str(), property.value.trim());
            let at = format!("{file}:{}", property.line);
            match key {
                "zookeeper.client.secure" if value.eq_ignore_ascii_case("false") => {}
                "zookeeper.client.secure" => {
                    return Err(format!(
                        "error: {at}: {key}={value} can't be done\n  hint: this client has no TLS \
                         yet; without this line it connects unencrypted"
                    ));
                }
                "jute.maxbuffer" => {
                    let bytes = value.parse().map_err(|_| {
                        format!("error: {at}: {key}={value} is not a number of bytes")
                    })?;
                    settings.reply_bytes_max = Some(bytes);
                }
                _ => settings.notes.push(format!("{at}: {key} has no effect here")),
            }
        }
        Ok(settings)
    }
}

#[cfg(test)]
mod tests {
    use super::Settings;

    fn parse(text: &str) -> Result<Settings, String> {
        Settings::parse("c.cfg", text.as_bytes())
    }

    #[test]
    fn a_client_configuration_takes_effect_or_is_refused_or_named() {
        let got = parse("jute.maxbuffer=2000000\nzookeeper.request.timeout=5\n").expect("parses");
        assert_eq!(got.reply_bytes_max, Some(2_000_000));
        assert_eq!(got.notes, ["c.cfg:2: zookeeper.request.timeout has no effect here"]);
        let refused = parse("a=b\nzookeeper.client.secure=true\n").expect_err("refused");
        assert!(refused.contains("c.cfg:2: zookeeper.client.secure=true"), "{refused}");
        assert_eq!(parse("zookeeper.client.secure=false"), Ok(Settings::default()));
        assert!(parse("jute.maxbuffer=big").is_err());
        let missing = Settings::read("nowhere/c.cfg".as_ref()).expect_err("missing");
        assert!(missing.contains("nowhere/c.cfg"), "{missing}");
    }
}
