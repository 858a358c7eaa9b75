//! `lab diagnose`: how often a cause's own counters, taken from a kernel whose measurement is left out, lead back to it.
//!
//! docs/diagnose.md has the numbers; `UPDATE_EXPECTED=1` writes what they are now.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write;
use std::fs;
use std::path::{Path, PathBuf};

use bondlab_core::diagnose::{Catalogue, Diagnosis, Measured};
use bondlab_core::import::{Known, Source};
use bondlab_core::net::link::LinkKind;
use bondlab_core::net::name::DeviceRef;
use bondlab_core::net::version::KernelVersion;
use bondlab_core::report::snapshot::Accepted;
use bondlab_core::topology::Topology;

use crate::round_trip::shown::{Machine, State};

/// Set to write the numbers of now into the page.
const UPDATE: &str = "UPDATE_EXPECTED";
const PAGE: &str = "docs/diagnose.md";
/// Around the numbers in the page.
const MARKS: [&str; 2] = ["<!-- measured -->\n", "<!-- end -->\n"];
/// The kernels that observations are made of; each cause has measurements on others.
const KERNELS: [&str; 6] = ["5.10.262", "6.1.192", "6.12.57", "6.12.117", "6.18.15", "7.3.4"];
/// A machine in use has sent more than the run's few hundred frames.
const MORE: u64 = 37;

fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

fn read(path: PathBuf) -> String {
    fs::read_to_string(&path).unwrap_or_else(|error| panic!("{}: {error}", path.display()))
}

/// A cause's name, its topology's text and its snapshot's.
struct Files {
    name: String,
    topology: String,
    snapshot: String,
}

impl Files {
    fn of(folder: &str, name: &str) -> Self {
        Self {
            name: name.to_owned(),
            topology: read(root().join(folder).join(format!("{name}.toml"))),
            snapshot: read(root().join("snapshots").join(format!("{name}.snap"))),
        }
    }

    fn measured(&self) -> Measured<'_> {
        Measured { name: &self.name, topology: &self.topology, snapshot: &self.snapshot }
    }
}

fn causes() -> Vec<Files> {
    let entries = fs::read_dir(root().join("topologies/causes")).expect("the folder is there");
    let mut names: Vec<String> = entries
        .filter_map(|entry| Some(entry.ok()?.path().file_stem()?.to_str()?.to_owned()))
        .filter(|name| root().join("snapshots").join(format!("{name}.snap")).exists())
        .collect();
    names.sort();
    names.iter().map(|name| Files::of("topologies/causes", name)).collect()
}

fn catalogue(causes: &[Files]) -> Catalogue {
    let study = Files::of("topologies", "vlan-over-bond-tx-drop");
    let measured: Vec<Measured<'_>> = causes.iter().map(Files::measured).collect();
    Catalogue::new(&measured, &[study.measured()])
}

/// What the tools of a machine would print: the states and counters of a snapshot's main trial.
struct Synthetic {
    topology: Topology,
    text: String,
}

impl Synthetic {
    fn new(files: &Files, kernel: &str) -> Option<Self> {
        let topology = Topology::parse(&files.name, &files.name, &files.topology).ok()?;
        let text = Accepted::parse(&files.snapshot).ok()?.behaviour(kernel)?.to_string();
        let main: Vec<&str> = text
            .lines()
            .skip_while(|line| *line != "trial main")
            .skip(1)
            .take_while(|line| line.starts_with(' '))
            .collect();
        (!main.is_empty()).then(|| Self { topology, text: main.join("\n") })
    }

    /// What stands behind a label.
    fn values(&self, label: &str) -> Vec<&str> {
        let label = format!("{label}: ");
        self.text.lines().filter_map(|line| line.trim_start().strip_prefix(&label[..])).collect()
    }

    fn numbers(value: &str) -> BTreeMap<String, u64> {
        let item = |item: &str| {
            let (name, number) = item.rsplit_once(' ')?;
            Some((name.to_owned(), number.parse::<u64>().ok()? * MORE))
        };
        value.split(", ").filter_map(item).collect()
    }

    /// Frames that a flow sends by a device.
    fn sent_by(&self, device: &DeviceRef) -> u64 {
        let passes = |from: &DeviceRef| {
            let mut at = vec![from.clone()];
            while let Some(next) = at.pop() {
                if next == *device {
                    return true;
                }
                at.extend(self.topology.link(&next).map(|link| link.below()).unwrap_or_default());
            }
            false
        };
        let flows = self.topology.scenario.flows.values().filter(|flow| passes(&flow.from));
        let asked = flows.flat_map(|flow| self.values(&format!("flow {} ({})", flow.name, flow.socket)));
        asked.filter_map(|value| value.split_once(" asked")?.0.parse::<u64>().ok()).sum::<u64>() * MORE
    }

    fn state(&self, device: &DeviceRef) -> State {
        let mut state = State::default();
        for line in self.values(&format!("link {device}")) {
            let flags = line.split("flags ").nth(1).unwrap_or_default();
            let has = |flag: &str| flags.split([' ', ',']).any(|word| word == flag);
            (state.up, state.carrier) = (has("UP"), has("LOWER_UP"));
            let failures = line.split("link failures ").nth(1).and_then(|count| count.parse().ok());
            state.failures = failures.unwrap_or(0);
        }
        for line in self.values(&device.to_string()) {
            state.counters.extend(Self::numbers(line));
        }
        let dropped = state.counters.get("tx_dropped").copied().unwrap_or(0);
        state.counters.insert("tx_packets".into(), self.sent_by(device).saturating_sub(dropped) + 3);
        state.counters.insert("rx_packets".into(), 100 * MORE);
        let is_virtual =
            !matches!(self.topology.link(device).map(|link| &link.kind), Some(LinkKind::Veth { .. }));
        state.queue.0 = if is_virtual { "noqueue" } else { "fq_codel" }.into();
        let label = format!(" of {device}: ");
        for line in self.text.lines().filter(|line| line.contains(&label) && !line.contains("lost at")) {
            let Some((kind, value)) = line.trim_start().split_once(&label[..]) else { continue };
            match kind {
                "clsact" | "ingress" => state.clsact = Self::numbers(value).get("drops").copied(),
                _ => state.queue = (kind.to_owned(), Self::numbers(value)),
            }
        }
        state
    }

    /// A counter that the snapshot does not compare is in no observation that it could make.
    fn is_whole(&self) -> bool {
        !self.text.contains("not compared")
    }

    /// The capture of the namespace with the bond.
    fn capture(&self, kernel: &str, has_queues: bool, says_errno: bool) -> Option<String> {
        let bond = self.topology.links.values().find(|link| matches!(link.kind, LinkKind::Bond(_)))?;
        let ns = bond.device.ns.clone();
        let own = self.topology.links.values().filter(|link| link.device.ns == ns);
        let states = own.map(|link| (link.device.clone(), self.state(&link.device))).collect();
        let machine = Machine { topology: &self.topology, ns, states };
        let mut text = machine.capture(kernel, has_queues);
        if says_errno {
            text += &self.ping(&bond.device);
        }
        Some(text)
    }

    /// What somebody who pings by the bond's VLAN sees.
    fn ping(&self, bond: &DeviceRef) -> String {
        let mut errnos = BTreeSet::new();
        let (mut asked, mut is_sent) = (0u64, false);
        for flow in self.topology.scenario.flows.values().filter(|flow| flow.from.ns == bond.ns) {
            for value in self.values(&format!("flow {} ({})", flow.name, flow.socket)) {
                let shows = ["packet", "ping", "udp-recverr"].contains(&flow.socket.to_string().as_str());
                is_sent |= shows && value.contains(" sent");
                asked += 1;
                errnos.extend(
                    value
                        .split(", ")
                        .filter_map(|item| item.split(' ').nth(1))
                        .filter(|word| shows && word.starts_with('E')),
                );
            }
        }
        let words = errnos.first().map(|errno| match *errno {
            "ENOBUFS" => "ping: sendmsg: No buffer space available",
            "ENETDOWN" => "ping: sendmsg: Network is down",
            "EMSGSIZE" => "ping: sendmsg: Message too long",
            other => panic!("{}: what does ping say of {other}?", self.topology.name),
        });
        match (words, asked > 0 && is_sent) {
            (Some(words), _) => format!("\n```\n{words}\n```\n"),
            // As of an observation without an answer: ping's statistics.
            (None, true) => "\n```\nping -I bond0.70 192.0.2.2\n5 packets transmitted, 0 received, 100% packet loss, time 4100ms\n```\n".into(),
            (None, false) => String::new(),
        }
    }
}

fn diagnosis(catalogue: &Catalogue, text: &str, left_out: Option<(&str, KernelVersion)>) -> Diagnosis {
    let kernels = KERNELS.map(|kernel| kernel.parse().expect("a version"));
    let known = Known { kernels: &kernels, causes: &[] };
    let source = Source { name: "capture".into(), text: text.to_owned() };
    catalogue.without(&[source], &known, left_out).unwrap_or_else(|error| panic!("{error}\nof\n{text}"))
}

/// Where a cause stands: causes before it, and those level with it, itself among them.
#[derive(Debug, Clone, Copy)]
struct Standing {
    before: usize,
    level: usize,
}

impl Standing {
    fn of(diagnosis: &Diagnosis, cause: &str) -> Option<Self> {
        let own = diagnosis.ranks.iter().find(|place| place.cause == cause)?.weight;
        let is_level = |share: f64| (share - own).abs() <= own * 1e-9;
        let before =
            diagnosis.ranks.iter().filter(|place| place.weight > own && !is_level(place.weight)).count();
        let level = diagnosis.ranks.iter().filter(|place| is_level(place.weight)).count();
        Some(Self { before, level })
    }

    /// How likely it is among the first so many where chance orders those that are level.
    fn among(self, places: usize) -> f64 {
        let free = places.saturating_sub(self.before).min(self.level);
        free as f64 / self.level as f64
    }

    /// Whether it is among them however chance orders.
    fn surely_among(self, places: usize) -> bool {
        self.before + self.level <= places
    }
}

/// What a text may show.
const EVIDENCE: [(&str, bool, bool); 3] = [
    ("`ip -s -d link`, `/proc/net/bonding`", false, false),
    ("and `tc -s qdisc`", true, false),
    ("and what ping says", true, true),
];

fn measured_table() -> String {
    let causes = causes();
    let catalogue = catalogue(&causes);
    let kernels: BTreeMap<&str, Vec<KernelVersion>> = catalogue.causes().collect();
    let mut out = String::from(
        "| the text has | cases | first | level with the first | among the first three | surely among the first three |\n|---|---|---|---|---|---|\n",
    );
    let mut last: BTreeMap<&str, Vec<(Standing, Vec<String>)>> = BTreeMap::new();
    for (what, has_queues, says_errno) in EVIDENCE {
        let (mut cases, mut first, mut level, mut three, mut surely) = (0u32, 0.0, 0u32, 0.0, 0u32);
        for files in &causes {
            let Some(others) = kernels.get(&files.name[..]).filter(|kernels| kernels.len() > 1) else {
                continue;
            };
            for kernel in KERNELS.iter().filter(|kernel| others.contains(&kernel.parse().expect("a version")))
            {
                let Some(synthetic) = Synthetic::new(files, kernel).filter(Synthetic::is_whole) else {
                    continue;
                };
                let Some(text) = synthetic.capture(kernel, has_queues, says_errno) else { continue };
                let left_out = (&files.name[..], kernel.parse().expect("a version"));
                let found = diagnosis(&catalogue, &text, Some(left_out));
                cases += 1;
                let Some(standing) = Standing::of(&found, &files.name) else {
                    last.entry(&files.name).or_default();
                    continue;
                };
                first += standing.among(1);
                level += u32::from(standing.before == 0);
                three += standing.among(3);
                surely += u32::from(standing.surely_among(3));
                if says_errno {
                    let own = found
                        .ranks
                        .iter()
                        .find(|place| place.cause == files.name)
                        .map_or(0.0, |place| place.weight);
                    let before = found.ranks.iter().take_while(|place| place.weight >= own * (1.0 - 1e-9));
                    let names =
                        before.map(|place| place.cause.clone()).filter(|name| *name != files.name).collect();
                    last.entry(&files.name).or_default().push((standing, names));
                }
            }
        }
        let part = |of: f64| format!("{:.0} ({:.0} %)", of, of * 100.0 / f64::from(cases));
        _ = writeln!(
            out,
            "| {what} | {cases} | {} | {} | {} | {} |",
            part(first),
            part(f64::from(level)),
            part(three),
            part(f64::from(surely))
        );
    }
    by_cause(&mut out, last);
    out
}

/// A line for each cause, by its worst kernel.
fn by_cause(out: &mut String, last: BTreeMap<&str, Vec<(Standing, Vec<String>)>>) {
    _ = writeln!(
        out,
        "\nWith all of it, by cause: the place that it surely has, on the worst of the kernels, and what is before it or level with it.\n"
    );
    _ = writeln!(out, "| cause | place | before it or level |\n|---|---|---|");
    for (name, cases) in last {
        let place = cases.iter().map(|(standing, _)| standing.before + standing.level).max();
        let names: BTreeSet<&str> = cases.iter().flat_map(|(_, names)| names).map(String::as_str).collect();
        let shown: Vec<&str> = names.iter().copied().take(8).collect();
        let more = names.len().saturating_sub(shown.len());
        let more = if more > 0 { format!(" and {more} more") } else { String::new() };
        let place = place.map_or("ruled out".to_owned(), |place| place.to_string());
        let others = if names.is_empty() { "-".to_owned() } else { format!("{}{more}", shown.join(", ")) };
        _ = writeln!(out, "| {name} | {place} | {others} |");
    }
}

/// Leave one out: each cause's counters on a kernel, against its measurements on the others and against all other causes.
#[test]
fn the_page_has_the_ranks_of_causes_by_counters_of_a_kernel_that_is_left_out() {
    let table = measured_table();
    let path = root().join(PAGE);
    let page = read(path.clone());
    let (head, rest) = page.split_once(MARKS[0]).expect("the page has the mark");
    let (kept, tail) = rest.split_once(MARKS[1]).expect("the page has the second mark");
    if std::env::var_os(UPDATE).is_some() {
        fs::write(&path, format!("{head}{}{table}{}{tail}", MARKS[0], MARKS[1])).expect("it can be written");
        return;
    }
    assert_eq!(kept, table, "{UPDATE}=1 writes what the numbers are now");
}

/// A cause is not ruled out by its own counters.
#[test]
fn no_cause_is_impossible_by_its_own_capture() {
    let causes = causes();
    let catalogue = catalogue(&causes);
    for files in &causes {
        let Some(synthetic) = Synthetic::new(files, "6.12.57") else { continue };
        let Some(text) = synthetic.capture("6.12.57", true, true) else { continue };
        let found = diagnosis(&catalogue, &text, None);
        let why = found.impossible.iter().find(|(name, _)| *name == files.name);
        assert!(why.is_none(), "{why:?}\n{text}");
    }
}

/// The gallery's first report in prose: the answer of the run is the first of the ranks.
#[test]
fn the_report_in_prose_has_the_answer_of_its_run() {
    let causes = causes();
    let text = read(root().join("tests/import/vlan-drops-post.txt"));
    let found = diagnosis(&catalogue(&causes), &text, None);
    assert_eq!(found.ranks[0].cause, "filter-on-bond-by-tag", "{}", found.text());
    assert!(found.deciding.iter().any(|one| one.shown.contains("tx_dropped")), "{}", found.text());
    assert!(
        found.commands.iter().any(|next| next.command.starts_with("mausezahn bond0")),
        "{}",
        found.text()
    );
}

/// Links and no loss: that is said, with what is missing.
#[test]
fn a_text_without_a_loss_is_not_enough() {
    let text = "2: eth0: <BROADCAST,UP,LOWER_UP> mtu 1500 qdisc fq_codel master bond0 state UP\n    link/ether b4:96:91:00:00:01 brd ff:ff:ff:ff:ff:ff\n\
                3: bond0: <BROADCAST,MASTER,UP,LOWER_UP> mtu 1500 qdisc noqueue state UP\n    link/ether b4:96:91:00:00:01 brd ff:ff:ff:ff:ff:ff\n";
    let causes = causes();
    let found = diagnosis(&catalogue(&causes), text, None);
    assert!(!found.is_enough);
    for missing in ["nothing in the text shows that frames are lost", "tc -s qdisc", "uname -a"] {
        assert!(found.missing.iter().any(|line| line.contains(missing)), "{:?}", found.missing);
    }
    assert!(found.text().contains("The evidence is not enough"), "{}", found.text());
}

/// Shares are of an answer: without one, causes are listed as far as the text leaves them, and no percentage says more.
#[test]
fn without_enough_evidence_no_cause_has_a_share() {
    let text = "2: eth0: <BROADCAST,UP,LOWER_UP> mtu 1500 qdisc fq_codel master bond0 state UP\n    link/ether b4:96:91:00:00:01 brd ff:ff:ff:ff:ff:ff\n\
                3: bond0: <BROADCAST,MASTER,UP,LOWER_UP> mtu 1500 qdisc noqueue state UP\n    link/ether b4:96:91:00:00:01 brd ff:ff:ff:ff:ff:ff\n";
    let causes = causes();
    let catalogue = catalogue(&causes);
    let found = diagnosis(&catalogue, text, None);
    assert!(!found.text().contains('%'), "{}", found.text());
    assert!(found.text().contains("As likely as each other"), "{}", found.text());
    let json = serde_json::to_value(&found).expect("it is JSON");
    assert!(json["ranks"].as_array().is_some_and(|ranks| !ranks.is_empty()), "{json}");
    for place in json["ranks"].as_array().into_iter().flatten() {
        assert!(place["share"].is_null() && place.get("weight").is_none(), "{place}");
    }
    let answered = diagnosis(&catalogue, &read(root().join("tests/import/vlan-drops-post.txt")), None);
    assert!(
        answered.is_enough && answered.text().contains(" %  filter-on-bond-by-tag"),
        "{}",
        answered.text()
    );
}

/// What the text shows is in the commands: the VLAN's number, an address of the other end.
#[test]
fn commands_have_the_number_and_the_neighbour_of_the_text() {
    let text = "\
2: eth0: <BROADCAST,MULTICAST,SLAVE,UP,LOWER_UP> mtu 1500 qdisc fq_codel master bond0 state UP mode DEFAULT group default qlen 1000
    link/ether b4:96:91:00:00:01 brd ff:ff:ff:ff:ff:ff
3: bond0: <BROADCAST,MULTICAST,MASTER,UP,LOWER_UP> mtu 1500 qdisc noqueue state UP mode DEFAULT group default qlen 1000
    link/ether b4:96:91:00:00:01 brd ff:ff:ff:ff:ff:ff
    inet 192.168.1.40/24 scope global bond0
4: bond0.312@bond0: <BROADCAST,MULTICAST,UP,LOWER_UP> mtu 1500 qdisc noqueue state UP mode DEFAULT group default qlen 1000
    link/ether b4:96:91:00:00:01 brd ff:ff:ff:ff:ff:ff
    inet 192.168.31.40/24 scope global bond0.312
    RX: bytes  packets  errors  dropped overrun mcast
    100        1        0       0       0       0
    TX: bytes  packets  errors  dropped carrier collsns
    100        1        0       9000    0       0

default via 192.168.1.254 dev bond0
192.168.31.9 dev bond0.312 lladdr b4:96:91:00:00:09 REACHABLE
";
    let causes = causes();
    let found = diagnosis(&catalogue(&causes), text, None);
    let said = found.text();
    for blank in ["-Q ID", "id ID", "NEIGHBOUR"] {
        assert!(!said.contains(blank), "{blank} in\n{said}");
    }
}
