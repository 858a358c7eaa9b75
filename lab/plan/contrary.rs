//! Contrary trials of `--prove`: the topology with none of its faults, or with another one, or made in another way.

use super::{Op, Plan, Role, act, build, connect, flood, inject, let_go};
use crate::link::{DeviceRef, Mac};
use crate::record::When;
use crate::scenario::{Contrary, Fault, Step, Subject};
use crate::topology::{Bond, Link, LinkKind, Topology};

/// For a state that a fault brings about: miimon and linkwatch.
const STATE_WITHIN_MS: u32 = 3_000;
/// For a capture that will not come to what it was to come to.
const CAPTURE_WITHIN_MS: u32 = 4_000;
/// A cable that no topology has, as nobody can write a name that long with a dot at its start.
const SPARE: [&str; 2] = [".spare0", ".spare1"];

/// Adds the contrary trials of a topology to its plan.
pub fn add(topology: &Topology, plan: &mut Plan) {
    for contrary in &topology.scenario.contraries {
        let ops = ops(topology, contrary, plan);
        plan.trials.push(super::Trial { role: Role::Contrary(contrary.to_string()), ops });
    }
}

fn ops(topology: &Topology, contrary: &Contrary, plan: &mut Plan) -> Vec<Op> {
    let (cause, until) = match contrary {
        Contrary::Until(cause, until) => (cause.as_ref(), Some(until.clone())),
        other => (other, None),
    };
    let mut ops = match cause {
        Contrary::Plain(device) => build(&plain(topology, device)),
        _ => build(topology),
    };
    if let Contrary::Joined(bond) = cause {
        ops.extend(join_spare(bond));
    }
    let mut acts: Vec<Op> = match cause {
        Contrary::Healthy | Contrary::Plain(_) | Contrary::Joined(_) => Vec::new(),
        Contrary::Broken(fault) => vec![Op::Inject { name: "contrary".into(), fault: fault.clone() }],
        Contrary::Named(name) => vec![inject(topology, name)],
        Contrary::Replugged(device) => replug(topology, device),
        Contrary::Halved | Contrary::Unattached | Contrary::Until(..) => Vec::new(),
    };
    let keeps_faults = matches!(cause, Contrary::Named(_) | Contrary::Halved);
    let steps = if *cause == Contrary::Unattached { &[][..] } else { &topology.scenario.steps };
    for step in steps {
        acts.extend(contrary_step(topology, step, keeps_faults));
    }
    if *cause == Contrary::Halved {
        halve(&mut acts, plan);
    }
    acts.extend(until.map(|until| Op::Wait { until, within_ms: STATE_WITHIN_MS }));
    ops.extend(connect(topology, &acts));
    ops.push(Op::Count(When::Before));
    ops.extend(topology.scenario.captures.values().cloned().map(Op::Capture));
    let let_go = let_go(topology, &acts);
    ops.extend(acts.into_iter().chain(let_go));
    ops.push(Op::Count(When::After));
    ops
}

/// What a step becomes where its faults are left out: what they would bring about is not waited for. Pods are attached
/// all the same: without them most flows have no sender.
fn contrary_step(topology: &Topology, step: &Step, keeps_faults: bool) -> Vec<Op> {
    match step {
        Step::Break { flow: name, .. } if !keeps_faults => vec![flood(topology, name, None)],
        Step::Flood(name) => vec![flood(topology, name, None)],
        Step::Wait { until, within_ms } if matches!(until.subject, Subject::Captured { .. }) => {
            vec![Op::Wait { until: until.clone(), within_ms: (*within_ms).min(CAPTURE_WITHIN_MS) }]
        }
        Step::Pause(for_ms) => vec![Op::Pause(*for_ms)],
        Step::Attach(_) | Step::Detach(_) | Step::Check(_) => act(topology, step),
        step if keeps_faults => act(topology, step),
        _ => Vec::new(),
    }
}

/// Sends half of each flow.
fn halve(acts: &mut [Op], plan: &mut Plan) {
    for act in acts {
        if let Op::Flood { flow, broken } = act {
            if let Some(broken) = broken {
                broken.at_frame /= 2;
            }
            let mut half = plan.flows[usize::from(*flow)].clone();
            half.flow.frames = half.flow.frames.div_ceil(2);
            *flow = u16::try_from(plan.flows.len()).expect("checked: flows are numbered in 16 bits");
            plan.flows.push(half);
        }
    }
}

/// The topology with a device that has nothing but what it cannot be without.
fn plain(topology: &Topology, device: &DeviceRef) -> Topology {
    let mut topology = topology.clone();
    if let Some(link) = topology.links.get_mut(device) {
        (link.mac, link.mtu, link.txqueuelen, link.qdisc) = (None, None, None, None);
        link.addresses.clear();
        if let LinkKind::Bond(bond) = &mut link.kind {
            **bond = Bond::new(bond.mode, bond.ports.clone());
        }
    }
    topology
}

/// A cable of which one end is a port of the bond.
fn join_spare(bond: &DeviceRef) -> Vec<Op> {
    let [near, far] = SPARE.map(|name| DeviceRef::new(&bond.ns, &name.parse().expect("a name")));
    let end = |device: &DeviceRef, peer: &DeviceRef, last| Link {
        device: device.clone(),
        kind: LinkKind::Veth { peer: peer.clone() },
        mac: Some(Mac([0x02, 0, 0x5e, 0xff, 0xff, last])),
        mtu: None,
        txqueuelen: None,
        up: true,
        later: false,
        addresses: Vec::new(),
        qdisc: None,
    };
    vec![
        Op::Create { link: end(&near, &far, 1), peer: Some(end(&far, &near, 2)) },
        Op::Join { port: near.clone(), controller: bond.clone() },
        Op::Up(near),
        Op::Up(far),
    ]
}

/// All cables of the other side out, and this one in again: whoever stands on it sees a new link.
fn replug(topology: &Topology, device: &DeviceRef) -> Vec<Op> {
    let is_cable = |link: &&Link| link.device.ns == device.ns && matches!(link.kind, LinkKind::Veth { .. });
    let cables = topology.links.values().filter(is_cable).map(|link| link.device.clone());
    let down = |device: DeviceRef| ("unplug".to_owned(), Fault::Down { device });
    let mut acts: Vec<Op> = cables.map(down).map(|(name, fault)| Op::Inject { name, fault }).collect();
    acts.push(Op::Pause(STATE_WITHIN_MS / 10));
    let (name, fault) = down(device.clone());
    acts.push(Op::Clear { name, fault, standing: None });
    acts.push(Op::Pause(STATE_WITHIN_MS / 3));
    acts
}
