//! Whether a condition is for the kernel under test, and the check of one that is not.

use crate::judge::account::TrialAccount;
use crate::judge::outcome::Outcome;
use crate::judge::verdict::{Check, observed, value_of};
use crate::net::version::{Running, Series};
use crate::topology::condition::{Condition, Subject};

/// The first series whose `kfree_skb` tells a reason: c504e5c2f964 ("net: skb: introduce kfree_skb_reason()").
const FIRST_WITH_REASONS: Series = Series::new(5, 17);

/// Whether a condition is for a kernel.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Applies {
    /// It is judged.
    Yes,
    /// Its `when` has other kernels.
    Elsewhere,
    /// It asks for a drop reason, and the kernel has none.
    NoReasons,
    /// The kernel's release does not say on which side of `when` it is.
    Unknown,
}

/// Whether a condition is for this kernel; `None` is a kernel whose release is no version.
pub fn applies(condition: &Condition, kernel: Option<Running>) -> Applies {
    let asks_reason = matches!(condition.subject, Subject::Fate { reason: Some(_), .. });
    if asks_reason && kernel.is_some_and(|kernel| kernel.series() < FIRST_WITH_REASONS) {
        return Applies::NoReasons;
    }
    let Some(when) = &condition.when else { return Applies::Yes };
    match kernel.and_then(|kernel| when.contain(kernel)) {
        Some(true) => Applies::Yes,
        Some(false) => Applies::Elsewhere,
        None => Applies::Unknown,
    }
}

/// The check of a condition that is not for this kernel. `when` says where a condition holds and where it does not: one that
/// holds outside of it too fails, for the boundary is not where the file says.
pub fn not_applicable(condition: &Condition, why: Applies, trial: &TrialAccount) -> Check {
    let Condition { name, subject, bounds, when, .. } = condition;
    let value = value_of(subject, trial);
    let holds = value.is_some_and(|value| bounds.hold(value));
    let when = when.as_ref().map(|when| format!(" on kernels {when} only")).unwrap_or_default();
    let (outcome, observed) = match why {
        Applies::NoReasons => (
            Outcome::Skip,
            "not applicable on this kernel: it has no drop reasons, which came with 5.17".into(),
        ),
        Applies::Unknown => (Outcome::Error, "the kernel's release does not say on which side it is".into()),
        _ if holds => (
            Outcome::Fail,
            format!("{} on this kernel too: the boundary is elsewhere", observed(subject, *bounds, value)),
        ),
        _ => (Outcome::Skip, format!("not applicable on this kernel: {}", observed(subject, *bounds, value))),
    };
    Check { name: name.clone(), outcome, expected: format!("{bounds}{when}"), observed }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::topology::condition::{Bounds, FlowField};

    fn condition(reason: Option<&str>, when: Option<&str>) -> Condition {
        let flow = "f".to_owned();
        let subject = match reason {
            None => Subject::Flow { flow, field: FlowField::Lost },
            Some(reason) => {
                Subject::Fate { flow, layer: "qdisc".into(), device: None, reason: Some(reason.into()) }
            }
        };
        Condition {
            name: "c".into(),
            subject,
            bounds: Bounds { at_least: 9, at_most: Some(9) },
            broken_by: None,
            when: when.map(|when| when.parse().unwrap()),
        }
    }

    #[test]
    fn a_condition_is_for_the_kernels_of_its_range() {
        use Applies::{Elsewhere, NoReasons, Unknown, Yes};
        for (kernel, reason, when, expected) in [
            ("6.12.57", None, None, Yes),
            ("6.12.57", None, Some("6.11.."), Yes),
            ("6.1.192", None, Some("6.11.."), Elsewhere),
            ("7.3.4", None, Some("..6.12,7.1.."), Yes),
            ("6.18.15", None, Some("..6.12,7.1.."), Elsewhere),
            // Before 5.17 the kernel gives no reason, whatever is asked of it.
            ("5.10.262", Some("QDISC_DROP"), None, NoReasons),
            ("5.10.262", Some("QDISC_DROP"), Some("..6.12"), NoReasons),
            ("5.17.1", Some("QDISC_DROP"), None, Yes),
            ("6.1.0-28-amd64", None, Some("6.1.50.."), Unknown),
            ("mine", None, Some("6.1.50.."), Unknown),
            ("mine", None, None, Yes),
        ] {
            let kernel = Running::of("host", kernel);
            assert_eq!(applies(&condition(reason, when), kernel), expected, "{kernel:?} {reason:?} {when:?}");
        }
    }
}
