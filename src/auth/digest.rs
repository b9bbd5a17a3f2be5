//! The digest scheme: `user:base64(hash("user:password"))` (Apache `DigestAuthenticationProvider`).

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use sha1::Digest as _;

/// The hash of the scheme (`DigestAuthenticationProvider.digestAlg`).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default)]
pub enum DigestAlgorithm {
    /// Apache's default.
    #[default]
    Sha1,
    /// SHA-256.
    Sha256,
}

/// The id of `user:password`; without a colon the whole text is the user.
pub fn digest_id(algorithm: DigestAlgorithm, user_password: &str) -> String {
    let user = user_password.split(':').next().unwrap_or("");
    let hash = match algorithm {
        DigestAlgorithm::Sha1 => STANDARD.encode(sha1::Sha1::digest(user_password)),
        DigestAlgorithm::Sha256 => STANDARD.encode(sha2::Sha256::digest(user_password)),
    };
    format!("{user}:{hash}")
}

/// Whether an ACL id has exactly two parts around colons; Java's `split` drops empty parts at the
/// end, so `a:b::` has two and `a:` has one.
pub(super) fn is_valid(id: &str) -> bool {
    let trimmed = id.trim_end_matches(':');
    !trimmed.is_empty() && trimmed.split(':').count() == 2
}
