//! Addresses for pods: what a configuration asks for, and who gets which, the same in each run.

use std::collections::{BTreeMap, BTreeSet};
use std::net::{IpAddr, Ipv4Addr};

use crate::net::address::Cidr;
use crate::net::dhcp::Server;
use crate::net::route::Route;
use crate::topology::cni::config::Table;
use crate::topology::cni::tree::Tree;
use crate::topology::cni::{Ipam, PluginRoute, Range};

/// Keys of whereabouts that mean something here, or that are about its own store and log.
const WHEREABOUTS: [&str; 10] = [
    "range",
    "range_start",
    "range_end",
    "exclude",
    "gateway",
    "routes",
    "log_file",
    "datastore",
    "configuration_path",
    "sleep_for_race",
];
const WHEREABOUTS_UNSUPPORTED: [&str; 6] =
    ["ipRanges", "enable_overlapping_ranges", "network_name", "node_slice_size", "addresses", "omitRange"];

impl Ipam {
    /// `type` of the configuration.
    pub fn plugin(&self) -> &'static str {
        match self {
            Self::Static { .. } => "static",
            Self::HostLocal { .. } => "host-local",
            Self::Whereabouts { .. } => "whereabouts",
            Self::Calico { .. } => "calico-ipam",
            Self::Dhcp => "dhcp",
        }
    }
}

/// Reads the `ipam` object.
pub(crate) fn read(table: &Table<'_>) -> Option<Ipam> {
    let kind = table.required_text("type", "static, host-local, whereabouts, calico-ipam or dhcp")?;
    let kinds = ["static", "host-local", "whereabouts", "calico-ipam", "dhcp"].map(|word| (word, word));
    let known: &[&str] = match table.word(&kind, "IPAM plugin", &kinds)? {
        "static" => &["addresses", "routes"],
        "host-local" => {
            &["subnet", "rangeStart", "rangeEnd", "gateway", "ranges", "routes", "dataDir", "resolvConf"]
        }
        "whereabouts" => &WHEREABOUTS,
        "calico-ipam" => &["assign_ipv4", "assign_ipv6", "ipv4_pools", "ipv6_pools"],
        _ => &["daemonSocketPath", "request", "provide"],
    };
    let all: Vec<&str> = known.iter().copied().chain(["type"]).collect();
    let unsupported: &[&str] = if kind.value == "whereabouts" { &WHEREABOUTS_UNSUPPORTED } else { &[] };
    table.unknown_keys(&all, known, unsupported);
    match kind.value.as_str() {
        "static" => read_static(table),
        "host-local" => read_host_local(table),
        "whereabouts" => read_whereabouts(table),
        "calico-ipam" => read_calico(table),
        _ => Some(Ipam::Dhcp),
    }
}

fn read_static(table: &Table<'_>) -> Option<Ipam> {
    let Some(items) = table.list("addresses").filter(|items| !items.is_empty()) else {
        let hint = "write `\"addresses\": [{ \"address\": \"192.168.0.1/24\" }]`";
        table.tell(&table.span, "static without `addresses`", hint);
        return None;
    };
    let mut addresses = Vec::new();
    for item in items {
        let entry = Table::of(item, &item.span, table.mistakes)?;
        entry.unknown_keys(&["address", "gateway"], &["address", "gateway"], &[]);
        entry.required_text("address", "an address with its prefix length");
        let gateway = entry.parsed("gateway", "an address such as 192.168.0.254");
        addresses
            .extend(entry.parsed("address", "an address such as 192.168.0.1/24").map(|cidr| (cidr, gateway)));
    }
    Some(Ipam::Static { addresses, routes: routes(table)? })
}

fn read_host_local(table: &Table<'_>) -> Option<Ipam> {
    let mut ranges = Vec::new();
    let single = table.get("subnet").is_some();
    if single {
        ranges.extend(range(table));
    }
    for set in table.list("ranges").unwrap_or_default() {
        let Tree::List(items) = &set.value else {
            let message = format!("`ranges` has lists in it, not {}", set.value.what());
            table.tell(&set.span, message, "write [[{ \"subnet\": \"10.1.0.0/24\" }]]");
            continue;
        };
        for item in items {
            let entry = Table::of(item, &item.span, table.mistakes)?;
            let keys = ["subnet", "rangeStart", "rangeEnd", "gateway"];
            entry.unknown_keys(&keys, &keys, &[]);
            ranges.extend(range(&entry));
        }
    }
    if ranges.len() > 1 {
        table.tell(&table.span, "the lab gives an address of one range", "take the other ranges away");
    }
    if ranges.is_empty() && !single && table.get("ranges").is_none() {
        table.tell(
            &table.span,
            "host-local without `subnet` or `ranges`",
            "write \"subnet\": \"10.1.0.0/24\"",
        );
    }
    Some(Ipam::HostLocal { ranges, routes: routes(table)?, asked: Vec::new() })
}

/// `LoadIPAMConfig()` of whereabouts. `range` may have both ends in it: `10.1.0.5-10.1.0.9/24`.
fn read_whereabouts(table: &Table<'_>) -> Option<Ipam> {
    let text = table.required_text("range", "a network such as 10.1.0.0/24")?;
    let at = &text.span;
    let wrong = |hint: &str| table.tell(at, format!("`{}` is no range of addresses", text.value), hint);
    let (first, network) = match text.value.split_once('-') {
        Some((first, rest)) => (first.trim().parse::<Ipv4Addr>().ok(), rest.trim()),
        None => (None, text.value.as_str()),
    };
    let Ok(cidr) = network.parse::<Cidr>() else {
        wrong("write a network such as 10.1.0.0/24");
        return None;
    };
    let IpAddr::V4(address) = cidr.address else {
        wrong("whereabouts of the lab gives out IPv4 addresses: use static for IPv6");
        return None;
    };
    if !(1..=30).contains(&cidr.prefix) {
        wrong("a /30 is the smallest that has an address left");
        return None;
    }
    let mask = u32::MAX << (32 - cidr.prefix);
    let network = u32::from(address) & mask;
    let last = first.map_or((network | !mask) - 1, |_| u32::from(address));
    let first = first.map_or(network + 1, u32::from);
    let what = "an address such as 10.1.0.10";
    let start = table.parsed("range_start", what).unwrap_or(Ipv4Addr::from(first));
    let end = table.parsed("range_end", what).unwrap_or(Ipv4Addr::from(last));
    if [start, end].iter().any(|one| u32::from(*one) & mask != network) || end < start {
        table.tell(at, "the range begins or ends outside its network", "choose both ends inside it");
        return None;
    }
    let mut exclude = Vec::new();
    for item in table.list("exclude").unwrap_or_default() {
        let Tree::Text(text) = &item.value else { continue };
        let whole = if text.contains('/') { text.clone() } else { format!("{text}/32") };
        match whole.parse() {
            Ok(cidr) => exclude.push(cidr),
            Err(_) => table.tell(&item.span, format!("`{text}` is no network"), "write 10.1.0.4/30"),
        }
    }
    let gateway = table.parsed("gateway", "an address such as 10.1.0.1");
    let subnet = Cidr { address: Ipv4Addr::from(network).into(), prefix: cidr.prefix };
    let range = Range { subnet, start, end, gateway: Ipv4Addr::UNSPECIFIED };
    Some(Ipam::Whereabouts { range, exclude, gateway, routes: routes(table)? })
}

/// `Canonicalize()` of host-local: the gateway is the first address, and all are given out but it and both ends.
fn range(table: &Table<'_>) -> Option<Range> {
    table.required_text("subnet", "a network such as 10.1.0.0/24")?;
    let subnet: Cidr = table.parsed("subnet", "a network such as 10.1.0.0/24")?;
    let at = table.get("subnet").map_or(&table.span, |at| &at.span);
    let IpAddr::V4(address) = subnet.address else {
        table.tell(at, "host-local of the lab gives out IPv4 addresses", "use static for IPv6");
        return None;
    };
    if subnet.prefix > 30 {
        table.tell(at, "no address is left in this network", "a /30 is the smallest");
        return None;
    }
    let mask = u32::MAX.checked_shl(u32::from(32 - subnet.prefix)).unwrap_or(0);
    let network = u32::from(address) & mask;
    if network != u32::from(address) {
        let hint = format!("write {}/{}", Ipv4Addr::from(network), subnet.prefix);
        table.tell(at, "the network has host bits set, which host-local refuses", hint);
    }
    let inside = |key: &str, default: u32| -> Ipv4Addr {
        let address = table.parsed(key, "an address such as 10.1.0.10").unwrap_or(Ipv4Addr::from(default));
        if u32::from(address) & mask != network {
            let span = table.get(key).map_or(&table.span, |at| &at.span);
            table.tell(span, format!("`{key}` is not in the network"), format!("choose one of {subnet}"));
        }
        address
    };
    let start = inside("rangeStart", network + 1);
    let end = inside("rangeEnd", (network | !mask) - 1);
    let gateway = inside("gateway", network + 1);
    let subnet = Cidr { address: Ipv4Addr::from(network).into(), prefix: subnet.prefix };
    Some(Range { subnet, start, end, gateway })
}

fn read_calico(table: &Table<'_>) -> Option<Ipam> {
    let pools = table.list("ipv4_pools").unwrap_or_default();
    let Some(first) = pools.first() else {
        table.tell(&table.span, "calico-ipam without `ipv4_pools`", "name a [pool.NAME] of the topology");
        return None;
    };
    let Tree::Text(pool) = &first.value else {
        table.tell(&first.span, "a pool is named by a text", "write \"mypool\"");
        return None;
    };
    Some(Ipam::Calico { pool: pool.clone() })
}

fn routes(table: &Table<'_>) -> Option<Vec<PluginRoute>> {
    let mut routes = Vec::new();
    for item in table.list("routes").unwrap_or_default() {
        let entry = Table::of(item, &item.span, table.mistakes)?;
        let unsupported = ["mtu", "advmss", "priority", "table", "scope"];
        entry.unknown_keys(&["dst", "gw"], &["dst", "gw"], &unsupported);
        entry.required_text("dst", "a network such as 0.0.0.0/0");
        let gw = entry.parsed("gw", "an address such as 10.1.0.1");
        routes.extend(entry.parsed("dst", "a network such as 0.0.0.0/0").map(|dst| PluginRoute { dst, gw }));
    }
    Some(routes)
}

/// Who has which address; as the plugins' stores on disk, but empty at the start of each run.
#[derive(Debug, Default)]
pub struct Leases {
    /// By network: what is taken, and the last one given (host-local goes round).
    host_local: BTreeMap<String, (BTreeSet<Ipv4Addr>, Option<Ipv4Addr>)>,
    /// By pool.
    calico: BTreeMap<String, BTreeSet<Ipv4Addr>>,
    /// By range.
    whereabouts: BTreeMap<Cidr, BTreeSet<Ipv4Addr>>,
    /// By network.
    dhcp: BTreeMap<String, BTreeSet<Ipv4Addr>>,
}

/// What a pod's interface gets.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Lease {
    /// With prefix lengths.
    pub addresses: Vec<Cidr>,
    /// With next hops.
    pub routes: Vec<Route>,
}

/// Why there is no address.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum LeaseError {
    /// As host-local says it.
    #[error("no IP addresses available in network {0}")]
    Full(String),
    /// As host-local says it, of an address that a pod asks for.
    #[error("requested IP address {0} is not available in range set {1}-{2}")]
    Taken(Ipv4Addr, Ipv4Addr, Ipv4Addr),
    /// As host-local says it, of addresses that a pod asks for and no range has.
    #[error("failed to allocate all requested IPs: {0}")]
    Outside(String),
    /// No pool of that name.
    #[error("no pool `{0}`")]
    NoPool(String),
    /// No server answers its pods.
    #[error("network `{0}` has no DHCP server")]
    NoServer(String),
}

impl Leases {
    /// Gives an interface of `network` its addresses. `pools` are the topology's, `servers` its DHCP servers by network.
    ///
    /// # Errors
    /// Nothing is left.
    pub fn take(
        &mut self,
        network: &str,
        ipam: &Ipam,
        pools: &BTreeMap<String, Cidr>,
        servers: &BTreeMap<String, Server>,
    ) -> Result<Lease, LeaseError> {
        match ipam {
            Ipam::Static { addresses, routes } => {
                let gateway = addresses.iter().find_map(|(_, gateway)| *gateway);
                let addresses = addresses.iter().map(|(cidr, _)| *cidr).collect();
                Ok(Lease { addresses, routes: with_next_hops(routes, gateway) })
            }
            Ipam::HostLocal { ranges, routes, asked } => {
                let range = ranges.first().ok_or_else(|| LeaseError::Full(network.into()))?;
                let address = match asked.as_slice() {
                    [] => self.next_in(network, range)?,
                    asked => self.asked_of(network, range, asked)?,
                };
                let addresses = vec![Cidr { address: address.into(), prefix: range.subnet.prefix }];
                Ok(Lease { addresses, routes: with_next_hops(routes, Some(range.gateway.into())) })
            }
            Ipam::Whereabouts { range, exclude, gateway, routes } => {
                let taken = self.whereabouts.entry(range.subnet).or_default();
                let free = |address: &Ipv4Addr| {
                    !taken.contains(address) && exclude.iter().all(|not| !not.contains((*address).into()))
                };
                let mut all = (u32::from(range.start)..=u32::from(range.end)).map(Ipv4Addr::from);
                let address = all.find(free).ok_or_else(|| LeaseError::Full(network.into()))?;
                taken.insert(address);
                let addresses = vec![Cidr { address: address.into(), prefix: range.subnet.prefix }];
                Ok(Lease { addresses, routes: with_next_hops(routes, *gateway) })
            }
            Ipam::Calico { pool } => {
                let cidr = pools.get(pool).ok_or_else(|| LeaseError::NoPool(pool.clone()))?;
                let address = self.lowest_in(pool, cidr)?;
                Ok(Lease {
                    addresses: vec![Cidr { address: address.into(), prefix: cidr.prefix }],
                    routes: Vec::new(),
                })
            }
            Ipam::Dhcp => {
                let server = servers.get(network).ok_or_else(|| LeaseError::NoServer(network.into()))?;
                let taken = self.dhcp.entry(network.into()).or_default();
                let address = server.lowest_free(|address| taken.contains(&address));
                let address = address.ok_or_else(|| LeaseError::Full(network.into()))?;
                taken.insert(address);
                let default = |router: Ipv4Addr| Route::new(None, Some(router.into()), None);
                Ok(Lease {
                    addresses: vec![Cidr { address: address.into(), prefix: server.prefix }],
                    routes: server.router.map(default).into_iter().collect(),
                })
            }
        }
    }

    /// Takes addresses back; static's were never taken.
    pub fn give_back(&mut self, network: &str, ipam: &Ipam, addresses: &[Cidr]) {
        for cidr in addresses {
            let IpAddr::V4(address) = cidr.address else { continue };
            match ipam {
                Ipam::HostLocal { .. } => {
                    if let Some((taken, _)) = self.host_local.get_mut(network) {
                        taken.remove(&address);
                    }
                }
                Ipam::Whereabouts { range, .. } => {
                    if let Some(taken) = self.whereabouts.get_mut(&range.subnet) {
                        taken.remove(&address);
                    }
                }
                Ipam::Calico { pool } => {
                    if let Some(taken) = self.calico.get_mut(pool) {
                        taken.remove(&address);
                    }
                }
                Ipam::Dhcp => {
                    if let Some(taken) = self.dhcp.get_mut(network) {
                        taken.remove(&address);
                    }
                }
                Ipam::Static { .. } => {}
            }
        }
    }

    /// The one after the last that was given, round and round: what was just given back is not given again at once.
    fn next_in(&mut self, network: &str, range: &Range) -> Result<Ipv4Addr, LeaseError> {
        let (taken, last) = self.host_local.entry(network.into()).or_default();
        let (start, end) = (u32::from(range.start), u32::from(range.end));
        let first = last.map_or(start, |last| u32::from(last).saturating_add(1));
        let round = (first.max(start)..=end).chain(start..first.min(end.saturating_add(1)));
        let free =
            round.map(Ipv4Addr::from).find(|address| *address != range.gateway && !taken.contains(address));
        let address = free.ok_or_else(|| LeaseError::Full(network.into()))?;
        taken.insert(address);
        *last = Some(address);
        Ok(address)
    }

    /// The address of the range that a pod asks for (`Get()` of host-local's allocator); others must be in some range.
    fn asked_of(&mut self, network: &str, range: &Range, asked: &[IpAddr]) -> Result<Ipv4Addr, LeaseError> {
        let (taken, _) = self.host_local.entry(network.into()).or_default();
        let in_range = |address: &IpAddr| match address {
            IpAddr::V4(v4) if (range.start..=range.end).contains(v4) => Some(*v4),
            _ => None,
        };
        let found = asked.iter().find_map(in_range);
        let outside: Vec<&IpAddr> =
            asked.iter().filter(|one| found.map(IpAddr::from) != Some(**one)).collect();
        let Some(address) = found.filter(|_| outside.is_empty()) else {
            let outside: Vec<String> = outside.iter().map(ToString::to_string).collect();
            return Err(LeaseError::Outside(outside.join(", ")));
        };
        if address == range.gateway || !taken.insert(address) {
            return Err(LeaseError::Taken(address, range.start, range.end));
        }
        Ok(address)
    }

    /// Calico's own order is that of its blocks, which hangs on host names: the lab takes the lowest.
    fn lowest_in(&mut self, pool: &str, cidr: &Cidr) -> Result<Ipv4Addr, LeaseError> {
        let full = || LeaseError::Full(pool.into());
        let IpAddr::V4(network) = cidr.address else { return Err(full()) };
        let taken = self.calico.entry(pool.into()).or_default();
        let hosts = 1u32.checked_shl(u32::from(32 - cidr.prefix)).unwrap_or(u32::MAX);
        let mut candidates =
            (1..hosts.saturating_sub(1)).map(|host| Ipv4Addr::from(u32::from(network) + host));
        let address = candidates.find(|address| !taken.contains(address)).ok_or_else(full)?;
        taken.insert(address);
        Ok(address)
    }
}

/// `ConfigureIface()`: a route without next hop takes that of the address.
fn with_next_hops(routes: &[PluginRoute], gateway: Option<IpAddr>) -> Vec<Route> {
    let route = |route: &PluginRoute| {
        Route::new(Some(route.dst).filter(|dst| dst.prefix > 0), route.gw.or(gateway), None)
    };
    routes.iter().map(route).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn range(subnet: &str, start: &str, end: &str) -> Ipam {
        let range = Range {
            subnet: subnet.parse().unwrap(),
            start: start.parse().unwrap(),
            end: end.parse().unwrap(),
            gateway: "10.1.0.1".parse().unwrap(),
        };
        Ipam::HostLocal { ranges: vec![range], routes: vec![], asked: vec![] }
    }

    #[test]
    fn host_local_goes_round() {
        let ipam = range("10.1.0.0/29", "10.1.0.1", "10.1.0.4");
        let mut leases = Leases::default();
        let take = |leases: &mut Leases| match leases.take("n", &ipam, &BTreeMap::new(), &BTreeMap::new()) {
            Ok(lease) => lease.addresses[0].to_string(),
            Err(error) => error.to_string(),
        };
        assert_eq!(take(&mut leases), "10.1.0.2/29");
        assert_eq!(take(&mut leases), "10.1.0.3/29");
        leases.give_back("n", &ipam, &["10.1.0.2/29".parse().unwrap()]);
        assert_eq!(take(&mut leases), "10.1.0.4/29");
        assert_eq!(take(&mut leases), "10.1.0.2/29");
        assert_eq!(take(&mut leases), "no IP addresses available in network n");
    }

    #[test]
    fn a_pool_gives_its_lowest() {
        let pools: BTreeMap<String, Cidr> = [("p".to_owned(), "10.10.20.0/30".parse().unwrap())].into();
        let ipam = Ipam::Calico { pool: "p".into() };
        let mut leases = Leases::default();
        let first = leases.take("a", &ipam, &pools, &BTreeMap::new()).unwrap();
        assert_eq!(first.addresses[0].to_string(), "10.10.20.1/30");
        assert_eq!(
            leases.take("b", &ipam, &pools, &BTreeMap::new()).unwrap().addresses[0].to_string(),
            "10.10.20.2/30"
        );
        assert_eq!(leases.take("b", &ipam, &pools, &BTreeMap::new()), Err(LeaseError::Full("p".into())));
        leases.give_back("a", &ipam, &first.addresses);
        assert_eq!(leases.take("c", &ipam, &pools, &BTreeMap::new()).unwrap(), first);
    }
}
