//! The digest scheme: `user:base64(hash("user:password"))` (Apache `DigestAuthenticationProvider`).

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;

use crate::types::DigestAlgorithm;

/// The id of `user:password`; without a colon the whole text is the user.
pub fn digest_id(algorithm: DigestAlgorithm, user_password: &str) -> String {
    let user = user_password.split(':').next().unwrap_or("");
    format!("{user}:{}", STANDARD.encode(hash(algorithm, user_password.as_bytes())))
}

fn hash(algorithm: DigestAlgorithm, text: &[u8]) -> Vec<u8> {
    fn of<D: sha1::Digest>(text: &[u8]) -> Vec<u8> {
        D::digest(text).to_vec()
    }
    match algorithm {
        DigestAlgorithm::Md2 => of::<md2::Md2>(text),
        DigestAlgorithm::Md5 => of::<md5::Md5>(text),
        DigestAlgorithm::Sha1 => of::<sha1::Sha1>(text),
        DigestAlgorithm::Sha224 => of::<sha2::Sha224>(text),
        DigestAlgorithm::Sha256 => of::<sha2::Sha256>(text),
        DigestAlgorithm::Sha384 => of::<sha2::Sha384>(text),
        DigestAlgorithm::Sha512 => of::<sha2::Sha512>(text),
        DigestAlgorithm::Sha512Of224 => of::<sha2::Sha512_224>(text),
        DigestAlgorithm::Sha512Of256 => of::<sha2::Sha512_256>(text),
        DigestAlgorithm::Sha3Of224 => of::<sha3::Sha3_224>(text),
        DigestAlgorithm::Sha3Of256 => of::<sha3::Sha3_256>(text),
        DigestAlgorithm::Sha3Of384 => of::<sha3::Sha3_384>(text),
        DigestAlgorithm::Sha3Of512 => of::<sha3::Sha3_512>(text),
    }
}

/// Whether an ACL id has exactly two parts around colons; Java's `split` drops empty parts at the
/// end, so `a:b::` has two and `a:` has one.
pub(super) fn is_valid(id: &str) -> bool {
    let trimmed = id.trim_end_matches(':');
    !trimmed.is_empty() && trimmed.split(':').count() == 2
}
