//! The end of a noun behind a number.

/// Nothing behind one, and an `s` behind any other number.
pub fn s<N: PartialEq + From<u8>>(count: N) -> &'static str {
    if count == N::from(1) { "" } else { "s" }
}
