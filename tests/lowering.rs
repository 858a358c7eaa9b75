//! From topology to plan: what the agent will do for a file, and what holds for every file.

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};

use bondlab_core::net::bond_option::{BOND_OPTIONS, BOND_STATES, MODE, PORT_OPTIONS, PORT_STATES};
use bondlab_core::net::link::LinkKind;
use bondlab_core::net::link_option::{self, LEFT_OUT};
use bondlab_core::net::name::DeviceRef;
use bondlab_core::plan::lower::lower;
use bondlab_core::plan::op::Op;
use bondlab_core::plan::{Plan, Role, Trial};
use bondlab_core::topology::Topology;
use rstest::rstest;
use serde_json::Value;

fn parse(name: &str, text: &str) -> Topology {
    Topology::parse(name, &format!("{name}.toml"), text).unwrap_or_else(|errors| panic!("{errors}"))
}

fn read(path: &Path) -> (String, String) {
    let name = path.file_stem().and_then(|name| name.to_str()).expect("names of test files are UTF-8");
    let text = fs::read_to_string(path).unwrap_or_else(|error| panic!("{}: {error}", path.display()));
    (name.to_owned(), text)
}

fn file(name: &str) -> String {
    read(&Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/plans").join(name)).1
}

#[rstest]
fn a_plan_is_these_operations(#[files("tests/plans/*.toml")] path: PathBuf) {
    let (name, text) = read(&path);
    let mut settings = insta::Settings::clone_current();
    settings.set_snapshot_path("plans");
    settings.set_prepend_module_to_snapshot(false);
    settings.set_omit_expression(true);
    // Explicit names: cases of one test would overwrite each other's.
    settings.bind(|| insta::assert_snapshot!(name.clone(), lower(&parse(&name, &text)).to_string()));
}

#[rstest]
fn lowering_is_repeatable_and_plans_travel(#[files("tests/plans/*.toml")] path: PathBuf) {
    let (name, text) = read(&path);
    let plan = lower(&parse(&name, &text));
    assert_eq!(plan, lower(&parse(&name, &text)));
    let json = serde_json::to_string(&plan).expect("a plan is plain data");
    assert_eq!(serde_json::from_str::<Plan>(&json).expect("what was written can be read"), plan);
    assert!(!json.contains('\n'), "a request is one line");
}

/// The tables of a file, each with its header and what belongs to it.
fn tables(text: &str) -> (String, Vec<String>) {
    let mut head = String::new();
    let mut tables: Vec<String> = Vec::new();
    for line in text.lines() {
        if line.starts_with('[') {
            tables.push(String::new());
        }
        let part = tables.last_mut().unwrap_or(&mut head);
        part.push_str(line);
        part.push('\n');
    }
    (head, tables)
}

/// What the order of operations has to respect, whatever the order of the file.
fn those_below_first(trial: &Trial) {
    let mut bonds: BTreeSet<&DeviceRef> = BTreeSet::new();
    let mut made: BTreeSet<&DeviceRef> = BTreeSet::new();
    let mut joined: BTreeSet<&DeviceRef> = BTreeSet::new();
    let mut up: BTreeSet<&DeviceRef> = BTreeSet::new();
    for op in &trial.ops {
        match op {
            Op::Create { link, peer } => {
                assert!(made.insert(&link.device), "{} is made twice", link.device);
                if matches!(link.kind, LinkKind::Bond(_)) {
                    bonds.insert(&link.device);
                }
                if let Some(peer) = peer {
                    assert!(made.insert(&peer.device), "{} is made twice", peer.device);
                }
                for below in link.below() {
                    assert!(made.contains(&below), "{} is made before {below} below it", link.device);
                    assert!(!joined.contains(&link.device), "{} joined before it was made", link.device);
                }
            }
            Op::Adopt { link, .. } => {
                assert!(made.insert(&link.device), "{} is adopted twice", link.device);
            }
            Op::SetVf { pf, .. } => assert!(made.contains(pf), "{op} comes too early"),
            Op::AdoptVf { link, of, .. } => {
                assert!(made.contains(of), "{op} comes too early");
                assert!(made.insert(&link.device), "{} is adopted twice", link.device);
            }
            Op::Join { port, controller } => {
                assert!(made.contains(port) && made.contains(controller), "{op} comes too early");
                let refused = bonds.contains(controller) && up.contains(port);
                assert!(!refused, "{op}: bond_enslave() refuses a device that is up");
                assert!(joined.insert(port), "{port} joins twice");
            }
            Op::Delete(device) => {
                assert!(made.remove(device), "{op} comes too early");
                up.remove(device);
            }
            Op::Up(device) => {
                assert!(made.contains(device), "{op} comes too early");
                up.insert(device);
            }
            Op::Verify { links } => {
                for link in links {
                    assert!(made.contains(&link.device), "{} is verified but not made", link.device);
                    assert_eq!(link.up, up.contains(&link.device), "{}", link.device);
                    for below in link.below().into_iter().filter(|_| link.up) {
                        let mut order = trial.ops.iter().filter_map(|op| match op {
                            Op::Up(device) if *device == below || *device == link.device => Some(device),
                            _ => None,
                        });
                        assert_eq!(
                            order.next_back(),
                            Some(&link.device),
                            "{below} must be up before what is on it"
                        );
                    }
                }
                assert_eq!(links.len(), made.len(), "everything that is made is verified");
            }
            _ => {}
        }
    }
}

/// Everything made, joined and set up, without its order.
fn unordered(plan: &Plan) -> BTreeSet<String> {
    let builds = |op: &&Op| matches!(op, Op::Join { .. } | Op::Up(_) | Op::Qdisc { .. } | Op::Addresses(_));
    plan.trials.iter().flat_map(|trial| trial.ops.iter().filter(builds)).map(ToString::to_string).collect()
}

#[rstest]
fn the_order_of_tables_does_not_matter(#[files("tests/plans/*.toml")] path: PathBuf) {
    let (name, text) = read(&path);
    let (head, mut tables) = tables(&text);
    let expected = unordered(&lower(&parse(&name, &text)));
    let mut state = 5u32;
    for _ in 0..60 {
        for last in (1..tables.len()).rev() {
            state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
            tables.swap(last, (state >> 16) as usize % (last + 1));
        }
        let plan = lower(&parse(&name, &(head.clone() + &tables.concat())));
        plan.trials.iter().for_each(those_below_first);
        assert_eq!(unordered(&plan), expected);
    }
}

#[test]
fn a_tall_stack_is_built_from_below() {
    let text = "
[ns.a.vlan.v3]\nparent = 'br'\nid = 3
[ns.a.bridge.br]\nports = ['v2', 'd']
[ns.a.vlan.v2]\nparent = 'v1'\nid = 2
[ns.a.vlan.v1]\nparent = 'bond'\nid = 1
[ns.a.bond.bond]\nmode = '802.3ad'\nports = ['p']
[ns.a.veth.p]\npeer = 'b:p'
[ns.a.dummy.d]
";
    let plan = lower(&parse("tall", text));
    plan.trials.iter().for_each(those_below_first);
    let created: Vec<String> = plan.trials[0]
        .ops
        .iter()
        .filter_map(|op| match op {
            Op::Create { link, .. } => Some(link.device.name.to_string()),
            _ => None,
        })
        .collect();
    assert_eq!(created, ["p", "d", "bond", "v1", "v2", "br", "v3"]);
}

#[test]
fn trials_follow_from_what_the_file_has() {
    let roles = |text: &str| -> Vec<Role> {
        lower(&parse("x", text)).trials.into_iter().map(|trial| trial.role).collect()
    };
    let cable = "[ns.a.veth.x]\npeer = 'b:x'\n[ns.b.veth.x]\npeer = 'a:x'\naddresses = ['10.0.0.1/24']\n";
    let flow = "[flow.f]\nfrom = 'a:x'\nto = 'b:x'\nframes = 1\n";
    let report = "[fault.down.d]\ndevice = 'a:x'\n[report]\nfloods = ['f']\nevidence = [{ flow = 'f', field = 'lost', equals = 1 }]
[hypothesis.h]\nabout = 'out'\ninject = ['d']\n";
    let step = "[[step]]\nflood = 'f'\n";
    let hypothesis = || Role::Hypothesis("h".into());
    assert_eq!(roles(cable), [Role::Main]);
    assert_eq!(roles(&format!("{cable}{flow}{step}")), [Role::Main]);
    assert_eq!(roles(&format!("{cable}{flow}{report}")), [Role::Control, hypothesis()]);
    assert_eq!(roles(&format!("{cable}{flow}{step}{report}")), [Role::Main, Role::Control, hypothesis()]);
}

/// Every cable's end and every dummy has an address of its own, however large the file.
#[test]
fn ethernet_addresses_are_all_different() {
    let mut text = String::new();
    for number in 0..300 {
        text += &format!("[ns.n{}.veth.v{number}]\npeer = \"far{}:v{number}\"\n", number % 3, number % 5);
    }
    for number in 0..300 {
        text += &format!("[ns.n0.dummy.d{number}]\n");
    }
    let topology = parse("many", &text);
    let macs: BTreeSet<_> = topology.links.values().filter_map(|link| link.mac).collect();
    assert_eq!((topology.links.len(), macs.len()), (900, 900));
    assert!(macs.iter().all(|mac| mac.0[0] & 3 == 2), "locally administered, for one station");
}

/// All forms a value may take (itself, or each of `anyOf`), with `$ref` followed; panics when one leads nowhere.
///
/// Each comes with its path from the nearest definition: a table that stands in several places is one table.
fn forms<'a>(root: &'a Value, schema: &'a Value, path: &str) -> Vec<(String, &'a Value)> {
    if let Some(reference) = schema.get("$ref").and_then(Value::as_str) {
        let name = reference.trim_start_matches("#/$defs/");
        let target = root["$defs"].get(name).unwrap_or_else(|| panic!("{reference} leads nowhere"));
        return forms(root, target, name);
    }
    match schema.get("anyOf").and_then(Value::as_array) {
        Some(any) => any.iter().flat_map(|form| forms(root, form, path)).collect(),
        None => vec![(path.to_owned(), schema)],
    }
}

/// Notes the schema's path of each key of a document, and panics at a key the schema does not know.
fn walk(root: &Value, schema: &Value, value: &toml::Value, path: &str, seen: &mut BTreeSet<String>) {
    let forms = forms(root, schema, path);
    match value {
        toml::Value::Table(table) => {
            for (key, value) in table {
                let known = forms.iter().find_map(|(path, form)| {
                    let any = form.get("additionalProperties").filter(|any| any.is_object());
                    let known = form.pointer(&format!("/properties/{key}"));
                    known
                        .map(|next| (format!("{path}.{key}"), next))
                        .or(any.map(|next| (format!("{path}.*"), next)))
                });
                // A variant has keys of its own.
                let is_open = |form: &Value| form.get("additionalProperties") == Some(&Value::Bool(true));
                if known.is_none() && forms.iter().any(|(_, form)| is_open(form)) {
                    continue;
                }
                let (path, next) = known.unwrap_or_else(|| panic!("the schema has no {path}.{key}"));
                seen.insert(path.clone());
                walk(root, next, value, &path, seen);
            }
        }
        toml::Value::Array(items) => {
            let next = forms.iter().find_map(|(_, form)| form.get("items"));
            let next = next.unwrap_or_else(|| panic!("{path} is no array"));
            items.iter().for_each(|item| walk(root, next, item, path, seen));
        }
        plain => {
            let kind = match plain {
                toml::Value::String(_) => "string",
                toml::Value::Integer(_) => "integer",
                _ => "boolean",
            };
            let takes = forms.iter().any(|(_, form)| match form.get("type") {
                Some(Value::String(word)) => word == kind,
                Some(Value::Array(words)) => words.iter().any(|word| word == kind),
                // A set of words: each is a constant of its own.
                _ => ["enum", "const", "oneOf"].iter().any(|key| form.get(key).is_some()),
            });
            assert!(takes, "{path} takes no {kind}");
        }
    }
}

/// The path of each key the schema knows, as [`walk`] writes them.
fn keys(root: &Value, schema: &Value, path: &str, found: &mut BTreeSet<String>) {
    for (path, form) in forms(root, schema, path) {
        for (key, next) in form.get("properties").and_then(Value::as_object).into_iter().flatten() {
            let path = format!("{path}.{key}");
            // A table may be inside one of its own kind: a queueing discipline.
            if found.insert(path.clone()) {
                keys(root, next, &path, found);
            }
        }
        if let Some(any) = form.get("additionalProperties").filter(|any| any.is_object()) {
            found.insert(format!("{path}.*"));
            keys(root, any, &format!("{path}.*"), found);
        }
        if let Some(items) = form.get("items") {
            keys(root, items, &path, found);
        }
    }
}

#[test]
fn the_schema_has_the_keys_of_the_reader() {
    let schema = serde_json::to_value(Topology::schema()).expect("a schema is JSON");
    let mut written = BTreeSet::new();
    for name in [
        "every-key.toml",
        "netdevsim.toml",
        "refusal.toml",
        "selectors.toml",
        "vlan-over-bond.toml",
        "../pods/every-key.toml",
        "../pods/requests.toml",
        "../data/every-link-option.toml",
        "../data/parameters.toml",
        "../data/include.toml",
        "requests.toml",
        "../../topologies/bond-as-the-kernel-shows-it.toml",
        "../../topologies/bond-changed-in-use.toml",
        "../../topologies/failover-into-port-without-vlan.toml",
        "../../topologies/lacp-partner-scripted.toml",
        "../../topologies/devices/bridge-shown.toml",
        "../../topologies/devices/multicast-groups.toml",
        "../../topologies/devices/priorities-on-the-wire.toml",
    ] {
        let document: toml::Value = toml::from_str(&file(name)).expect("it is TOML");
        walk(&schema, &schema, &document, "", &mut written);
    }
    let mut known = BTreeSet::new();
    keys(&schema, &schema, "", &mut known);
    let missing: Vec<&String> = known.difference(&written).collect();
    assert!(missing.is_empty(), "every-key.toml lacks {missing:?}");
}

#[test]
fn the_schema_is_a_schema() {
    let schema = serde_json::to_value(Topology::schema()).expect("a schema is JSON");
    assert_eq!(schema["$schema"], "https://json-schema.org/draft/2020-12/schema");
    check_schema(&schema, &schema, "");
}

fn check_schema(root: &Value, schema: &Value, path: &str) {
    let Some(object) = schema.as_object() else {
        assert!(schema.is_boolean(), "{path}: a schema is an object or a boolean");
        return;
    };
    forms(root, schema, path);
    let properties = object.get("properties").and_then(Value::as_object);
    for required in object.get("required").and_then(Value::as_array).into_iter().flatten() {
        let name = required.as_str().unwrap_or_else(|| panic!("{path}: required has names"));
        assert!(
            properties.is_some_and(|known| known.contains_key(name)),
            "{path} requires an unknown {name}"
        );
    }
    // A variant's table has keys of its own beside `name`.
    if properties.is_some() && path != "/$defs/ParameterTable" {
        assert_eq!(
            object.get("additionalProperties"),
            Some(&Value::Bool(false)),
            "{path}: unknown keys are refused"
        );
    }
    for (key, value) in object {
        let path = format!("{path}/{key}");
        match (key.as_str(), value) {
            ("properties" | "$defs", Value::Object(schemas)) => {
                schemas
                    .iter()
                    .for_each(|(name, schema)| check_schema(root, schema, &format!("{path}/{name}")));
            }
            ("anyOf" | "oneOf", Value::Array(schemas)) => {
                schemas.iter().for_each(|schema| check_schema(root, schema, &path));
            }
            ("items" | "additionalProperties", schema) => check_schema(root, schema, &path),
            ("type", Value::String(word)) => assert!(is_type(word), "{path}: {word}"),
            ("type", Value::Array(words)) => {
                assert!(words.iter().all(|word| word.as_str().is_some_and(is_type)), "{path}");
            }
            ("description" | "title" | "$ref" | "$schema" | "format" | "const" | "default", _) => {}
            ("required" | "enum", Value::Array(_)) => {}
            ("minimum" | "maximum", Value::Number(_)) => {}
            _ => panic!("{path}: is this a word of JSON Schema?"),
        }
    }
}

fn is_type(word: &str) -> bool {
    ["string", "integer", "boolean", "object", "array", "null"].contains(&word)
}

/// Guests get virtual time for it.
#[rstest]
#[case::floods_only("topologies/causes/filter-on-bond.toml", false)]
#[case::paced("topologies/failover/failover-ab-miimon.toml", true)]
#[case::waits("topologies/causes/lacp-partner-out-of-sync.toml", true)]
#[case::watches_by_arp("topologies/causes/arp-target-silent.toml", true)]
#[case::has_lacp("topologies/lacp-partner-scripted.toml", true)]
#[case::has_tcp("topologies/tcp-way-cut.toml", true)]
#[case::waits_for_a_state("topologies/causes/port-carrier-lost.toml", false)]
fn what_goes_by_time_is_timed(#[case] path: &str, #[case] expected: bool) {
    let (name, text) = read(&Path::new(env!("CARGO_MANIFEST_DIR")).join(path));
    assert_eq!(lower(&parse(&name, &text)).is_timed(), expected);
}

/// What a run says of its rounds is read off by their length.
#[test]
fn a_repeated_plan_has_its_trials_in_rounds() {
    let (name, text) =
        read(&Path::new(env!("CARGO_MANIFEST_DIR")).join("topologies/vlan-over-bond-tx-drop.toml"));
    let once = lower(&parse(&name, &text));
    let plan = once.clone().repeated(3);
    assert_eq!(plan.round_len(), once.trials.len());
    assert!(plan.trials.chunks(plan.round_len()).all(|round| round == once.trials));
    assert_eq!(once.clone().repeated(1), once);
}

/// The newest kernel's attributes, each with its number: those of bonds or those of ports.
fn attributes_of_the_header(prefix: &str) -> Vec<(u16, String)> {
    let pins: toml::Value = toml::from_str(include_str!("../kernels.toml")).expect("it is TOML");
    let quick = pins["sets"]["quick"].as_array().expect("a set is a list");
    let newest = quick.last().and_then(toml::Value::as_str).expect("a set names kernels");
    let name = format!("tests/data/bond-attributes-{newest}.txt");
    let text = fs::read_to_string(Path::new(env!("CARGO_MANIFEST_DIR")).join(&name))
        .unwrap_or_else(|error| panic!("{name}: {error}; an older one says how it is made"));
    let is_port = |name: &str| name.starts_with("IFLA_BOND_SLAVE_");
    let names = text.lines().filter(|line| line.starts_with("IFLA_BOND_"));
    let names = names.filter(|name| is_port(name) == is_port(prefix));
    (1..).zip(names.map(str::to_owned)).collect()
}

#[test]
fn every_option_of_the_newest_kernel_has_a_row() {
    let bond = std::iter::once(&MODE).chain(BOND_OPTIONS).collect::<Vec<_>>();
    let port = PORT_OPTIONS.iter().collect::<Vec<_>>();
    for (prefix, rows, states) in [("IFLA_BOND_", bond, BOND_STATES), ("IFLA_BOND_SLAVE_", port, PORT_STATES)]
    {
        let known = attributes_of_the_header(prefix);
        assert_eq!(known.len(), states.len() + rows.len(), "of {prefix}*");
        for (number, name) in &known {
            let row = rows.iter().find(|row| row.attribute == name);
            assert!(
                row.is_some() || states.contains(&name.as_str()),
                "the newest kernel has {name}, which is neither an option of the lab nor a state"
            );
            assert!(row.is_none_or(|row| row.number == *number), "{name} is {number} in the header");
        }
    }
}

/// Attributes of the newest kernel's links by kind, each with its number.
fn link_attributes_of_the_header() -> Vec<(String, Vec<(u16, String)>)> {
    let text = include_str!("data/link-attributes-7.3.4.txt");
    let mut all: Vec<(String, Vec<(u16, String)>)> = Vec::new();
    for line in text.lines().filter(|line| !line.starts_with('#')) {
        if let Some(kind) = line.strip_prefix('[').and_then(|rest| rest.strip_suffix(']')) {
            all.push((kind.to_owned(), Vec::new()));
        } else if let Some((_, names)) = all.last_mut() {
            let number = u16::try_from(names.len() + 1).expect("there are fewer");
            names.push((number, line.to_owned()));
        }
    }
    all
}

#[test]
fn every_attribute_of_the_newest_kernels_links_is_an_option_or_left_out_for_a_reason() {
    let header = link_attributes_of_the_header();
    let mut left_out: Vec<&str> = LEFT_OUT.iter().map(|(name, _)| *name).collect();
    for (kind, names) in &header {
        let rows = link_option::tables()
            .into_iter()
            .find(|(what, _)| what == kind)
            .map_or(&[][..], |(_, rows)| rows);
        for (number, name) in names {
            let row = rows.iter().find(|row| row.attribute == name);
            let known = left_out.iter().position(|left_out| left_out == name);
            assert!(row.is_some() != known.is_some(), "{name} of {kind}: option {row:?}, left out {known:?}");
            assert!(row.is_none_or(|row| row.number == *number), "{name} is {number} in the header");
            if let Some(known) = known {
                left_out.remove(known);
            }
        }
    }
    assert!(left_out.is_empty(), "the header does not have {left_out:?}");
    for (kind, rows) in link_option::tables() {
        let (_, names) = header.iter().find(|(what, _)| what == kind).expect("each kind is in the header");
        let of_netlink = rows.iter().filter(|row| row.attribute.starts_with("IFLA_"));
        for row in of_netlink {
            assert!(names.iter().any(|(_, name)| name == row.attribute), "{} of {kind}", row.attribute);
        }
    }
}
