//! What the running kernel has to offer: each need is tried in a namespace made for that, never guessed by version.

use std::collections::BTreeMap;

use netlink_packet_core::{NLM_F_CREATE, NLM_F_EXCL, NLM_F_REPLACE};
use netlink_packet_route::RouteNetlinkMessage;
use netlink_packet_route::link::{InfoKind, LinkAttribute, LinkInfo, LinkMessage};
use netlink_packet_route::tc::{TcHandle, TcMessage};

use crate::agent::machine;
use crate::agent::testbed::netns_error;
use crate::device::links::LOOPBACK_IFINDEX;
use crate::device::{configure, gadget, nat, netdevsim, nic, tap, tc};
use crate::fault::{backlog, nft, nft_input, tcx, xdp};
use crate::observe::kernel_log;
use crate::pod::plugin;
use crate::syscall::netns::{Namespace, Spares};
use crate::syscall::rtnl::{Rtnl, RtnlError};
use bondlab_core::net::qdisc::Qdisc;
use bondlab_core::plan::Need;
use bondlab_core::plan::record::OpError;
use bondlab_core::topology::fault::FilterKind;

const WHAT: &str = "find out what the kernel has to offer";

/// What a kernel was found to have, by need. Each is tried once: a kernel does not change between two plans.
#[derive(Default)]
pub struct Probed {
    /// Where it was found out. It is kept until nothing is measured any more: its end is cleanup_net(), and would be in the
    /// midst of the first trial.
    scratch: Option<Namespace>,
    /// Sentences for what it lacks; none for what it has.
    answers: BTreeMap<Need, Vec<String>>,
}

/// What of `needs` the running kernel lacks, one sentence each.
///
/// # Errors
/// It cannot be found out: no permission, or no answer.
pub async fn missing(
    needs: &[Need],
    spares: &mut Spares,
    Probed { scratch, answers }: &mut Probed,
) -> Result<Vec<String>, OpError> {
    let unknown: Vec<&Need> = needs.iter().filter(|need| !answers.contains_key(need)).collect();
    if scratch.is_none() {
        *scratch = Some(spares.take(false).map_err(|error| netns_error(WHAT, &error))?);
    }
    if let (Some(scratch), false) = (&*scratch, unknown.is_empty()) {
        let rtnl = Rtnl::open(scratch).map_err(|error| error.during(WHAT))?;
        for need in unknown {
            answers.insert(need.clone(), lacks(need, scratch, &rtnl).await?);
        }
    }
    Ok(needs.iter().filter_map(|need| answers.get(need)).flatten().cloned().collect())
}

/// Sentences for what of one need the kernel lacks.
async fn lacks(need: &Need, scratch: &Namespace, rtnl: &Rtnl) -> Result<Vec<String>, OpError> {
    let why_not = |obstacle: Option<String>| {
        obstacle.map(|why| format!("{need} ({}): {why}", need.provider())).into_iter().collect()
    };
    let tried = match need {
        Need::Link(kind) => try_link(rtnl, kind).await,
        Need::Qdisc(kind) => try_qdisc(rtnl, kind).await,
        Need::Classifier(kind) => try_classifier(rtnl, kind).await,
        Need::Hook { .. }
        | Need::Masquerade
        | Need::Gadget
        | Need::Tap { .. }
        | Need::TeamMode(_)
        | Need::Netdevsim { .. } => {
            let obstacle = scratch.enter(|| obstacle(need)).map_err(|error| netns_error(WHAT, &error))?;
            return Ok(why_not(obstacle));
        }
        Need::Plugin(name) => {
            let lacks = || format!("{need}: give its folder with --cni-plugins");
            return Ok((!plugin::is_there(name)).then(lacks).into_iter().collect());
        }
        // Not in the scratch namespace: only the first one has it.
        Need::Backlog => return Ok(why_not(backlog::obstacle())),
        Need::Processors(_) | Need::CommandLine(_) | Need::Parameter { .. } | Need::WithoutModule(_) => {
            return Ok(why_not(machine::obstacle(need)));
        }
        Need::KernelLog => return Ok(why_not(kernel_log::obstacle())),
        // An association without it is refused with ENOENT.
        Need::Cipher => return Ok(Vec::new()),
        Need::Action(kind) => try_action(rtnl, kind).await,
        Need::Driver(module) => {
            let lacks = || format!("{need} ({})", need.provider());
            return Ok((!nic::has_driver(module)).then(lacks).into_iter().collect());
        }
    };
    Ok(judge(need, tried)?.into_iter().collect())
}

/// Why the kernel does not have what no rtnetlink request asks for; tried in the calling thread's namespace.
fn obstacle(need: &Need) -> Option<String> {
    match need {
        Need::Hook { kind: FilterKind::Tcx, hook } => {
            tcx::attach(LOOPBACK_IFINDEX, *hook, None).err().map(|error| error.to_string())
        }
        Need::Hook { kind: FilterKind::Xdp | FilterKind::XdpGeneric, .. } => {
            xdp::load(xdp::Action::Drop).err().map(|error| error.to_string())
        }
        Need::Hook { kind: FilterKind::NftInput, .. } => {
            nft_input::attach("lo").err().map(|error| error.to_string())
        }
        Need::Hook { hook, .. } => nft::attach("lo", *hook).err().map(|error| error.to_string()),
        Need::Masquerade => nat::attach("lo").err().map(|error| error.to_string()),
        Need::Gadget => gadget::obstacle(),
        Need::TeamMode(mode) => configure::try_team_mode(mode).err().map(|error| error.to_string()),
        Need::Tap { backpressure } => tap::obstacle(*backpressure),
        Need::Netdevsim { linked } => netdevsim::obstacle(*linked),
        _ => None,
    }
}

/// `None` when the kernel has it.
fn judge(need: &Need, tried: Result<(), RtnlError>) -> Result<Option<String>, OpError> {
    let Err(error) = tried else { return Ok(None) };
    let lacks = match (need, error.errno()) {
        // A vlan needs a parent; that it says so means it is there. So does that a tunnel without ends is there already: the
        // driver of GRE makes one in each namespace (`ip_tunnel_init_net()`).
        (Need::Link(_), Some(libc::EINVAL | libc::EEXIST)) => false,
        (Need::Link(_), Some(libc::EOPNOTSUPP)) => true,
        // `lo` has one queue: that they say so means they are there (mq_init(), multiq_init(), mqprio_init()). teql0 wants a
        // header as long as Ethernet's (teql_qdisc_init()).
        (Need::Qdisc(kind), Some(libc::EOPNOTSUPP | libc::EINVAL))
            if matches!(kind.as_str(), "mq" | "multiq" | "mqprio" | "teql0") =>
        {
            false
        }
        // EOPNOTSUPP: no CONFIG_NET_SCHED at all, so there is no listener.
        (Need::Qdisc(_) | Need::Classifier(_) | Need::Action(_), Some(libc::ENOENT | libc::EOPNOTSUPP)) => {
            true
        }
        (_, Some(libc::EPERM | libc::EACCES)) => {
            let hint = "no permission: run as root or in a user namespace of your own";
            let error = error.during(format!("try {need}"));
            return Err(OpError { text: Some(hint.into()), ..error });
        }
        _ => return Err(error.during(format!("try {need}"))),
    };
    let words = match &error {
        RtnlError::Refused { text: Some(text), .. } => format!(": {text}"),
        _ => String::new(),
    };
    Ok(lacks.then(|| format!("{need} ({}){words}", need.provider())))
}

async fn try_link(rtnl: &Rtnl, kind: &str) -> Result<(), RtnlError> {
    let mut message = LinkMessage::default();
    message.attributes.push(LinkAttribute::IfName(format!("try-{kind}")));
    message.attributes.push(LinkAttribute::LinkInfo(vec![LinkInfo::Kind(InfoKind::from(kind))]));
    rtnl.change(RouteNetlinkMessage::NewLink(message), NLM_F_CREATE | NLM_F_EXCL).await
}

/// Tried at `lo`, which takes every discipline.
async fn try_qdisc(rtnl: &Rtnl, kind: &str) -> Result<(), RtnlError> {
    let (message, flags) = if kind == "clsact" {
        (tc::clsact(LOOPBACK_IFINDEX), NLM_F_CREATE)
    } else {
        let options = example(kind).and_then(|qdisc| tc::options::encode(&qdisc));
        (tc::root(LOOPBACK_IFINDEX, kind, options), NLM_F_CREATE | NLM_F_REPLACE)
    };
    rtnl.change(RouteNetlinkMessage::NewQueueDiscipline(message), flags).await
}

/// Options a kind does not do without.
fn example(kind: &str) -> Option<Qdisc> {
    match kind {
        "tbf" => Some(Qdisc::Tbf { rate: 1_000_000, burst: 10_000, limit: 10_000, child: None }),
        "red" => Some(Qdisc::Red { limit: 10_000, min: 1_000, max: 3_000, probability_percent: 2 }),
        "htb" => Some(Qdisc::Htb { rate: 1_000_000, ceil: None, burst: 10_000, child: None }),
        "hfsc" => Some(Qdisc::Hfsc { rate: 1_000_000, child: None }),
        "multiq" => Some(Qdisc::Multiq),
        "mqprio" => Some(Qdisc::Mqprio { queues: vec![1], priorities: Vec::new() }),
        "netem" => Some(Qdisc::Netem { limit: 1, delay_us: 0, loss_percent: 0 }),
        _ => None,
    }
}

async fn try_classifier(rtnl: &Rtnl, kind: &str) -> Result<(), RtnlError> {
    try_qdisc(rtnl, "clsact").await?;
    let (message, flags) = (tc::example_filter(LOOPBACK_IFINDEX, kind), NLM_F_CREATE | NLM_F_EXCL);
    rtnl.change(RouteNetlinkMessage::NewTrafficFilter(message), flags).await?;
    let mut all = TcMessage::with_index(1);
    all.header.parent = TcHandle { major: TcHandle::CLSACT.major, minor: TcHandle::MIN_EGRESS };
    rtnl.change(RouteNetlinkMessage::DelTrafficFilter(all), 0).await
}

async fn try_action(rtnl: &Rtnl, kind: &str) -> Result<(), RtnlError> {
    try_qdisc(rtnl, "clsact").await?;
    let (message, flags) = (tc::example_action(LOOPBACK_IFINDEX, kind), NLM_F_CREATE | NLM_F_EXCL);
    rtnl.change(RouteNetlinkMessage::NewTrafficFilter(message), flags).await?;
    let mut all = TcMessage::with_index(1);
    all.header.parent = TcHandle { major: TcHandle::CLSACT.major, minor: TcHandle::MIN_INGRESS };
    rtnl.change(RouteNetlinkMessage::DelTrafficFilter(all), 0).await
}

#[cfg(test)]
mod tests {
    use super::*;

    fn verdict(need: Need, errno: i32, text: Option<&str>) -> String {
        let text = text.map(Into::into);
        match judge(&need, Err(RtnlError::Refused { errno, text })) {
            Ok(None) => "there".into(),
            Ok(Some(lacks)) => lacks,
            Err(error) => format!("{error:?}"),
        }
    }

    #[test]
    fn missing_refused_and_forbidden_are_not_the_same() {
        let unknown = Some("Unknown device type");
        for (need, errno, text, expected) in [
            (
                Need::Link("bond".into()),
                libc::EOPNOTSUPP,
                unknown,
                "links of kind bond (CONFIG_BONDING, module bonding): Unknown device type",
            ),
            (Need::Link("vlan".into()), libc::EINVAL, None, "there"),
            (
                Need::Qdisc("plug".into()),
                libc::ENOENT,
                None,
                "queueing discipline plug (CONFIG_NET_SCH_PLUG, module sch_plug)",
            ),
            (
                Need::Qdisc("pfifo".into()),
                libc::EOPNOTSUPP,
                None,
                "queueing discipline pfifo (CONFIG_NET_SCHED)",
            ),
            (
                Need::Classifier("flower".into()),
                libc::ENOENT,
                None,
                "traffic control classifier flower (CONFIG_NET_CLS_FLOWER, CONFIG_NET_ACT_GACT, \
                 modules cls_flower, act_gact)",
            ),
        ] {
            assert_eq!(verdict(need, errno, text), expected);
        }
        let forbidden = verdict(Need::Link("bond".into()), libc::EPERM, None);
        assert!(forbidden.contains("no permission"), "{forbidden}");
        let strange = verdict(Need::Qdisc("plug".into()), libc::EINVAL, None);
        assert!(strange.contains("EINVAL"), "{strange}");
    }
}
