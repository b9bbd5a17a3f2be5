//! The hashes that the digest scheme may use, under the names that Java knows them by.

/// A hash of `java.security.MessageDigest`, as the JDK's own provider `SUN` has them.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Default)]
pub enum DigestAlgorithm {
    /// MD2.
    Md2,
    /// MD5.
    Md5,
    /// SHA-1, Apache's default.
    #[default]
    Sha1,
    /// SHA-224.
    Sha224,
    /// SHA-256.
    Sha256,
    /// SHA-384.
    Sha384,
    /// SHA-512.
    Sha512,
    /// SHA-512 cut to 224 bits, with initial values of its own.
    Sha512Of224,
    /// SHA-512 cut to 256 bits, with initial values of its own.
    Sha512Of256,
    /// SHA3-224.
    Sha3Of224,
    /// SHA3-256.
    Sha3Of256,
    /// SHA3-384.
    Sha3Of384,
    /// SHA3-512.
    Sha3Of512,
}

use DigestAlgorithm::*;

/// Java's standard name, its alias if there is one, and its object identifier.
const NAMES: &[(DigestAlgorithm, &str, &[&str])] = &[
    (Md2, "MD2", &[]),
    (Md5, "MD5", &[]),
    (Sha1, "SHA-1", &["SHA", "SHA1", "1.3.14.3.2.26"]),
    (Sha224, "SHA-224", &["SHA224", "2.16.840.1.101.3.4.2.4"]),
    (Sha256, "SHA-256", &["SHA256", "2.16.840.1.101.3.4.2.1"]),
    (Sha384, "SHA-384", &["SHA384", "2.16.840.1.101.3.4.2.2"]),
    (Sha512, "SHA-512", &["SHA512", "2.16.840.1.101.3.4.2.3"]),
    (Sha512Of224, "SHA-512/224", &["SHA512/224", "2.16.840.1.101.3.4.2.5"]),
    (Sha512Of256, "SHA-512/256", &["SHA512/256", "2.16.840.1.101.3.4.2.6"]),
    (Sha3Of224, "SHA3-224", &["2.16.840.1.101.3.4.2.7"]),
    (Sha3Of256, "SHA3-256", &["2.16.840.1.101.3.4.2.8"]),
    (Sha3Of384, "SHA3-384", &["2.16.840.1.101.3.4.2.9"]),
    (Sha3Of512, "SHA3-512", &["2.16.840.1.101.3.4.2.10"]),
];

impl DigestAlgorithm {
    /// The algorithm that `MessageDigest.getInstance` gives for a name: a standard name, an alias
    /// or an object identifier with or without `OID.`, in any case; None where Java throws.
    pub fn of_java(name: &str) -> Option<DigestAlgorithm> {
        let same = |known: &str| {
            let bare = match name.get(..4) {
                Some(oid) if oid.eq_ignore_ascii_case("OID.") && known.contains('.') => &name[4..],
                _ => name,
            };
            known.eq_ignore_ascii_case(bare)
        };
        let row = NAMES
            .iter()
            .find(|(_, standard, others)| same(standard) || others.iter().any(|other| same(other)));
        row.map(|(algorithm, ..)| *algorithm)
    }

    /// Java's standard names, in the order of [`DigestAlgorithm`].
    pub fn names() -> impl Iterator<Item = &'static str> {
        NAMES.iter().map(|(_, standard, _)| *standard)
    }
}
