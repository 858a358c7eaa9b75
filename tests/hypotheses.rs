//! Explanations that configure something in another way: what differs in their trials, and what does not.

use bondlab_core::net::name::DeviceRef;
use bondlab_core::plan::lower::{lower, lower_attempts};
use bondlab_core::plan::op::Op;
use bondlab_core::plan::{Need, Plan, Role, RunOptions};
use bondlab_core::topology::Topology;

const REPORT: &str = r#"
[ns.node.veth.p0]
peer = "far:p0"
[ns.node.veth.p1]
peer = "far:p1"
[ns.far.veth.p0]
peer = "node:p0"
addresses = ["192.0.2.2/24"]
[ns.node.bond.bond0]
mode = "active-backup"
miimon = 100
ports = ["p0", "p1"]
addresses = ["192.0.2.1/24"]
[flow.probe]
from = "node:bond0"
to = "far:p0"
frames = 10
[fault.down.cut]
device = "far:p1"
[report]
floods = ["probe"]
evidence = [{ flow = "probe", field = "delivered", equals = 0 }]
[mitigation.longer-queue]
about = "a longer queue"
steps = [{ device = "node:bond0", txqueuelen = 10 }]
[hypothesis.cut]
about = "the cable is out"
inject = ["cut"]
[hypothesis.miswired]
about = "no monitor, and a port less"
with.ns.node.bond.bond0 = { miimon = 0, ports = ["p0"] }
[hypothesis.bridged]
about = "the far end is a bridge's port"
inject = ["cut"]
[hypothesis.bridged.with.ns.far.bridge.br0]
ports = ["p1"]
"#;

fn topology() -> Topology {
    Topology::parse("t", "t.toml", REPORT).unwrap_or_else(|errors| panic!("{errors}"))
}

fn ops<'p>(plan: &'p Plan, role: &Role) -> &'p [Op] {
    &plan.trials.iter().find(|trial| trial.role == *role).unwrap_or_else(|| panic!("no trial {role}")).ops
}

/// The bond as a trial makes it, and how many ports join it.
fn bond(plan: &Plan, role: &Role) -> (Option<u32>, usize) {
    let bond0: DeviceRef = "node:bond0".parse().expect("it is a device");
    let made = ops(plan, role).iter().find_map(|op| match op {
        Op::Create { link, .. } if link.device == bond0 => Some(link),
        _ => None,
    });
    let bondlab_core::net::link::LinkKind::Bond(bond) = &made.expect("each trial makes it").kind else {
        panic!("a bond")
    };
    let joins = |op: &&Op| matches!(op, Op::Join { controller, .. } if *controller == bond0);
    (bond.options.miimon, ops(plan, role).iter().filter(joins).count())
}

#[test]
fn what_is_configured_in_another_way_is_so_in_its_own_trial_alone() {
    let plan = lower(&topology());
    let hypothesis = |name: &str| Role::Hypothesis(name.into());
    assert_eq!(bond(&plan, &Role::Control), (Some(100), 2));
    assert_eq!(bond(&plan, &hypothesis("cut")), (Some(100), 2));
    assert_eq!(bond(&plan, &hypothesis("miswired")), (Some(0), 1));
    assert_eq!(bond(&plan, &hypothesis("bridged")), (Some(100), 2));
}

#[test]
fn what_was_tried_is_tried_on_what_is_configured_in_another_way() {
    let plan = lower_attempts(&topology(), &RunOptions::default(), true);
    let tried = |cause: &str| Role::Mitigation { cause: cause.into(), mitigation: "longer-queue".into() };
    assert_eq!(bond(&plan, &tried("cut")), (Some(100), 2));
    assert_eq!(bond(&plan, &tried("miswired")), (Some(0), 1));
}

#[test]
fn a_kind_of_link_that_only_an_explanation_has_is_needed_of_the_kernel() {
    assert!(lower(&topology()).needs.contains(&Need::Link("bridge".into())));
    let without = REPORT.split("[hypothesis.bridged]").next().expect("there is a part before it");
    let topology = Topology::parse("t", "t.toml", without).unwrap_or_else(|errors| panic!("{errors}"));
    assert!(!lower(&topology).needs.contains(&Need::Link("bridge".into())));
}

#[test]
fn a_fault_of_the_same_explanation_is_injected_as_well() {
    let plan = lower(&topology());
    let injects = |name: &str| {
        ops(&plan, &Role::Hypothesis(name.into())).iter().filter(|op| matches!(op, Op::Inject { .. })).count()
    };
    assert_eq!((injects("cut"), injects("miswired"), injects("bridged")), (1, 0, 1));
}
