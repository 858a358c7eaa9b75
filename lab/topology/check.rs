//! From [`TopologyFile`] to [`Topology`]: every reference followed, every mistake told.

use std::collections::BTreeSet;
use std::fmt::Display;
use std::ops::Range;

use indexmap::IndexMap;

use super::diagnostic::Diagnostic;
use super::file::{At, NeighbourMac, NeighbourTable, QdiscTable, RouteTable, RouteTo, TopologyFile};
use super::{Link, MacSource, Namespace, Neighbour, Route, Topology, links, scenario};
use crate::link::{DeviceRef, IfName, NsName};
use crate::scenario::Qdisc;

/// The state of one check: what is known, and what was found wrong.
pub struct Checker<'a> {
    problems: &'a mut Vec<Diagnostic>,
    lost: BTreeSet<&'a str>,
    /// Every device of the topology with its place.
    pub devices: IndexMap<DeviceRef, Range<usize>>,
}

impl Checker<'_> {
    /// Notes a problem.
    pub fn problem(&mut self, span: &Range<usize>, message: impl Into<String>, hint: impl Into<String>) {
        self.problems.push(Diagnostic { span: span.clone(), message: message.into(), hint: hint.into() });
    }

    /// Notes a name that leads nowhere, unless it leads to an entry that was unreadable itself.
    pub fn dangling<'n>(
        &mut self,
        span: &Range<usize>,
        what: &str,
        name: &str,
        known: impl IntoIterator<Item = &'n str>,
    ) {
        let bare = name.split_once(':').map_or(name, |(_, device)| device);
        if self.lost.contains(name) || self.lost.contains(bare) {
            return;
        }
        let known: Vec<&str> = known.into_iter().collect();
        let hint = match nearest(name, known.iter().copied()) {
            Some(word) => format!("did you mean `{word}`?"),
            None if known.is_empty() => format!("there is no {what} in this topology"),
            None => format!("there are: {}", known.join(", ")),
        };
        self.problem(span, format!("no {what} `{name}`"), hint);
    }

    /// Checks that a device exists.
    pub fn device(&mut self, reference: &At<DeviceRef>) {
        if !self.devices.contains_key(&reference.value) {
            let known: Vec<String> = self.devices.keys().map(ToString::to_string).collect();
            let name = reference.value.to_string();
            self.dangling(&reference.span, "device", &name, known.iter().map(String::as_str));
        }
    }

    /// Checks that a device of one namespace exists.
    pub fn device_in(&mut self, ns: &NsName, name: &At<IfName>) -> bool {
        let found = self.devices.contains_key(&DeviceRef::new(ns, &name.value));
        if !found {
            let known: Vec<String> =
                self.devices.keys().filter(|d| d.ns == *ns).map(|d| d.name.to_string()).collect();
            let what = format!("device in namespace {ns}");
            self.dangling(&name.span, &what, name.value.as_str(), known.iter().map(String::as_str));
        }
        found
    }
}

/// Checks a file and resolves it. What it returns is a topology only if no problem was noted.
pub fn check(name: &str, file: &TopologyFile, lost: &[String], problems: &mut Vec<Diagnostic>) -> Topology {
    let mut checker =
        Checker { problems, lost: lost.iter().map(String::as_str).collect(), devices: IndexMap::new() };
    let links = links::resolve(file, &mut checker);
    let namespaces = namespaces(file, &links, &mut checker);
    let mut topology = Topology {
        name: name.into(),
        about: file.about.clone(),
        kernel: file.kernel.clone(),
        namespaces,
        links,
        scenario: Default::default(),
    };
    topology.scenario = scenario::resolve(file, &topology, &mut checker);
    topology
}

fn namespaces(
    file: &TopologyFile,
    links: &IndexMap<DeviceRef, Link>,
    checker: &mut Checker<'_>,
) -> IndexMap<NsName, Namespace> {
    let mut namespaces = IndexMap::new();
    for (ns, table) in &file.ns {
        let routes =
            table.routes.iter().map(|route| resolve_route(&ns.value, route, links, checker)).collect();
        let neighbours = table
            .neighbours
            .iter()
            .map(|neighbour| resolve_neighbour(&ns.value, neighbour, checker))
            .collect();
        namespaces.insert(ns.value.clone(), Namespace { routes, neighbours });
    }
    // A cable may lead into a namespace that has no table of its own.
    for device in links.keys() {
        namespaces.entry(device.ns.clone()).or_default();
    }
    namespaces
}

fn resolve_route(
    ns: &NsName,
    route: &RouteTable,
    links: &IndexMap<DeviceRef, Link>,
    checker: &mut Checker<'_>,
) -> Route {
    if let Some(dev) = &route.dev {
        checker.device_in(ns, dev);
    }
    if route.via.is_none() && route.dev.is_none() {
        checker.problem(
            &route.to.span,
            "a route without `via` and without `dev`",
            "name the next hop or the device",
        );
    }
    if let Some(via) = &route.via {
        let reachable = links
            .values()
            .filter(|link| link.device.ns == *ns)
            .any(|link| link.addresses.iter().any(|net| net.contains(via.value)));
        if !reachable {
            checker.problem(
                &via.span,
                format!("next hop {} is on no network of namespace {ns}", via.value),
                "give a device of this namespace an address in the next hop's network",
            );
        }
    }
    let to = match route.to.value {
        RouteTo::Default => None,
        RouteTo::Network(network) => Some(network),
    };
    Route {
        to,
        via: route.via.as_ref().map(|via| via.value),
        dev: route.dev.as_ref().map(|dev| dev.value.clone()),
    }
}

fn resolve_neighbour(ns: &NsName, neighbour: &NeighbourTable, checker: &mut Checker<'_>) -> Neighbour {
    checker.device_in(ns, &neighbour.dev);
    let mac = match &neighbour.mac.value {
        NeighbourMac::Literal(mac) => MacSource::Literal(*mac),
        NeighbourMac::Of(device) => {
            checker.device(&At { value: device.clone(), span: neighbour.mac.span.clone() });
            MacSource::Of(device.clone())
        }
    };
    Neighbour { to: neighbour.to.value, dev: neighbour.dev.value.clone(), mac }
}

/// Which keys each queueing discipline takes; the first list must be given.
const QDISC_KEYS: [(&str, &[&str], &[&str]); 7] = [
    ("pfifo", &["limit"], &[]),
    ("bfifo", &["limit"], &[]),
    ("plug", &["limit"], &[]),
    ("tbf", &["rate", "burst", "limit"], &[]),
    ("netem", &["limit"], &["delay_us"]),
    ("fq_codel", &[], &["limit"]),
    ("noqueue", &[], &[]),
];

/// Checks a queueing discipline's keys.
pub fn resolve_qdisc(table: &At<QdiscTable>, checker: &mut Checker<'_>) -> Option<Qdisc> {
    let kind = table.value.kind.value.as_str();
    let Some((_, required, optional)) = QDISC_KEYS.iter().find(|(word, _, _)| *word == kind) else {
        checker.dangling(
            &table.value.kind.span,
            "queueing discipline",
            kind,
            QDISC_KEYS.iter().map(|(word, _, _)| *word),
        );
        return None;
    };
    let QdiscTable { limit, rate, burst, delay_us, .. } = &table.value;
    let given = [
        ("limit", limit.as_ref().map(|at| &at.span)),
        ("rate", rate.as_ref().map(|at| &at.span)),
        ("burst", burst.as_ref().map(|at| &at.span)),
        ("delay_us", delay_us.as_ref().map(|at| &at.span)),
    ];
    let takes = || join(required.iter().chain(*optional));
    for (key, span) in given {
        match span {
            Some(span) if !required.contains(&key) && !optional.contains(&key) => {
                let hint = if takes().is_empty() {
                    "it takes no keys".into()
                } else {
                    format!("it takes: {}", takes())
                };
                checker.problem(span, format!("`{kind}` has no `{key}`"), hint);
            }
            None if required.contains(&key) => {
                checker.problem(
                    &table.span,
                    format!("`{kind}` needs `{key}`"),
                    format!("it takes: {}", takes()),
                );
            }
            _ => {}
        }
    }
    let limit = limit.as_ref().map(|at| at.value);
    Some(match kind {
        "pfifo" => Qdisc::Pfifo { limit: limit? },
        "bfifo" => Qdisc::Bfifo { limit: limit? },
        "plug" => Qdisc::Plug { limit: limit? },
        "tbf" => Qdisc::Tbf { rate: rate.as_ref()?.value, burst: burst.as_ref()?.value, limit: limit? },
        "netem" => Qdisc::Netem { limit: limit?, delay_us: delay_us.as_ref().map_or(0, |at| at.value) },
        "fq_codel" => Qdisc::FqCodel { limit },
        _ => Qdisc::Noqueue,
    })
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
