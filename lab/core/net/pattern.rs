//! Patterns with `*`, matched in linear time.

/// Whether a text is as a pattern says, in which `*` stands for anything, also for nothing.
pub fn glob(pattern: &str, text: &str) -> bool {
    let mut parts = pattern.split('*');
    let first = parts.next().unwrap_or_default();
    let Some(rest) = text.strip_prefix(first) else { return false };
    let Some(last) = parts.next_back() else { return rest.is_empty() };
    let Some(mut rest) = rest.strip_suffix(last) else { return false };
    // Taking each part at its first place leaves the most for those after it.
    parts.all(|part| match rest.find(part) {
        Some(at) => {
            rest = &rest[at + part.len()..];
            true
        }
        None => false,
    })
}

/// Whether a text holds what a pattern says, anywhere in it.
pub fn found_in(pattern: &str, text: &str) -> bool {
    glob(&format!("*{pattern}*"), text)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_star_stands_for_anything() {
        for (pattern, text, fits) in [
            ("eth*", "eth0", true),
            ("eth*", "et", false),
            ("*", "", true),
            ("", "", true),
            ("", "x", false),
            ("a*b*c", "aXbYc", true),
            ("a*b*c", "acb", false),
            ("ab*ba", "aba", false),
            ("*a*a*", "a", false),
        ] {
            assert_eq!(glob(pattern, text), fits, "{pattern} {text}");
        }
        // With going back to every star this would take 2^60 steps.
        assert!(!glob(&("*a".repeat(20_000) + "b"), &"a".repeat(60)));
        assert!(found_in("link * down", "bond0: link status definitely down for interface p0"));
        assert!(!found_in("link * up", "bond0: link status definitely down for interface p0"));
    }
}
