//! From [`TopologyFile`] to [`Topology`]: every reference followed, every mistake reported.

pub(crate) mod alternatives;
pub(crate) mod bonds;
pub(crate) mod captures;
pub(crate) mod conditions;
pub(crate) mod dhcp;
pub(crate) mod extras;
pub(crate) mod faults;
pub(crate) mod flows;
pub(crate) mod groups;
pub(crate) mod limits;
pub(crate) mod links;
pub(crate) mod lint;
pub(crate) mod machine;
pub(crate) mod mitigations;
pub(crate) mod nics;
pub(crate) mod plain;
pub(crate) mod pods;
pub(crate) mod qdiscs;
pub(crate) mod requests;
pub(crate) mod routes;
pub(crate) mod scenario;
pub(crate) mod selectors;
pub(crate) mod shared_parent;
pub(crate) mod shown;
pub(crate) mod stack;
pub(crate) mod tuns;
pub(crate) mod unused;
pub(crate) mod virtual_links;

use std::collections::BTreeSet;
use std::fmt::Display;
use std::net::IpAddr;
use std::ops::Range;

use indexmap::IndexMap;

use crate::net::address::{Cidr, MacSource};
use crate::net::link::Link;
use crate::net::name::{DeviceRef, IfName, NsName, ParentRef};
use crate::net::route::Route;
use crate::net::sysctl::{Sysctl, SysctlName, SysctlValue};
use crate::topology::file::{At, RouteTable, RouteTo, TopologyFile};
use crate::topology::parse::diagnostic::Diagnostic;
use crate::topology::parse::document::NOWHERE;
use crate::topology::parse::read::{Lost, mentions_lost_name};
use crate::topology::scenario::{WAIT_S_DEFAULT, WAIT_S_MAX};
use crate::topology::{Namespace, Topology, substitute};

/// Most words that a hint lists; the reference has longer lists.
const NAMED_MAX: usize = 100;

/// The state of one check: what is known, and what was found wrong.
pub struct Checker<'a> {
    problems: &'a mut Vec<Diagnostic>,
    /// What the text has and the file that was read has not.
    pub lost: Lost,
    /// Every device of the topology with its place.
    pub devices: IndexMap<DeviceRef, Range<usize>>,
    /// Devices of which the file expects the kernel to refuse something.
    pub refusals: BTreeSet<DeviceRef>,
    /// The longest wait.
    pub wait: WaitLimit,
    /// Names that lead nowhere: what each should name, and the name nearest to it.
    pub dangling: Vec<(String, Option<String>)>,
}

/// How long a wait may be, and who says so.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct WaitLimit {
    /// In ms.
    pub ms: u32,
    is_own: bool,
}

impl WaitLimit {
    fn of(file: &TopologyFile, problems: &mut Vec<Diagnostic>) -> Self {
        let Some(limits) = &file.limits else { return Self { ms: WAIT_S_DEFAULT * 1000, is_own: false } };
        let At { value, span } = &limits.wait_s;
        if !(1..=WAIT_S_MAX).contains(value) && *span != NOWHERE {
            let message = format!("{value} s are out of range: 1 to {WAIT_S_MAX}");
            let hint = "a longer wait looks like a hang".into();
            problems.push(Diagnostic { span: span.clone(), message, hint });
        }
        Self { ms: (*value).clamp(1, WAIT_S_MAX) * 1000, is_own: true }
    }

    /// Where the limit is from, and how it is raised.
    pub fn hint(self) -> String {
        let seconds = self.ms / 1000;
        if self.is_own {
            format!("the limit of {seconds} s is this file's: [limits] wait_s, {WAIT_S_MAX} at the most")
        } else {
            format!(
                "the limit of {seconds} s is that of a file that sets none: raise it with [limits] wait_s, {WAIT_S_MAX} at the most"
            )
        }
    }
}

impl Checker<'_> {
    /// Notes a problem; one with what is in the place of an unreadable value or name is a consequence of that mistake.
    pub fn problem(&mut self, span: &Range<usize>, message: impl Into<String>, hint: impl Into<String>) {
        let message = message.into();
        let is_of_lost = !self.lost.is_empty() && mentions_lost_name(&message);
        if *span != NOWHERE && !is_of_lost {
            self.problems.push(Diagnostic { span: span.clone(), message, hint: hint.into() });
        }
    }

    /// Notes a name that leads nowhere, unless it leads to an entry that was unreadable itself.
    pub fn dangling(&mut self, span: &Range<usize>, what: &str, name: &str, known: &[String]) {
        let bare = name.split_once(':').map_or(name, |(_, device)| device);
        if self.lost.name(name) || self.lost.name(bare) {
            return;
        }
        let known: Vec<&str> = known.iter().map(String::as_str).collect();
        let nearest = nearest(name, known.iter().copied());
        self.dangling.push((what.to_owned(), nearest.map(str::to_owned)));
        let hint = match nearest {
            Some(word) => format!("did you mean `{word}`?"),
            None if known.is_empty() => format!("there is no {what} at all"),
            None if known.len() > NAMED_MAX => "docs/reference.md lists them".into(),
            None => format!("there are: {}", known.join(", ")),
        };
        self.problem(span, format!("no {what} `{name}`"), hint);
    }

    /// Remembers a mistake that may be the reason why something of these kinds is unused.
    pub fn any_may_be_meant(&mut self, kinds: &[&str]) {
        self.dangling.extend(kinds.iter().map(|kind| ((*kind).to_owned(), None)));
    }

    /// Checks that a device exists.
    pub fn device(&mut self, reference: &At<DeviceRef>) {
        if !self.devices.contains_key(&reference.value) && !self.lost.name(reference.value.ns.as_str()) {
            let known: Vec<String> = self.devices.keys().map(ToString::to_string).collect();
            self.dangling(&reference.span, "device", &reference.value.to_string(), &known);
        }
    }

    /// Checks that the device exists whose address is meant.
    pub fn mac(&mut self, source: &At<MacSource>) {
        if let MacSource::Of(device) = &source.value {
            self.device(&At { value: device.clone(), span: source.span.clone() });
        }
    }

    /// Checks that a device of one namespace exists.
    pub fn device_in(&mut self, ns: &NsName, name: &At<IfName>) {
        if !self.devices.contains_key(&DeviceRef::new(ns, &name.value)) {
            let known: Vec<String> =
                self.devices.keys().filter(|d| d.ns == *ns).map(|d| d.name.to_string()).collect();
            let what = format!("device in namespace {ns}");
            self.dangling(&name.span, &what, name.value.as_str(), &known);
        }
    }

    /// Checks that the device exists which one of namespace `ns` was made on.
    pub fn parent(&mut self, ns: &NsName, parent: &At<ParentRef>) {
        let span = parent.span.clone();
        match &parent.value.ns {
            None => self.device_in(ns, &At { value: parent.value.name.clone(), span }),
            Some(_) => self.device(&At { value: parent.value.seen_from(ns), span }),
        }
    }

    /// Whether a device has a key in the text that could not be read.
    pub fn lost_of(&self, device: &DeviceRef, key: &str) -> bool {
        self.devices.get(device).is_some_and(|span| self.lost.field(span, key))
    }
}

/// Checks a file and resolves it. What it returns is a topology only if no problem was noted.
pub fn check(name: &str, file: &TopologyFile, lost: Lost, problems: &mut Vec<Diagnostic>) -> Topology {
    let wait = WaitLimit::of(file, problems);
    let refusals = file.expect.iter().map(|expect| &expect.value).filter(|expect| expect.refused.is_some());
    let refusals = refusals.filter_map(|expect| Some(expect.device.as_ref()?.value.clone())).collect();
    let mut checker =
        Checker { problems, lost, devices: IndexMap::new(), refusals, wait, dangling: Vec::new() };
    let mut links = links::resolve(file, &mut checker);
    let substitutions = substitute::apply(&mut links, |nic| nic.backing);
    // A switch's ports can be meant by name, as any device.
    for device in links.keys() {
        checker.devices.entry(device.clone()).or_insert(NOWHERE);
    }
    let mut namespaces = namespaces(file, &links, &mut checker);
    let attachments = pods::resolve(file, (&links, &substitutions), &mut checker);
    substitute::look_at_tags(&mut links, &attachments);
    for pod in &attachments.pods {
        namespaces.entry(pod.clone()).or_default();
    }
    let mut topology = Topology {
        name: name.into(),
        about: file.about.clone(),
        kernel: file.kernel.clone(),
        machine: machine::resolve(file, &mut checker),
        namespaces,
        links,
        attachments,
        substitutions,
        scenario: Default::default(),
        alternatives: IndexMap::new(),
    };
    topology.scenario = scenario::resolve(file, &topology, &mut checker);
    lint::check(file, &mut checker);
    unused::check(file, &topology, &mut checker);
    topology
}

fn namespaces(
    file: &TopologyFile,
    links: &IndexMap<DeviceRef, Link>,
    checker: &mut Checker<'_>,
) -> IndexMap<NsName, Namespace> {
    let mut namespaces = IndexMap::new();
    for (ns, table) in &file.ns {
        let routes = {
            let all = &table.routes;
            all.iter().map(|route| resolve_route(ns, route, all, links, checker)).collect()
        };
        let neighbours = table
            .neighbours
            .iter()
            .map(|neighbour| routes::neighbour(&ns.value, neighbour, checker))
            .collect();
        let rules = table.rules.iter().map(|rule| routes::rule(&ns.value, rule, checker)).collect();
        for name in &table.masquerade {
            checker.device(&At { value: DeviceRef::new(&ns.value, &name.value), span: name.span.clone() });
        }
        let masquerade = table.masquerade.iter().map(|name| name.value.clone()).collect();
        let forwarding = table.forwarding;
        let sysctl = |(name, value): (&At<SysctlName>, &SysctlValue)| Sysctl {
            name: name.value.clone(),
            value: value.clone(),
        };
        let sysctls = table.sysctl.iter().map(sysctl).collect();
        namespaces.insert(
            ns.value.clone(),
            Namespace { forwarding, masquerade, sysctls, routes, rules, neighbours },
        );
    }
    // A cable may lead into a namespace that has no table of its own.
    for device in links.keys() {
        namespaces.entry(device.ns.clone()).or_default();
    }
    namespaces
}

fn resolve_route(
    ns: &At<NsName>,
    table: &At<RouteTable>,
    table_routes: &[At<RouteTable>],
    links: &IndexMap<DeviceRef, Link>,
    checker: &mut Checker<'_>,
) -> Route {
    let route = &table.value;
    if let Some(dev) = &route.dev {
        checker.device_in(&ns.value, dev);
    }
    if route.via.is_none()
        && route.dev.is_none()
        && routes::is_unicast(route)
        && !checker.lost.any_field(&table.span)
    {
        let hint = "name the next hop or the device";
        checker.problem(&route.to.span, "a route without `via` and without `dev`", hint);
    }
    let to = match route.to.value {
        RouteTo::Default => None,
        RouteTo::Network(network) => Some(network),
    };
    if let Some(via) = &route.via {
        let on_link = table_routes.iter().filter(|route| route.value.via.is_none());
        let on_link: Vec<RouteTo> = on_link.map(|route| route.value.to.value).collect();
        // Each device has the link-local network (`ip6_validate_gw()` asks for the device alone).
        let is_link_local = matches!(via.value, IpAddr::V6(via) if via.is_unicast_link_local());
        let is_onlink = route.onlink.unwrap_or(false) || (is_link_local && route.dev.is_some());
        check_next_hop(ns, to, via, (links, &on_link, is_onlink), checker);
    }
    Route {
        to,
        via: route.via.as_ref().map(|via| via.value),
        dev: route.dev.as_ref().map(|dev| dev.value.clone()),
        extras: routes::extras(route, checker),
    }
}

fn check_next_hop(
    ns: &At<NsName>,
    to: Option<Cidr>,
    via: &At<IpAddr>,
    (links, on_link, is_onlink): (&IndexMap<DeviceRef, Link>, &[RouteTo], bool),
    checker: &mut Checker<'_>,
) {
    if let Some(to) = to {
        routes::one_family(to, via, checker);
    }
    let here = || links.values().filter(|link| link.device.ns == ns.value);
    let by_route = |to: &RouteTo| matches!(to, RouteTo::Network(net) if net.contains(via.value));
    let reachable = is_onlink
        || here().any(|link| link.addresses.iter().any(|net| net.contains(via.value)))
        || on_link.iter().any(by_route);
    // An address that could not be read may be in that network.
    let unknown =
        checker.lost.any_field(&ns.span) || here().any(|link| checker.lost_of(&link.device, "addresses"));
    if !reachable && !unknown {
        let message = format!("next hop {} is on no network of namespace {}", via.value, ns.value);
        let hint = "give a device of this namespace an address in the next hop's network";
        checker.problem(&via.span, message, hint);
    }
}

/// `a, b, c`.
pub fn join(words: impl IntoIterator<Item = impl Display>) -> String {
    words.into_iter().map(|word| word.to_string()).collect::<Vec<_>>().join(", ")
}

/// The word nearest to `written`, if one is near enough to be meant.
pub fn nearest<'a>(written: &str, known: impl IntoIterator<Item = &'a str>) -> Option<&'a str> {
    known
        .into_iter()
        .map(|word| (strsim::damerau_levenshtein(written, word), word))
        .filter(|(distance, word)| *distance <= word.len().max(written.len()) / 3)
        .min()
        .map(|(_, word)| word)
}
