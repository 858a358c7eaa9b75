//! Whether this is a CI machine, where no one reviews: what is skipped or new there is a failure.

/// By the variable `CI`: any value but an empty one, `0` and `false`.
#[must_use]
pub fn is_ci() -> bool {
    std::env::var_os("CI").is_some_and(|value| value.to_str().is_none_or(means_ci))
}

fn means_ci(value: &str) -> bool {
    !matches!(value, "" | "0" | "false")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[rstest::rstest]
    #[case("true", true)]
    #[case("1", true)]
    #[case("woodpecker", true)]
    #[case("", false)]
    #[case("0", false)]
    #[case("false", false)]
    fn ci_is_any_value_but_empty_zero_and_false(#[case] value: &str, #[case] expected: bool) {
        assert_eq!(means_ci(value), expected);
    }
}
