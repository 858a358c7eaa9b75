//! The check of a step about a pod.

use crate::judge::account::PodAccount;
use crate::judge::outcome::Outcome;
use crate::judge::verdict::Check;

/// Whether it was done, or failed at the network that is to fail, and as it is to.
pub fn check(pod: &PodAccount) -> Check {
    let PodAccount { what, fails, refused, failed, left, .. } = pod;
    let observed = match failed {
        None => "done".into(),
        Some((network, error)) => {
            let left: String = left.iter().map(|error| format!("; not taken back: {error}")).collect();
            format!("{network} fails: {error}{left}")
        }
    };
    let is_it = match (failed, refused) {
        (Some((_, error)), Some(wanted)) => wanted.is(error.errno.as_deref(), error.text.as_deref()),
        _ => true,
    };
    let is_expected = is_it && failed.as_ref().map(|(network, _)| network) == fails.as_ref();
    let how = refused.as_ref().map(|wanted| format!(", {wanted}")).unwrap_or_default();
    Check {
        name: what.clone(),
        outcome: if is_expected { Outcome::Pass } else { Outcome::Fail },
        expected: fails.as_ref().map_or("done".into(), |network| format!("{network} fails{how}")),
        observed,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::plan::record::OpError;
    use crate::topology::request::Refused;

    #[rstest::rstest]
    #[case::as_it_is_to("b", "EBUSY", Some("device is in use"), Outcome::Pass)]
    #[case::another_errno("b", "EINVAL", Some("device is in use"), Outcome::Fail)]
    #[case::another_text("b", "EBUSY", Some("no memory"), Outcome::Fail)]
    #[case::no_text("b", "EBUSY", None, Outcome::Fail)]
    #[case::another_network("a", "EBUSY", Some("device is in use"), Outcome::Fail)]
    fn an_attachment_fails_as_it_is_to(
        #[case] network: &str,
        #[case] errno: &str,
        #[case] text: Option<&str>,
        #[case] expected: Outcome,
    ) {
        let error = OpError { what: "x".into(), errno: Some(errno.into()), text: text.map(Into::into) };
        let refused = Refused { errno: "EBUSY".into(), extack: Some("in use".into()), when: None };
        let pod = PodAccount {
            what: "attach pod to a, b".into(),
            attaches: true,
            fails: Some("b".into()),
            refused: Some(refused),
            failed: Some((network.into(), error)),
            left: Vec::new(),
        };
        let check = check(&pod);
        assert_eq!(check.outcome, expected, "{check:?}");
        assert_eq!(check.expected, "b fails, refused with EBUSY: in use");
    }
}
