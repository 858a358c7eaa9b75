//! The page's Content Security Policy: its own style and scripts by their hashes, and nothing else.

use std::fmt::Write;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use sha2::{Digest, Sha256};

/// The policy of a page with one style and these scripts. Whatever got into the page, nothing else is executed or applied
/// (`style` attributes included), nothing is fetched and nothing is sent.
pub fn policy(style: &str, scripts: &[&str]) -> String {
    let mut policy = "default-src 'none'".to_owned();
    for (directive, texts) in [("style-src", &[style][..]), ("script-src", scripts)] {
        let _ = write!(policy, "; {directive}");
        for text in texts {
            let _ = write!(policy, " 'sha256-{}'", STANDARD.encode(Sha256::digest(text)));
        }
    }
    policy + "; base-uri 'none'; form-action 'none'"
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The hashes are those of `openssl dgst -sha256 -binary | base64`.
    #[test]
    fn style_and_script_are_allowed_by_their_hashes_alone() {
        assert_eq!(
            policy("", &["abc", ""]),
            "default-src 'none'; style-src 'sha256-47DEQpj8HBSa+/TImW+5JCeuQeRkm5NMpJWZG3hSuFU='; \
             script-src 'sha256-ungWv48Bz+pBQUDeXa4iI7ADYaOWF3qctBD/YfIAFa0=' 'sha256-47DEQpj8HBSa+/TImW+5JCeuQeRkm5NMpJWZG3hSuFU='; \
             base-uri 'none'; form-action 'none'"
        );
    }
}
