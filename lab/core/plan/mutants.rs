//! Mutant trials of `--prove`: the topology with none of its faults, or with another one, or made in another way.

use std::net::IpAddr;

use indexmap::IndexMap;

use crate::net::address::Mac;
use crate::net::bond::Bond;
use crate::net::link::{Link, LinkKind};
use crate::net::link_extras::Extras;
use crate::net::name::{DeviceRef, IfName};
use crate::net::nic::{Netdevsim, Nic, VfSettings};
use crate::plan::lower::{act, counted, flood, inject};
use crate::plan::op::Op;
use crate::plan::{Plan, Role, build};
use crate::topology::Topology;
use crate::topology::cni::{Attachment, Delegate};
use crate::topology::condition::Subject;
use crate::topology::mutant::Mutant;
use crate::topology::scenario::{Flow, Socket, Step};
use crate::topology::substitute::set_down;

/// For a state that a fault brings about: miimon and linkwatch.
const STATE_WITHIN_MS: u32 = 3_000;
/// For a capture that will not come to what it was to come to.
const CAPTURE_WITHIN_MS: u32 = 4_000;
/// A cable that no topology has: its name begins with a dot and is longer than a name may be.
const SPARE: [&str; 2] = [".spare0", ".spare1"];
/// An address that no device of a topology has: a stranger's.
const STRANGE_MAC: Mac = Mac([0x02, 0, 0x5e, 0xff, 0xff, 3]);

/// Adds the mutant trials of a topology to its plan.
pub fn add(topology: &Topology, mutants: &[Mutant], plan: &mut Plan) {
    for mutant in mutants {
        let ops = ops(topology, mutant, plan);
        plan.trials.push(crate::plan::Trial { role: Role::Mutant(mutant.to_string()), ops });
    }
}

fn ops(topology: &Topology, mutant: &Mutant, plan: &mut Plan) -> Vec<Op> {
    let (cause, until) = match mutant {
        Mutant::Until(cause, until) => (cause.as_ref(), Some(until.clone())),
        other => (other, None),
    };
    let changed = changed(topology, cause);
    let mut ops = build(&changed);
    if let Mutant::Joined(bond) = cause {
        ops.extend(join_spare(bond));
    }
    let mut acts = steps(&changed, cause);
    if *cause == Mutant::Halved {
        halve(&mut acts, plan);
    }
    for act in &mut acts {
        // How these end is not asked; of several that depend on each other the first shows that none will hold.
        if let Op::Wait { unless_timed_out, .. } = act {
            *unless_timed_out = true;
        }
    }
    acts.extend(until.map(|until| Op::Wait { until, within_ms: STATE_WITHIN_MS, unless_timed_out: false }));
    counted(topology, ops, acts)
}

/// The topology with what is made in another way.
fn changed(topology: &Topology, cause: &Mutant) -> Topology {
    let mut topology = topology.clone();
    let steps = &mut topology.scenario.steps;
    match cause {
        Mutant::Plain(device) => {
            // What a VF is without is its PF's to say.
            if let Some(LinkKind::Vf { of, index }) = kind_of(&topology.links, device)
                && let Some(Link { kind: LinkKind::Pf(Nic { vfs, .. }), .. }) = topology.links.get_mut(&of)
            {
                vfs[usize::from(index)] = VfSettings::default();
            }
            topology.links.values_mut().filter(|link| link.device == *device).for_each(plain);
            let attached = attachments(steps).flat_map(|attachment| &mut attachment.delegates);
            let links = attached.flat_map(|delegate| &mut delegate.links);
            links.filter(|link| link.device == *device).for_each(plain);
        }
        Mutant::Unaddressed(device) => without_addresses(&mut topology, device),
        Mutant::WithoutNeighbours(device) => {
            let tables = topology.namespaces.get_mut(&device.ns).into_iter();
            tables.for_each(|tables| tables.neighbours.retain(|neighbour| neighbour.dev != device.name));
        }
        Mutant::Undone => steps.clear(),
        Mutant::WithoutVfSettings => {
            for delegate in attachments(steps).flat_map(|attachment| &mut attachment.delegates) {
                if let Delegate::Sriov(settings) = &mut delegate.network.delegate {
                    *settings = VfSettings::default();
                }
            }
        }
        Mutant::NotDetached => steps.retain(|step| !matches!(step, Step::Detach(_))),
        Mutant::Networks(first) => {
            steps.retain(|step| matches!(step, Step::Attach(_)));
            for attachment in attachments(steps) {
                attachment.delegates.truncate(*first);
                attachment.fails = None;
            }
        }
        _ => {}
    }
    topology
}

/// Takes the addresses of a device, and what would fail without them: routes whose next hop is on no link then
/// (`fib_check_nh()`), and flows of sockets that are bound to one of them.
fn without_addresses(topology: &mut Topology, device: &DeviceRef) {
    let addresses = topology.links.get_mut(device).map(|link| std::mem::take(&mut link.addresses));
    let addresses = addresses.unwrap_or_default();
    let is_near = |hop: IpAddr| addresses.iter().any(|address| address.contains(hop));
    let tables = topology.namespaces.get_mut(&device.ns).into_iter();
    tables.for_each(|tables| tables.routes.retain(|route| !route.via.is_some_and(is_near)));
    let flows = &topology.scenario.flows;
    let is_of = |flow: &str| flows.get(flow).is_some_and(|flow| [&flow.from, &flow.to].contains(&device));
    topology
        .scenario
        .steps
        .retain(|step| !matches!(step, Step::Flood(flow) | Step::Break { flow, .. } if is_of(flow)));
}

fn kind_of(links: &IndexMap<DeviceRef, Link>, device: &DeviceRef) -> Option<LinkKind> {
    links.get(device).map(|link| link.kind.clone())
}

fn attachments(steps: &mut [Step]) -> impl Iterator<Item = &mut Attachment> {
    steps.iter_mut().filter_map(|step| match step {
        Step::Attach(attachment) | Step::Check(attachment) => Some(attachment.as_mut()),
        _ => None,
    })
}

/// What happens in a mutant trial: what brings the topology about as written, then the change, then the rest.
fn steps(topology: &Topology, cause: &Mutant) -> Vec<Op> {
    let steps = &topology.scenario.steps;
    let change = match cause {
        Mutant::Broken(fault) => vec![Op::Inject { name: "mutant".into(), fault: fault.clone() }],
        // An author may mean what comes of it: a port is given up when miimon has looked.
        Mutant::Named(name) => vec![inject(topology, name), Op::Pause(STATE_WITHIN_MS / 10)],
        Mutant::Replugged(device) => replug(topology, device),
        _ => Vec::new(),
    };
    let as_written = matches!(
        cause,
        Mutant::Named(_)
            | Mutant::Halved
            | Mutant::NotDetached
            | Mutant::Raised(_)
            | Mutant::Made(_)
            | Mutant::Readdressed(_)
    );
    let makes = |step: &&Step| match step {
        Step::Attach(_) | Step::Check(_) => true,
        Step::Wait { until, .. } => !matches!(until.subject, Subject::Captured { .. }),
        _ => false,
    };
    let first = steps.iter().take_while(makes).count();
    let mut acts: Vec<Op> = steps[..first].iter().flat_map(|step| act(topology, step)).collect();
    acts.extend(change);
    acts.extend(steps[first..].iter().flat_map(|step| mutant_step(topology, step, as_written)));
    match cause {
        Mutant::Raised(device) => acts.push(Op::Up(device.clone())),
        Mutant::Readdressed(device) => acts.push(Op::Address { device: device.clone(), mac: STRANGE_MAC }),
        Mutant::Made(device) => acts.push(spare(device, &DeviceRef::new(&device.ns, &name(SPARE[1])))),
        _ => {}
    }
    acts
}

/// What a step becomes where its faults are left out: what they would bring about is not waited for.
fn mutant_step(topology: &Topology, step: &Step, as_written: bool) -> Vec<Op> {
    match step {
        Step::Break { flow: name, .. } if !as_written => vec![flood(topology, name, None)],
        Step::Wait { until, within_ms } if matches!(until.subject, Subject::Captured { .. }) => {
            let within_ms = (*within_ms).min(CAPTURE_WITHIN_MS);
            vec![Op::Wait { until: until.clone(), within_ms, unless_timed_out: false }]
        }
        Step::Inject(_) | Step::Clear(_) | Step::Wait { .. } if !as_written => Vec::new(),
        Step::Refused { step, .. } if !as_written && !step.changes() => Vec::new(),
        step => act(topology, step),
    }
}

/// Sends half of each flow. A TCP flow whose connection is made before, by its number, stays whole.
fn halve(acts: &mut [Op], plan: &mut Plan) {
    for act in acts {
        if let Op::Flood { flow, broken } = act
            && !is_connected_before(&plan.flows[usize::from(*flow)].flow)
        {
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

fn is_connected_before(flow: &Flow) -> bool {
    flow.socket == Socket::Tcp && !flow.connect_late
}

/// Takes away what a device can be without.
pub fn plain(link: &mut Link) {
    (link.mac, link.mtu, link.txqueuelen, link.qdisc) = (None, None, None, None);
    let Extras { options, macsec, team, .. } = std::mem::take(&mut *link.extras);
    // A VRF without its table, or a MACsec device without its keys, is none.
    if matches!(link.kind, LinkKind::Virtual(_)) {
        *link.extras = Extras { options, macsec, team, ..Extras::default() };
    }
    match &mut link.kind {
        LinkKind::Bond(bond) => **bond = Bond::new(bond.mode, bond.ports.clone()),
        LinkKind::Bridge { vlan_filtering, .. } => *vlan_filtering = false,
        LinkKind::Pf(Nic { vfs, .. }) | LinkKind::Netdevsim(Netdevsim { vfs, .. }) => {
            vfs.fill(VfSettings::default());
        }
        _ => {}
    }
}

/// A cable of which one end is a port of the bond.
fn join_spare(bond: &DeviceRef) -> Vec<Op> {
    let [near, far] = SPARE.map(|end| DeviceRef::new(&bond.ns, &name(end)));
    vec![
        spare(&near, &far),
        Op::Join { port: near.clone(), controller: bond.clone() },
        Op::Up(near),
        Op::Up(far),
    ]
}

fn name(text: &str) -> IfName {
    text.parse().expect("it is short and has no strange letter")
}

/// A cable, down.
fn spare(near: &DeviceRef, far: &DeviceRef) -> Op {
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
        extras: Box::default(),
    };
    Op::Create { link: end(near, far, 1), peer: Some(end(far, near, 2)) }
}

/// All cables of the other side out, and this one in again: whoever stands on it sees a new link.
fn replug(topology: &Topology, device: &DeviceRef) -> Vec<Op> {
    let is_cable = |link: &&Link| link.device.ns == device.ns && matches!(link.kind, LinkKind::Veth { .. });
    let cables = topology.links.values().filter(is_cable).map(|link| link.device.clone());
    let down = |device: DeviceRef| ("unplug".to_owned(), set_down(topology, &device));
    let mut acts: Vec<Op> = cables.map(down).map(|(name, fault)| Op::Inject { name, fault }).collect();
    acts.push(Op::Pause(STATE_WITHIN_MS / 10));
    let (name, fault) = down(device.clone());
    acts.push(Op::Clear { name, fault, standing: None });
    acts.push(Op::Pause(STATE_WITHIN_MS / 3));
    acts
}
