//! What would tell explanations apart: commands for the reporter, each with the answer under each explanation.
//!
//! An answer is read from what the lab measured in the explanation's own trial, never from what a cause ought to do.
//! Numbers differ on the reporter's machine, so two answers are distinguished by what they say, not by how many.

mod hooks;

use std::collections::BTreeSet;

use indexmap::IndexMap;
use serde::{Deserialize, Serialize};

use crate::judge::account::{Account, Fate, FlowAccount, TrialAccount};
use crate::judge::hypotheses::Tried;
use crate::judge::next_checks::hooks::Hook;
use crate::net::layer::Layer;
use crate::net::link::LinkKind;
use crate::net::name::DeviceRef;
use crate::topology::Topology;
use crate::topology::scenario::Flow;

/// A command for the reporter, and what it says under each explanation; in the document as it is.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct NextCheck {
    /// To be typed where it happens.
    pub command: String,
    /// By explanation, as the lab measured it.
    pub answers: IndexMap<String, String>,
}

/// What is looked at: one trial, one flow that lost frames in it, one device on its way.
struct Look<'a> {
    topology: &'a Topology,
    trial: &'a TrialAccount,
    flow: &'a FlowAccount,
    /// From the sender down.
    way: &'a [DeviceRef],
    device: &'a DeviceRef,
}

/// An answer: what distinguishes it, and a number that does not.
struct Answer {
    says: String,
    number: Option<u64>,
}

impl Answer {
    fn plain(says: impl Into<String>) -> Self {
        Self { says: says.into(), number: None }
    }

    /// Something is counted, or nothing.
    fn counted(number: u64, some: &str, none: &str) -> Self {
        if number > 0 { Self { says: some.into(), number: Some(number) } } else { Self::plain(none) }
    }

    fn text(&self) -> String {
        match self.number {
            Some(number) => format!("{} ({number})", self.says),
            None => self.says.clone(),
        }
    }
}

/// A command about one device, and how its answer is read from an account; `None` where it has none.
struct Question {
    /// `{}` is the device.
    command: &'static str,
    answer: fn(&Look<'_>) -> Option<Answer>,
    /// Whether it is only asked of a bond.
    of_bond: bool,
}

/// The cheapest first: reading what is there, then watching, then tracing.
const QUESTIONS: [Question; 10] = [
    Question { command: "cat /sys/class/net/{}/carrier", answer: carrier, of_bond: false },
    Question { command: "cat /sys/class/net/{}/mtu", answer: mtu, of_bond: false },
    Question { command: "cat /sys/class/net/{}/bonding/active_slave", answer: active_port, of_bond: true },
    Question { command: "ip -s link show {}", answer: tx_dropped, of_bond: false },
    Question { command: "tc -s filter show dev {} egress", answer: egress_filter, of_bond: false },
    Question { command: "tc -s filter show dev {} ingress", answer: ingress_filter, of_bond: false },
    Question { command: "tc -s qdisc show dev {}", answer: qdisc, of_bond: false },
    Question { command: "bpftool net show dev {}", answer: program, of_bond: false },
    Question { command: "nft list hooks netdev device {}", answer: chain, of_bond: false },
    Question { command: "tcpdump -ni {}", answer: seen, of_bond: false },
];

/// Of the whole machine, last: it needs a kernel that says why, and a tracer.
const TRACE: &str = "perf trace -e skb:kfree_skb";

/// Commands that tell the explanations that fit from each other; where only one does, from the next best.
pub fn between(topology: &Topology, account: &Account, tried: &[Tried]) -> Vec<NextCheck> {
    let named = |one: &&Tried| !one.is_control && account.trials[one.trial].refused.is_none();
    let fitting: Vec<&Tried> = tried.iter().filter(named).filter(|one| one.explanation.fits).collect();
    let rivals = match fitting[..] {
        [] => return Vec::new(),
        [only] => {
            let score = |one: &Tried| one.explanation.evidence.iter().filter(|item| item.fits).count();
            // max_by_key() takes the last of equals, and the file's first is meant.
            let next = tried
                .iter()
                .filter(named)
                .filter(|one| !one.explanation.fits)
                .rev()
                .max_by_key(|one| score(one));
            next.map_or(Vec::new(), |next| vec![only, next])
        }
        _ => fitting,
    };
    let Some(flow) = lossy_flow(topology, account, &rivals) else { return Vec::new() };
    let all = ask(topology, account, &rivals, flow);
    choose(all, rivals.len())
}

/// The first of the report's flows that loses frames under one of them.
fn lossy_flow<'a>(topology: &'a Topology, account: &Account, rivals: &[&Tried]) -> Option<&'a Flow> {
    let floods = &topology.scenario.report.as_ref()?.floods;
    let lost = |name: &&String| {
        rivals.iter().any(|one| {
            account.trials[one.trial].flows.iter().any(|flow| flow.flow.name == **name && flow.lost() > 0)
        })
    };
    topology.scenario.flows.get(floods.iter().find(lost)?)
}

/// A command with its answers, in the order of the rivals.
type Asked = (String, Vec<(String, Answer)>);

/// Asks everything of every device on the flow's way that is on the machine of the lowest.
fn ask(topology: &Topology, account: &Account, rivals: &[&Tried], flow: &Flow) -> Vec<Asked> {
    let way = way_down(topology, &flow.from);
    let machine = way.last().map(|device| &device.ns);
    let here: Vec<&DeviceRef> = way.iter().filter(|device| Some(&device.ns) == machine).collect();
    let is_bond = |device: &DeviceRef| matches!(topology.links[device].kind, LinkKind::Bond(_));
    let answers = |answer: &dyn Fn(&TrialAccount, &FlowAccount) -> Option<Answer>| {
        let of = |one: &&Tried| {
            let trial = &account.trials[one.trial];
            let flow = trial.flows.iter().find(|account| account.flow.name == flow.name)?;
            Some((one.explanation.name.clone(), answer(trial, flow)?))
        };
        rivals.iter().map(of).collect::<Option<Vec<_>>>()
    };
    let mut all = Vec::new();
    for question in &QUESTIONS {
        for device in here.iter().filter(|device| !question.of_bond || is_bond(device)) {
            let command = question.command.replace("{}", device.name.as_str());
            let answered =
                answers(&|trial, flow| (question.answer)(&Look { topology, trial, flow, way: &way, device }));
            all.extend(answered.map(|answers| (command, answers)));
        }
    }
    for tagged in account.trials.first().iter().flat_map(|_| tagged_floods(topology)) {
        let answered = answers(&|trial, _| arrives(trial, tagged));
        all.extend(answered.map(|answers| (in_band_command(topology, tagged), answers)));
    }
    all.extend(answers(&|_, flow| reasons(flow)).map(|answers| (TRACE.to_owned(), answers)));
    all
}

/// A device and what it stands on, down to the wire; of a bond, all ports.
fn way_down(topology: &Topology, from: &DeviceRef) -> Vec<DeviceRef> {
    let mut way = vec![from.clone()];
    let mut next = 0;
    while let Some(link) = way.get(next).and_then(|device| topology.links.get(device)) {
        let below: Vec<DeviceRef> = link.below().into_iter().filter(|device| !way.contains(device)).collect();
        way.extend(below);
        next += 1;
    }
    way
}

/// The fewest commands that distinguish what can be distinguished: each time the one that parts most, of these the cheapest.
fn choose(all: Vec<Asked>, rivals: usize) -> Vec<NextCheck> {
    let mut together: BTreeSet<(usize, usize)> =
        (0..rivals).flat_map(|one| (one + 1..rivals).map(move |other| (one, other))).collect();
    let parts = |asked: &Asked, together: &BTreeSet<(usize, usize)>| {
        together.iter().filter(|(one, other)| asked.1[*one].1.says != asked.1[*other].1.says).count()
    };
    let mut chosen = Vec::new();
    while let Some(best) = all.iter().rev().max_by_key(|asked| parts(asked, &together)) {
        if parts(best, &together) == 0 {
            break;
        }
        together.retain(|(one, other)| best.1[*one].1.says == best.1[*other].1.says);
        let answers = best.1.iter().map(|(name, answer)| (name.clone(), answer.text())).collect();
        chosen.push(NextCheck { command: best.0.clone(), answers });
    }
    chosen
}

fn carrier(look: &Look<'_>) -> Option<Answer> {
    let link = look.trial.links.get(look.device)?;
    Some(Answer::plain(match (link.up, link.carrier) {
        (false, _) => "Invalid argument: it is down",
        (true, true) => "1",
        (true, false) => "0",
    }))
}

fn mtu(look: &Look<'_>) -> Option<Answer> {
    Some(Answer::plain(look.trial.links.get(look.device)?.mtu.to_string()))
}

fn active_port(look: &Look<'_>) -> Option<Answer> {
    let links = &look.trial.links;
    let mut ports = links.iter().filter(|(port, link)| {
        port.ns == look.device.ns && link.controller.as_ref() == Some(&look.device.name) && link.is_active
    });
    Some(Answer::plain(ports.next().map_or("nothing".into(), |(port, _)| port.name.to_string())))
}

fn tx_dropped(look: &Look<'_>) -> Option<Answer> {
    let dropped = *look.trial.devices.get(look.device)?.get("tx_dropped")?;
    Some(Answer::counted(dropped, "TX dropped grows", "TX dropped stays"))
}

fn clsact_drops(look: &Look<'_>) -> u64 {
    look.trial.hooks.get(look.device).and_then(|hook| hook.counters.get("drops")).copied().unwrap_or(0)
}

/// clsact has one counter for both hooks; the drop events tell at which of them it counted. A hook of which no event was seen is
/// said to have dropped nothing only where the events account for all that clsact counted.
fn filter(look: &Look<'_>, hook: Hook) -> Option<Answer> {
    let counted = clsact_drops(look);
    let at = |hook| lost_at(look, Layer::Tc, hook);
    let (here, all) = (at(hook), Hook::ALL.map(at).iter().sum::<u64>());
    if here == 0 && all < counted {
        return None;
    }
    Some(Answer::counted(here.min(counted), "a filter that drops", "no filter that drops"))
}

fn egress_filter(look: &Look<'_>) -> Option<Answer> {
    filter(look, Hook::Egress)
}

fn ingress_filter(look: &Look<'_>) -> Option<Answer> {
    filter(look, Hook::Ingress)
}

fn qdisc(look: &Look<'_>) -> Option<Answer> {
    let qdisc = look.trial.qdiscs.get(look.device)?;
    let number = |counter: &str| qdisc.counters.get(counter).copied().unwrap_or(0);
    let kind = &qdisc.kind;
    let dropped = number("drops");
    if dropped > 0 {
        return Some(Answer { says: format!("{kind}, dropped grows"), number: Some(dropped) });
    }
    let held = number("backlog_packets");
    Some(Answer::counted(held, &format!("{kind}, a backlog that stays"), &format!("{kind}, dropped 0")))
}

/// Frames that one layer of the device lost at a hook.
fn lost_at(look: &Look<'_>, layer: Layer, hook: Hook) -> u64 {
    let sends = |from: &DeviceRef| way_down(look.topology, from).contains(look.device);
    hooks::lost(look.trial, look.device, layer, hook, sends)
}

/// The hooks at which something lost frames, each with `before` in front of it.
fn at_hooks(before: &str, lost: impl Fn(Hook) -> u64) -> Vec<String> {
    let hooks = Hook::ALL.into_iter().filter(|hook| lost(*hook) > 0);
    hooks.map(|hook| format!("{before}{}", hook.word())).collect()
}

/// A tcx program has no counter, and `tc filter show` does not show it: what traffic control lost and clsact did not
/// count is its work.
fn program(look: &Look<'_>) -> Option<Answer> {
    let is_tcx = clsact_drops(look) == 0;
    let mut programs =
        at_hooks("a program at tcx/", |hook| if is_tcx { lost_at(look, Layer::Tc, hook) } else { 0 });
    if lost_at(look, Layer::Xdp, Hook::Ingress) > 0 {
        programs.insert(0, "an XDP program".into());
    }
    Some(Answer::plain(if programs.is_empty() { "no program".into() } else { programs.join(", ") }))
}

fn chain(look: &Look<'_>) -> Option<Answer> {
    let chains = at_hooks("a chain at ", |hook| lost_at(look, Layer::Nft, hook));
    Some(Answer::plain(if chains.is_empty() { "no chain".into() } else { chains.join(", ") }))
}

/// A packet socket sees what is handed to a device's driver (`dev_queue_xmit_nit()` in `xmit_one()`): below the device's
/// hooks and queue.
fn seen(look: &Look<'_>) -> Option<Answer> {
    let place = look.way.iter().position(|device| device == look.device)?;
    let passed = |fate: &&Fate| {
        let Some(device) = &fate.device else { return false };
        match look.way.iter().position(|other| other == device) {
            Some(at) if at == place => matches!(
                fate.layer,
                Layer::Vlan | Layer::Bond | Layer::Switch | Layer::Peer | Layer::Backlog | Layer::Receiver
            ),
            Some(at) => at > place,
            // On the other side of the wire.
            None => true,
        }
    };
    let lost_later: u32 = look.flow.fates.iter().filter(passed).map(|fate| fate.frames).sum();
    let seen = lost_later + look.flow.delivered;
    Some(Answer::plain(match seen {
        0 => "sees none of the frames",
        all if all == look.flow.asked => "sees the frames",
        _ => "sees some of the frames",
    }))
}

/// Flows of the report whose sender writes the tag itself.
fn tagged_floods(topology: &Topology) -> impl Iterator<Item = &Flow> {
    let floods = topology.scenario.report.iter().flat_map(|report| &report.floods);
    floods.filter_map(|name| topology.scenario.flows.get(name)).filter(|flow| flow.tag.is_some())
}

fn in_band_command(topology: &Topology, flow: &Flow) -> String {
    let tag = flow.tag.map_or(0, |tag| tag.get());
    let to = topology
        .address_of(&flow.to, flow.shape.family)
        .map_or_else(|| "GATEWAY".into(), |address| address.to_string());
    // To every Ethernet address: without `-b` it asks ARP, and that asks without the tag.
    format!("mausezahn {} -c 10 -Q {tag} -b bc -B {to} -t icmp ping", flow.from.name)
}

fn arrives(trial: &TrialAccount, tagged: &Flow) -> Option<Answer> {
    let account = trial.flows.iter().find(|account| account.flow.name == tagged.name)?;
    Some(Answer::plain(match account.delivered {
        0 => "nothing arrives",
        all if all == account.asked => "all arrive, as tcpdump at the other end shows",
        _ => "some arrive",
    }))
}

fn reasons(flow: &FlowAccount) -> Option<Answer> {
    let is_drop = |fate: &&Fate| fate.reason != "BACKLOG" && fate.layer != Layer::Socket;
    let reasons: BTreeSet<&str> =
        flow.fates.iter().filter(is_drop).map(|fate| fate.reason.as_str()).collect();
    let text = reasons.into_iter().collect::<Vec<_>>().join(", ");
    Some(Answer::plain(if text.is_empty() { "nothing".into() } else { format!("reason {text}") }))
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A command with one answer for each explanation.
    fn asked(command: &str, answers: &[&str]) -> Asked {
        let answer = |(number, says): (usize, &&str)| (format!("h{number}"), Answer::plain(*says));
        (command.into(), answers.iter().enumerate().map(answer).collect())
    }

    fn chosen(all: Vec<Asked>, rivals: usize) -> Vec<String> {
        choose(all, rivals).into_iter().map(|next_check| next_check.command).collect()
    }

    #[test]
    fn the_cheapest_of_those_that_part_most_is_chosen_first() {
        let carrier = || asked("carrier", &["1", "1", "1"]);
        let filter = || asked("tc", &["a filter", "none", "none"]);
        let program = || asked("bpftool", &["none", "a program", "none"]);
        let trace = || asked("perf", &["TC_EGRESS", "TC_EGRESS", "NETFILTER_DROP"]);
        assert_eq!(chosen(vec![carrier(), filter(), program(), trace()], 3), ["tc", "bpftool"]);
        assert_eq!(chosen(vec![asked("all", &["x", "y", "z"]), filter()], 3), ["all"]);
        assert_eq!(chosen(vec![filter(), asked("all", &["x", "y", "z"])], 3), ["all"]);
    }

    #[test]
    fn what_cannot_be_told_apart_gets_no_command() {
        assert_eq!(chosen(vec![asked("carrier", &["1", "1"])], 2), [""; 0]);
        assert_eq!(chosen(Vec::new(), 2), [""; 0]);
    }

    #[test]
    fn a_number_alone_is_no_difference() {
        let dropped = |number| Answer::counted(number, "TX dropped grows", "TX dropped stays");
        let all = vec![("ip".to_owned(), vec![("a".to_owned(), dropped(3)), ("b".to_owned(), dropped(900))])];
        assert_eq!(chosen(all, 2), [""; 0]);
        let all = vec![("ip".to_owned(), vec![("a".to_owned(), dropped(3)), ("b".to_owned(), dropped(0))])];
        let next_check = choose(all, 2).remove(0);
        let answers = [("a", "TX dropped grows (3)"), ("b", "TX dropped stays")];
        let answers = answers.map(|(name, answer)| (name.to_owned(), answer.to_owned()));
        assert_eq!(next_check.answers, IndexMap::from(answers));
    }
}
