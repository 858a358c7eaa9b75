//! The check of a step that the kernel is to refuse.

use crate::judge::account::AttemptAccount;
use crate::judge::outcome::Outcome;
use crate::judge::verdict::Check;
use crate::net::version::{KernelRanges, Running};

/// Whether it was refused as it was to be, or carried out on a kernel that is to carry it out.
pub fn check(attempt: &AttemptAccount, kernel: Option<Running>) -> Check {
    let AttemptAccount { what, wanted, error } = attempt;
    let is_wanted = match &wanted.when {
        Some(when) => kernel.and_then(|kernel| when.contain(kernel)),
        None => Some(true),
    };
    let is_it = error.as_ref().map(|error| wanted.is(error.errno.as_deref(), error.text.as_deref()));
    let outcome = match (is_wanted, is_it) {
        (None, _) => Outcome::Error,
        (Some(true), Some(true)) | (Some(false), None) => Outcome::Pass,
        _ => Outcome::Fail,
    };
    let when = wanted.when.as_ref();
    let expected = match is_wanted {
        Some(true) => wanted.to_string(),
        Some(false) => format!("carried out, and on kernels {} {wanted}", join(when)),
        None => format!("{wanted} on kernels {} only", join(when)),
    };
    let observed = match (is_wanted, error) {
        (None, _) => "the kernel's release does not say on which side it is".into(),
        (_, Some(error)) => error.to_string(),
        (_, None) => "carried out".into(),
    };
    Check { name: format!("step: {what}"), outcome, expected, observed }
}

fn join(when: Option<&KernelRanges>) -> String {
    when.map(ToString::to_string).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::plan::record::OpError;
    use crate::topology::request::Refused;

    const NEW: &str = "6.18.15";
    const OLD: &str = "6.12.57";

    #[rstest::rstest]
    #[case(None, Some("EBUSY"), OLD, Outcome::Pass)]
    #[case(None, Some("EINVAL"), OLD, Outcome::Fail)]
    #[case(None, None, OLD, Outcome::Fail)]
    #[case(Some("6.18.."), Some("EBUSY"), NEW, Outcome::Pass)]
    #[case(Some("6.18.."), None, NEW, Outcome::Fail)]
    #[case(Some("6.18.."), None, OLD, Outcome::Pass)]
    #[case(Some("6.18.."), Some("EBUSY"), OLD, Outcome::Fail)]
    #[case(Some("6.18.."), Some("EBUSY"), "custom", Outcome::Error)]
    fn a_step_is_refused_where_it_is_to_be(
        #[case] when: Option<&str>,
        #[case] errno: Option<&str>,
        #[case] release: &str,
        #[case] expected: Outcome,
    ) {
        let error = |errno: &str| OpError { what: "x".into(), errno: Some(errno.into()), text: None };
        let when = when.map(|when| when.parse().unwrap());
        let wanted = Refused { errno: "EBUSY".into(), extack: None, when };
        let attempt = AttemptAccount { what: "x".into(), wanted, error: errno.map(error) };
        assert_eq!(check(&attempt, Running::of(release, "")).outcome, expected);
    }
}
