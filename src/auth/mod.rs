//! Who is it, and may they: schemes, identities and the check of access control lists; pure.
//!
//! An identity is gained by an auth packet (`digest`, `ip`), by the connection itself (`ip`) or by
//! a certificate or SASL login that the shell reports. An ACL is fixed up once, when it is stored,
//! and then checked against the identities a request carries. Must not know: trees, sessions,
//! sockets. Apache: `ZooKeeperServer.checkACL`, `PrepRequestProcessor.fixupACL`, `server.auth.*`.

mod digest;
mod ip;
#[cfg(test)]
mod tests;

pub use digest::digest_id;
pub use ip::address_text;

pub use crate::types::DigestAlgorithm;
use crate::types::{Acl, Code, Id, Perms, map};

/// What is registered and who is super.
#[derive(Clone, Debug, Default)]
pub struct Options {
    /// `skipACL=yes`: everything is permitted.
    pub skip_acl: bool,
    /// The digest scheme, None when switched off (`DigestAuthenticationProvider.enabled`).
    pub digest: Option<DigestAlgorithm>,
    /// `user:hash` of the identity that may do everything.
    pub super_digest: Option<String>,
    /// The sasl scheme may be used in ACLs (`authProvider.*=SASLAuthenticationProvider`).
    pub sasl: bool,
    /// An ACL id that every sasl identity matches (`letAnySaslUserDoX`).
    pub let_any_sasl_user_do: Option<String>,
    /// The x509 scheme is registered.
    pub x509: bool,
    /// The certificate's subject that may do everything.
    pub x509_super_user: Option<String>,
    /// Who the ensemble scheme lets in; None when it is not registered.
    pub ensemble: Option<EnsembleNames>,
}

/// Who may go on after an auth packet of the scheme `ensemble`. One without a name always may.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum EnsembleNames {
    /// Everyone: `ensembleAuthName` is not set.
    Any,
    /// Those who say one of these.
    Only(Vec<String>),
}

/// Why an auth packet got nobody in.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Refused {
    /// Answer AUTHFAILED, then close.
    Failed,
    /// Close without an answer (scheme `ensemble` with a foreign name).
    CloseSilently,
}

/// Bytes that the lists of one request may have more than the request, where identities replace
/// `auth`: members of an ensemble refuse a transaction much larger than the largest request.
pub const EXPANDED_MAX: usize = 256 << 10;

/// Entries of a list times identities up to which each entry is compared with each identity.
const PAIRS_MAX: usize = 256;

/// Bytes of a list of ACLs in a record.
pub fn encoded_len(acl: &[Acl]) -> usize {
    let text = |text: &Option<String>| 4 + text.as_ref().map_or(0, String::len);
    acl.iter().map(|entry| 4 + text(&entry.id.scheme) + text(&entry.id.id)).sum()
}

/// The schemes of one server and the checks that use them.
#[derive(Clone, Debug, Default)]
pub struct Auth {
    options: Options,
}

impl Auth {
    /// The schemes that `options` registers.
    pub fn new(options: Options) -> Auth {
        Auth { options }
    }

    /// Whether any of `ids` may do any of `wanted` under `acl`. An empty list is open to all.
    pub fn check(&self, acl: &[Acl], ids: &[Id], wanted: Perms) -> bool {
        if acl.is_empty() || self.options.skip_acl {
            return true;
        }
        if ids.iter().any(|id| id.scheme() == "super") {
            return true;
        }
        let mut wanted = acl.iter().filter(|entry| entry.perms.any(wanted)).map(|entry| &entry.id);
        if acl.len().saturating_mul(ids.len()) <= PAIRS_MAX {
            return wanted.any(|entry| self.entry_matches(entry, ids));
        }
        // A client may store fifty thousand entries and have a thousand identities.
        let mut known = map();
        known.extend(ids.iter().map(|id| ((id.scheme(), id.id()), ())));
        wanted.any(|entry| match entry.scheme() {
            "digest" => {
                self.options.digest.is_some() && known.contains_key(&("digest", entry.id()))
            }
            _ => self.entry_matches(entry, ids),
        })
    }

    fn entry_matches(&self, entry: &Id, ids: &[Id]) -> bool {
        let (scheme, expression) = (entry.scheme(), entry.id());
        match scheme {
            "world" => expression == "anyone",
            "digest" if self.options.digest.is_some() => same_id(entry, ids),
            "ip" => ids.iter().any(|id| id.scheme() == "ip" && ip::matches(id.id(), expression)),
            "x509" if self.options.x509 => {
                let super_user = self.options.x509_super_user.as_deref();
                same_id(entry, ids)
                    || ids.iter().any(|id| id.scheme() == "x509" && Some(id.id()) == super_user)
            }
            "sasl" if self.options.sasl => {
                let any = self.options.let_any_sasl_user_do.as_deref() == Some(expression);
                ids.iter().any(|id| {
                    id.scheme() == "sasl" && (any || id.id() == "super" || id.id() == expression)
                })
            }
            _ => false,
        }
    }

    /// The list that is stored for a request's `acl`: duplicates dropped, `auth` replaced by the
    /// identities of the connection that count. Anything unusable is INVALIDACL.
    pub fn fix_up(&self, acl: Option<&[Acl]>, ids: &[Id]) -> Result<Vec<Acl>, Code> {
        let mut fixed: Vec<Acl> = Vec::new();
        // A list of ten thousand entries is legal, so duplicates are found by a set.
        let mut seen = std::collections::BTreeSet::new();
        let mut room = EXPANDED_MAX;
        for entry in acl.unwrap_or_default().iter().filter(|entry| seen.insert(*entry)) {
            let scheme = entry.id.scheme.as_deref().ok_or(Code::INVALID_ACL)?;
            let id = match entry.id.id.as_deref() {
                Some(id) => id,
                // Who looks at a null id in Apache fails on it; `auth` does not look.
                None if scheme == "world" || self.is_registered(scheme) => {
                    return Err(Code::MARSHALLING_ERROR);
                }
                None => "",
            };
            match scheme {
                "world" if id == "anyone" => fixed.push(entry.clone()),
                "auth" => {
                    let before = fixed.len();
                    for id in ids.iter().filter(|id| self.counts_as_authenticated(id)) {
                        let bytes = 12 + id.scheme().len() + id.id().len();
                        room = room.checked_sub(bytes).ok_or(Code::INVALID_ACL)?;
                        fixed.push(Acl { perms: entry.perms, id: id.clone() });
                    }
                    if fixed.len() == before {
                        return Err(Code::INVALID_ACL);
                    }
                }
                _ if self.is_valid(scheme, id) => fixed.push(entry.clone()),
                _ => return Err(Code::INVALID_ACL),
            }
        }
        if fixed.is_empty() { Err(Code::INVALID_ACL) } else { Ok(fixed) }
    }

    fn counts_as_authenticated(&self, id: &Id) -> bool {
        match id.scheme() {
            "digest" => self.options.digest.is_some(),
            "x509" => self.options.x509,
            "sasl" => self.options.sasl,
            _ => false,
        }
    }

    fn is_registered(&self, scheme: &str) -> bool {
        match scheme {
            "digest" => self.options.digest.is_some(),
            "ip" => true,
            "x509" => self.options.x509,
            "sasl" => self.options.sasl,
            _ => false,
        }
    }

    fn is_valid(&self, scheme: &str, id: &str) -> bool {
        match scheme {
            "digest" => self.options.digest.is_some() && digest::is_valid(id),
            "ip" => ip::is_valid(id),
            "x509" => self.options.x509 && is_distinguished_name(id),
            "sasl" => self.options.sasl && is_kerberos_name(id),
            _ => false,
        }
    }

    /// The identities that an auth packet adds to the connection from `peer` (as
    /// [`address_text`]). Null scheme or data fail, as do unknown schemes.
    pub fn authenticate(
        &self,
        scheme: Option<&str>,
        data: Option<&[u8]>,
        peer: &str,
    ) -> Result<Vec<Id>, Refused> {
        let (Some(scheme), Some(data)) = (scheme, data) else { return Err(Refused::Failed) };
        match scheme {
            "digest" => {
                let algorithm = self.options.digest.ok_or(Refused::Failed)?;
                let id = digest_id(algorithm, &String::from_utf8_lossy(data));
                let mut ids = Vec::new();
                if self.options.super_digest.as_deref() == Some(id.as_str()) {
                    ids.push(Id::new("super", ""));
                }
                ids.push(Id::new("digest", id));
                Ok(ids)
            }
            "ip" => Ok(vec![Id::new("ip", peer)]),
            "ensemble" => match &self.options.ensemble {
                None => Err(Refused::Failed),
                Some(EnsembleNames::Only(names))
                    if !data.is_empty() && !names.iter().any(|name| name.as_bytes() == data) =>
                {
                    Err(Refused::CloseSilently)
                }
                Some(_) => Ok(Vec::new()),
            },
            _ => Err(Refused::Failed),
        }
    }

    /// The user that an identity stands for, as whoAmI and the audit log show it; empty when the
    /// scheme has none.
    pub fn user_name<'a>(&self, id: &'a Id) -> &'a str {
        match id.scheme() {
            "digest" => id.id().split(':').next().unwrap_or(""),
            "ip" | "sasl" | "x509" => id.id(),
            _ => "",
        }
    }
}

fn same_id(entry: &Id, ids: &[Id]) -> bool {
    ids.iter().any(|id| id.scheme() == entry.scheme() && id.id() == entry.id())
}

/// `service`, `service@REALM` or `service/host@REALM` (Apache `KerberosName`).
fn is_kerberos_name(name: &str) -> bool {
    match name.split_once('@') {
        None => true,
        Some((before, realm)) => {
            !realm.contains(['/', '@']) && before.bytes().filter(|b| *b == b'/').count() <= 1
        }
    }
}

/// Whether `name` looks like an X.500 name: `TYPE=value` parts separated by commas.
fn is_distinguished_name(name: &str) -> bool {
    name.is_empty()
        || name.replace("\\,", "").split(',').all(|part| {
            part.split_once('=').is_some_and(|(kind, _)| {
                let kind = kind.trim();
                !kind.is_empty()
                    && kind.chars().all(|c| c.is_ascii_alphanumeric() || c == '.' || c == '-')
            })
        })
}
