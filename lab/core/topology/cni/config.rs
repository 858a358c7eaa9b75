//! From a configuration as written to a [`Network`]: every mistake reported at its place, in the plugins' own terms.

use std::cell::RefCell;
use std::ops::{Range as Span, RangeInclusive};
use std::str::FromStr;

use crate::net::mode::{BondMode, FailOverMac, IpvlanMode, MacvlanMode, VfLinkState, XmitHashPolicy};
use crate::net::name::{IfName, VlanId};
use crate::net::nic::VfSettings;
use crate::net::text_value::ValueError;
use crate::topology::cni::paste::Place;
use crate::topology::cni::tree::{Mistake, Tree};
use crate::topology::cni::{BondNet, Delegate, Network, ipam, json, paste};
use crate::topology::file::At;

/// Keys that runtimes and other plugins of a chain look at, and that change nothing here.
const IGNORED: [&str; 11] = [
    "cniVersion",
    "dns",
    "args",
    "runtimeConfig",
    "prevResult",
    "kubernetes",
    "datastore_type",
    "log_level",
    "logLevel",
    "logFile",
    "deviceID",
];

/// A plugin's name, its keys, and those of its keys that the lab does not carry out.
const PLUGINS: [(&str, &[&str], &[&str]); 7] = [
    (
        "bond",
        &[
            "ifname",
            "mode",
            "miimon",
            "failOverMac",
            "linksInContainer",
            "links",
            "allSlavesActive",
            "tlbDynamicLb",
            "xmitHashPolicy",
            "mtu",
        ],
        &[],
    ),
    ("macvlan", &["master", "mode", "linkInContainer", "mtu", "mac"], &["bcqueuelen"]),
    ("ipvlan", &["master", "mode", "linkInContainer", "mtu"], &[]),
    ("vlan", &["master", "vlanId", "linkInContainer", "mtu"], &[]),
    (
        "bridge",
        &["bridge", "mtu", "isGateway", "isDefaultGateway"],
        &[
            "forceAddress",
            "ipMasq",
            "ipMasqBackend",
            "hairpinMode",
            "promiscMode",
            "vlan",
            "vlanTrunk",
            "preserveDefaultVlan",
            "macspoofchk",
            "enabledad",
            "disableContainerInterface",
            "portIsolation",
        ],
    ),
    ("host-device", &["device"], &["hwaddr", "kernelpath", "pciBusID"]),
    (
        "sriov",
        &[
            "vlan",
            "vlanQoS",
            "vlanProto",
            "mac",
            "spoofchk",
            "trust",
            "link_state",
            "min_tx_rate",
            "max_tx_rate",
        ],
        &[],
    ),
];

/// Versions of the specification that there are.
const VERSIONS: [&str; 8] = ["0.1.0", "0.2.0", "0.3.0", "0.3.1", "0.4.0", "1.0.0", "1.0.1", "1.1.0"];

/// Reads what stands under `[net.NAME]`. `span` is the name's place.
pub fn read(name: &At<String>, tree: &At<Tree>) -> (Option<Network>, Vec<Mistake>) {
    let mistakes = RefCell::new(Vec::new());
    let network = read_table(name, tree, &mistakes);
    let mut mistakes = mistakes.into_inner();
    mistakes.sort_by_key(|mistake: &Mistake| mistake.span.start);
    (network.filter(|_| mistakes.is_empty()), mistakes)
}

fn read_table(name: &At<String>, tree: &At<Tree>, mistakes: &RefCell<Vec<Mistake>>) -> Option<Network> {
    let table = Table::of(tree, &name.span, mistakes)?;
    let real = table.text("plugin");
    let real =
        real.and_then(|word| table.word(&word, "way to run a plugin", &[("own", false), ("real", true)]));
    let real = real.unwrap_or(false);
    let resource = table.list("resource").into_iter().flatten();
    let resource = resource.filter_map(|item| table.if_name_of(item)).collect();
    let Some(config) = table.get("config") else {
        return network(name, tree, &table, (resource, real), &["resource", "plugin"]);
    };
    for (key, _) in table
        .entries
        .iter()
        .filter(|(key, _)| !["config", "resource", "plugin"].contains(&key.value.as_str()))
    {
        table.tell(
            &key.span,
            "a key beside `config`",
            "write it into the configuration, or take `config` away",
        );
    }
    let Tree::Text(text) = &config.value else {
        table.tell(&config.span, "`config` is a text", "write the JSON between ''' and '''");
        return None;
    };
    let place = Place::of(&config.span, text);
    let (json, namespace) = match paste::json_of(text, &name.value) {
        Ok(found) => found,
        Err(mistake) => {
            mistakes.borrow_mut().push(place.moved(mistake));
            return None;
        }
    };
    let place = place.from(json.start);
    let (tree, found) = json::parse(&text[json]);
    mistakes.borrow_mut().extend(found.into_iter().map(|mistake| place.moved(mistake)));
    let tree = place.tree(tree?);
    let tree = match Table::of(&tree, &tree.span, mistakes)?.first_of_list() {
        Some(first) => first?,
        None => tree,
    };
    let inner = Table::of(&tree, &tree.span, mistakes)?;
    let name = At { value: name.value.clone(), span: tree.span.clone() };
    Some(Network { namespace, ..network(&name, &tree, &inner, (resource, real), &[])? })
}

fn network(
    name: &At<String>,
    tree: &At<Tree>,
    table: &Table<'_>,
    (resource, real): (Vec<IfName>, bool),
    also: &[&str],
) -> Option<Network> {
    let plugin = table.required_text("type", "the plugin to run, such as \"bond\"");
    let known: Vec<&str> = PLUGINS.iter().map(|(word, ..)| *word).collect();
    let keys = plugin.as_ref().and_then(|plugin| PLUGINS.iter().find(|(word, ..)| *word == plugin.value));
    if let (Some(plugin), None) = (&plugin, keys) {
        let hint = nearest_hint(&plugin.value, &known);
        table.tell(&plugin.span, format!("no plugin `{}` in the lab", plugin.value), hint);
    }
    let (_, keys, unsupported) = keys?;
    let mut all: Vec<&str> = vec!["name", "type", "ipam", "capabilities"];
    all.extend(also);
    all.extend(*keys);
    table.unknown_keys(&all, keys, unsupported);
    if let Some(version) = table.text("cniVersion") {
        table.word(&version, "version of the specification", &VERSIONS.map(|version| (version, ())));
    }
    let delegate = match plugin?.value.as_str() {
        "bond" => bond(table).map(Delegate::Bond),
        "macvlan" => macvlan(table),
        "ipvlan" => ipvlan(table),
        "vlan" => vlan(table),
        "bridge" => Some(bridge(table)),
        "host-device" => table.required_name("device").map(|device| Delegate::HostDevice { device }),
        _ => {
            if resource.is_empty() {
                let hint = "name the links a device plugin would hand out: resource = [\"vf0\"]";
                table.tell(&name.span, "sriov without `resource`", hint);
            }
            Some(Delegate::Sriov(sriov(table)))
        }
    };
    let mtu = table.int("mtu", 0..=65535).and_then(|mtu| u32::try_from(mtu).ok()).filter(|mtu| *mtu > 0);
    let ipam = match table.get("ipam") {
        Some(tree) => match Table::of(tree, &tree.span, table.mistakes) {
            Some(table) if table.entries.is_empty() => None,
            Some(table) => Some(ipam::read(&table)?),
            None => return None,
        },
        None => None,
    };
    let delegate = delegate?;
    let json = json::for_plugin(&name.value, &tree.value);
    let capabilities = capabilities(table);
    let name = name.value.clone();
    Some(Network { name, namespace: None, delegate, mtu, ipam, resource, capabilities, real, json })
}

/// Keys of `capabilities` that are true.
fn capabilities(table: &Table<'_>) -> Vec<String> {
    let tree = table.get("capabilities");
    let Some(all) = tree.and_then(|tree| Table::of(tree, &tree.span, table.mistakes)) else {
        return Vec::new();
    };
    let is_true = |(key, _): &&(At<String>, At<Tree>)| all.bool(&key.value) == Some(true);
    all.entries.iter().filter(is_true).map(|(key, _)| key.value.clone()).collect()
}

fn bond(table: &Table<'_>) -> Option<BondNet> {
    const MODES: [BondMode; 7] = [
        BondMode::BalanceRr,
        BondMode::ActiveBackup,
        BondMode::BalanceXor,
        BondMode::Broadcast,
        BondMode::Ieee8023Ad,
        BondMode::BalanceTlb,
        BondMode::BalanceAlb,
    ];
    const POLICIES: [XmitHashPolicy; 6] = [
        XmitHashPolicy::Layer2,
        XmitHashPolicy::Layer34,
        XmitHashPolicy::Layer23,
        XmitHashPolicy::Encap23,
        XmitHashPolicy::Encap34,
        XmitHashPolicy::VlanSrcMac,
    ];
    let mode_text = table.required_text("mode", "a mode by its name, such as \"active-backup\"");
    let mode = mode_text.and_then(|mode| table.word(&mode, "bonding mode", &MODES.map(|m| (m.word(), m))));
    let miimon = miimon(table);
    let fail_over_mac = table.int("failOverMac", 0..=2).map_or(FailOverMac::None, |number| match number {
        0 => FailOverMac::None,
        1 => FailOverMac::Active,
        _ => FailOverMac::Follow,
    });
    let tlb_dynamic_lb = table.zero_or_one("tlbDynamicLb");
    if let (Some(at), Some(mode)) = (table.get("tlbDynamicLb"), mode)
        && !matches!(mode, BondMode::BalanceTlb | BondMode::BalanceAlb)
    {
        let hint = "use it with balance-tlb or balance-alb; the plugin refuses it otherwise";
        table.tell(&at.span, format!("`tlbDynamicLb` has no meaning in mode {mode}"), hint);
    }
    let policy = table.text("xmitHashPolicy");
    let xmit_hash_policy =
        policy.and_then(|policy| table.word(&policy, "hash policy", &POLICIES.map(|p| (p.word(), p))));
    let links = links(table);
    let ifname = table.if_name("ifname");
    let links_in_container = table.bool("linksInContainer").unwrap_or(false);
    let all_slaves_active = table.zero_or_one("allSlavesActive");
    Some(BondNet {
        ifname,
        mode: mode?,
        miimon: miimon?,
        fail_over_mac,
        links_in_container,
        links: links?,
        all_slaves_active,
        tlb_dynamic_lb,
        xmit_hash_policy,
    })
}

/// A text: `json:"miimon"` is a string in the plugin's source, whatever its README says.
fn miimon(table: &Table<'_>) -> Option<u32> {
    let Some(at) = table.get("miimon") else {
        let hint = "write `\"miimon\": \"100\"`; the plugin cannot convert an empty text to a number";
        table.tell(&table.span, "`miimon` is missing", hint);
        return None;
    };
    match &at.value {
        Tree::Text(text) => match text.parse() {
            Ok(ms) if ms <= i32::MAX as u32 => Some(ms),
            _ => {
                table.tell(&at.span, format!("`{text}` is no number of milliseconds"), "write \"100\"");
                None
            }
        },
        Tree::Int(ms) => {
            let message = "the bond plugin cannot read a number here (\"failed to load configuration file\")";
            table.tell(&at.span, message, format!("write it as a text: \"{ms}\""));
            None
        }
        other => {
            table.tell(&at.span, format!("`miimon` is a text, not {}", other.what()), "write \"100\"");
            None
        }
    }
}

fn links(table: &Table<'_>) -> Option<Vec<IfName>> {
    let Some(items) = table.list("links") else {
        if table.get("links").is_none() {
            let hint = "write `\"links\": [{ \"name\": \"net1\" }, { \"name\": \"net2\" }]`";
            table.tell(&table.span, "`links` is missing", hint);
        }
        return None;
    };
    let mut links = Vec::new();
    for item in items {
        let Tree::Table(_) = &item.value else {
            let message = format!("a link is an object, not {}", item.value.what());
            table.tell(&item.span, message, "write { \"name\": \"net1\" }");
            continue;
        };
        let link = Table::of(item, &item.span, table.mistakes)?;
        link.unknown_keys(&["name"], &["name"], &[]);
        links.extend(link.required_name("name"));
    }
    if items.len() < 2 {
        let at = table.get("links").map_or(&table.span, |at| &at.span);
        let message = format!("bonding requires at least two links, we have {}", items.len());
        table.tell(at, message, "name another one");
    }
    Some(links)
}

fn macvlan(table: &Table<'_>) -> Option<Delegate> {
    const MODES: [(&str, MacvlanMode); 4] = [
        ("bridge", MacvlanMode::Bridge),
        ("vepa", MacvlanMode::Vepa),
        ("private", MacvlanMode::Private),
        ("passthru", MacvlanMode::Passthru),
    ];
    let mode = table.text("mode").and_then(|mode| table.word(&mode, "macvlan mode", &MODES));
    let mode = mode.unwrap_or(MacvlanMode::Bridge);
    let in_container = table.bool("linkInContainer").unwrap_or(false);
    let mac = table.parsed("mac", "an Ethernet address");
    Some(Delegate::Macvlan { master: table.required_name("master")?, mode, in_container, mac })
}

fn ipvlan(table: &Table<'_>) -> Option<Delegate> {
    const MODES: [(&str, IpvlanMode); 3] =
        [("l2", IpvlanMode::L2), ("l3", IpvlanMode::L3), ("l3s", IpvlanMode::L3s)];
    let mode = table.text("mode").and_then(|mode| table.word(&mode, "ipvlan mode", &MODES));
    let mode = mode.unwrap_or(IpvlanMode::L2);
    let in_container = table.bool("linkInContainer").unwrap_or(false);
    Some(Delegate::Ipvlan { master: table.required_name("master")?, mode, in_container })
}

fn vlan(table: &Table<'_>) -> Option<Delegate> {
    let id = table.int("vlanId", 0..=4094);
    if table.get("vlanId").is_none() {
        table.tell(&table.span, "`vlanId` is missing", "write `\"vlanId\": 100`");
    }
    let master = table.required_name("master");
    let in_container = table.bool("linkInContainer").unwrap_or(false);
    Some(Delegate::Vlan { master: master?, id: VlanId::try_from(id?).ok()?, in_container })
}

fn bridge(table: &Table<'_>) -> Delegate {
    let bridge = table.if_name("bridge").unwrap_or_else(|| "cni0".parse().expect("cni0 is a name"));
    let is_default_gateway = table.bool("isDefaultGateway").unwrap_or(false);
    let is_gateway = table.bool("isGateway").unwrap_or(false) || is_default_gateway;
    Delegate::Bridge { bridge, is_gateway, is_default_gateway, mac: None }
}

/// `LoadConf()` and `validateConf()` of sriov-cni: what a PF is to say of the VF.
fn sriov(table: &Table<'_>) -> VfSettings {
    const STATES: [(&str, VfLinkState); 3] =
        [("auto", VfLinkState::Auto), ("enable", VfLinkState::Enable), ("disable", VfLinkState::Disable)];
    let vlan = table.int("vlan", 0..=4094).and_then(|id| VlanId::try_from(id).ok());
    let qos = table.int("vlanQoS", 0..=7).and_then(|qos| u8::try_from(qos).ok());
    if let Some(at) = table.get("vlanQoS").filter(|_| vlan.is_none()) {
        let message = "vlan id must be configured to set vlan QoS to a non-nil value";
        table.tell(&at.span, message, "set `vlan` too");
    }
    if let Some(protocol) = table.text("vlanProto") {
        table.word(&protocol, "VLAN protocol the lab's PFs take", &[("802.1q", ()), ("802.1Q", ())]);
    }
    let state = table.text("link_state").and_then(|word| table.word(&word, "link_state", &STATES));
    let rate = |key| table.int(key, 0..=i64::from(u32::MAX)).and_then(|rate| u32::try_from(rate).ok());
    VfSettings {
        mac: table.parsed("mac", "an Ethernet address"),
        vlan,
        qos,
        spoofchk: table.on_off("spoofchk"),
        trust: table.on_off("trust"),
        link_state: state,
        max_tx_rate: rate("max_tx_rate"),
        min_tx_rate: rate("min_tx_rate"),
    }
}

pub(crate) fn nearest_hint(written: &str, known: &[&str]) -> String {
    match crate::topology::nearest(written, known.iter().copied()) {
        Some(word) => format!("did you mean `{word}`?"),
        None => format!("there are: {}", known.join(", ")),
    }
}

/// An object, and where its mistakes go.
pub(crate) struct Table<'a> {
    pub(crate) span: Span<usize>,
    entries: &'a [(At<String>, At<Tree>)],
    pub(crate) mistakes: &'a RefCell<Vec<Mistake>>,
}

impl<'a> Table<'a> {
    pub(crate) fn of(
        tree: &'a At<Tree>,
        span: &Span<usize>,
        mistakes: &'a RefCell<Vec<Mistake>>,
    ) -> Option<Self> {
        let Tree::Table(entries) = &tree.value else {
            let message = format!("an object is expected here, not {}", tree.value.what());
            let mistake = Mistake { span: tree.span.clone(), message, hint: "write { ... }".into() };
            mistakes.borrow_mut().push(mistake);
            return None;
        };
        Some(Self { span: span.start..span.start + 1.min(span.len()), entries, mistakes })
    }

    pub(crate) fn tell(&self, span: &Span<usize>, message: impl Into<String>, hint: impl Into<String>) {
        let mistake = Mistake { span: span.clone(), message: message.into(), hint: hint.into() };
        self.mistakes.borrow_mut().push(mistake);
    }

    pub(crate) fn get(&self, key: &str) -> Option<&'a At<Tree>> {
        self.entries.iter().find(|(name, _)| name.value == key).map(|(_, value)| value)
    }

    /// The only plugin of a list (`plugins`), with the list's own name and version; `None` inside where it is not known.
    fn first_of_list(&self) -> Option<Option<At<Tree>>> {
        self.get("plugins")?;
        self.unknown_keys(&["name", "plugins", "disableCheck", "disableGC"], &["name", "plugins"], &[]);
        let plugins = self.list("plugins").unwrap_or_default();
        for chained in plugins.iter().skip(1) {
            let kind = Table::of(chained, &chained.span, self.mistakes).and_then(|table| table.text("type"));
            let kind = kind.map_or_else(String::new, |kind| format!(" `{}`", kind.value));
            let message = format!("the lab runs the first plugin of a list, and not the chained{kind}");
            self.tell(&chained.span, message, "remove it: the lab then does not show what it does");
        }
        let Some(At { value: Tree::Table(first), span }) = plugins.first() else {
            let at = self.get("plugins").map_or(&self.span, |at| &at.span);
            self.tell(at, "a list without plugins", "write \"plugins\": [{ \"type\": \"bond\", ... }]");
            return Some(None);
        };
        let outer =
            self.entries.iter().filter(|(key, _)| ["name", "cniVersion"].contains(&key.value.as_str()));
        let lacks = |key: &str| first.iter().all(|(known, _)| known.value != key);
        let mut entries: Vec<_> = outer.filter(|(key, _)| lacks(&key.value)).cloned().collect();
        entries.extend(first.iter().cloned());
        Some(Some(At { value: Tree::Table(entries), span: span.clone() }))
    }

    /// Reports unknown keys, and keys that the plugin knows and the lab does not implement.
    pub(crate) fn unknown_keys(&self, known: &[&str], own: &[&str], unsupported: &[&str]) {
        for (key, _) in self.entries.iter().filter(|(key, _)| !known.contains(&key.value.as_str())) {
            if IGNORED.contains(&key.value.as_str()) {
                continue;
            }
            if unsupported.contains(&key.value.as_str()) {
                let message = format!("the lab does not carry out `{}`", key.value);
                self.tell(&key.span, message, "remove it: the lab then does not show what it does");
                continue;
            }
            let hint = nearest_hint(&key.value, own);
            let message = format!("`{}` is no key of this plugin, which would ignore it", key.value);
            self.tell(&key.span, message, hint);
        }
    }

    fn wrong(&self, key: &str, at: &At<Tree>, wanted: &str) {
        self.tell(
            &at.span,
            format!("`{key}` is {wanted}, not {}", at.value.what()),
            format!("write {wanted}"),
        );
    }

    pub(crate) fn text(&self, key: &str) -> Option<At<String>> {
        let at = self.get(key)?;
        match &at.value {
            Tree::Text(text) => Some(At { value: text.clone(), span: at.span.clone() }),
            _ => {
                self.wrong(key, at, "a text");
                None
            }
        }
    }

    pub(crate) fn required_text(&self, key: &str, what: &str) -> Option<At<String>> {
        if self.get(key).is_none() {
            self.tell(&self.span, format!("`{key}` is missing"), format!("it is {what}"));
        }
        self.text(key)
    }

    /// One of some words.
    pub(crate) fn word<T: Copy>(&self, at: &At<String>, what: &str, words: &[(&str, T)]) -> Option<T> {
        let found = words.iter().find(|(word, _)| *word == at.value).map(|(_, value)| *value);
        if found.is_none() {
            let known: Vec<&str> = words.iter().map(|(word, _)| *word).collect();
            self.tell(&at.span, format!("no {what} `{}`", at.value), nearest_hint(&at.value, &known));
        }
        found
    }

    pub(crate) fn bool(&self, key: &str) -> Option<bool> {
        let at = self.get(key)?;
        let Tree::Bool(value) = at.value else {
            self.wrong(key, at, "true or false");
            return None;
        };
        Some(value)
    }

    fn int(&self, key: &str, range: RangeInclusive<i64>) -> Option<i64> {
        let at = self.get(key)?;
        match at.value {
            Tree::Int(value) if range.contains(&value) => Some(value),
            Tree::Int(value) => {
                let message = format!("`{key}` is {} to {}, not {value}", range.start(), range.end());
                self.tell(&at.span, message, "the plugin refuses it");
                None
            }
            _ => {
                self.wrong(key, at, "a number");
                None
            }
        }
    }

    fn zero_or_one(&self, key: &str) -> Option<bool> {
        self.int(key, 0..=1).map(|value| value == 1)
    }

    fn on_off(&self, key: &str) -> Option<bool> {
        let at = self.text(key)?;
        self.word(&at, "state", &[("on", true), ("off", false)])
    }

    pub(crate) fn list(&self, key: &str) -> Option<&'a [At<Tree>]> {
        let at = self.get(key)?;
        let Tree::List(items) = &at.value else {
            self.wrong(key, at, "a list");
            return None;
        };
        Some(items)
    }

    fn if_name_of(&self, at: &At<Tree>) -> Option<IfName> {
        let Tree::Text(text) = &at.value else {
            self.tell(&at.span, format!("a device's name is a text, not {}", at.value.what()), "quote it");
            return None;
        };
        let name: Result<IfName, ValueError> = text.parse();
        name.map_err(|error| self.tell(&at.span, error.to_string(), "the kernel would refuse it")).ok()
    }

    pub(crate) fn if_name(&self, key: &str) -> Option<IfName> {
        self.if_name_of(self.get(key)?)
    }

    fn required_name(&self, key: &str) -> Option<IfName> {
        if self.get(key).is_none() {
            self.tell(&self.span, format!("`{key}` is missing"), "it is the name of a device");
        }
        self.if_name(key)
    }

    /// A value that has a text form of its own.
    pub(crate) fn parsed<T: FromStr>(&self, key: &str, what: &str) -> Option<T> {
        let at = self.text(key)?;
        let value = at.value.parse().ok();
        if value.is_none() {
            self.tell(&at.span, format!("`{}` is not {what}", at.value), format!("write {what}"));
        }
        value
    }
}
