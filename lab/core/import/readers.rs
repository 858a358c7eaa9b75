//! All readers of formats, in the order they are asked: each looks at all of a text, and takes what it knows.

use crate::import::model::Model;
use crate::import::text::{self, Line};
use crate::import::value::Value;
use crate::import::{
    Known, bridge, cloud_init, commands, dmesg, documents, ethtool, ifcfg, ifupdown, ip_brief, ip_json,
    ip_rule, ip_text, kernel, keyfile, nad, netplan, networkd, nft, nmstate, proc_bonding, proc_dev,
    proc_vlan, prose, routes, talos, tc, tc_json, tree,
};

/// Reads lines.
type OfLines = fn(&[Line<'_>], &mut Model);

/// Readers of lines, by name.
const LINES: [(&str, OfLines); 16] = [
    ("ip_text", ip_text::read),
    ("ip_brief", ip_brief::read),
    ("proc_bonding", proc_bonding::read),
    ("proc_vlan", proc_vlan::read),
    ("proc_dev", proc_dev::read),
    ("routes", routes::read),
    ("ip_rule", ip_rule::read),
    ("tc", tc::read),
    ("ethtool", ethtool::read),
    ("bridge", bridge::read),
    ("dmesg", dmesg::read),
    ("commands", commands::read),
    ("networkd", networkd::read),
    ("keyfile", keyfile::read),
    ("ifcfg", ifcfg::read),
    ("ifupdown", ifupdown::read),
];

/// A part of a document, if it has it.
type Part = fn(&Value) -> Option<&Value>;

/// Reads a document of YAML or JSON.
struct OfDocuments {
    name: &'static str,
    is_known: fn(&Value) -> bool,
    read: fn(&Value, usize, &mut Model),
    lists: Lists,
}

/// What is listed of a document, where no reader has asked for it.
enum Lists {
    /// Nothing: each key is looked at, or what is left is said by the reader itself.
    Nothing,
    /// Each key of a configuration, by the format's name: of the part that is about links.
    Keys(&'static str, Part),
    /// What a command of this name shows that somebody has set: not what is off or empty, nor these keys, with blanks between them.
    Shown(&'static str, &'static str),
}

/// Keys of all kinds of documents that are not about links.
const OF_DOCUMENTS: [&str; 6] = ["apiVersion", "kind", "metadata", "version", "renderer", "status"];
/// Keys that say what another one says, too: of nmstate, and of Talos' platforms.
const OF_NO_USE: [&str; 8] =
    ["enabled", "family", "scope", "flags", "layer", "logical", "type", "slaveIndex"];

/// Readers of documents; the first that knows one reads it.
const DOCUMENTS: [OfDocuments; 9] = [
    OfDocuments {
        name: "ip_json",
        is_known: ip_json::is_known,
        read: ip_json::read,
        lists: Lists::Shown("ip -j", ip_json::OF_KERNEL),
    },
    OfDocuments { name: "tc_json", is_known: tc_json::is_known, read: tc_json::read, lists: Lists::Nothing },
    OfDocuments {
        name: "bridge_json",
        is_known: bridge::is_known,
        read: bridge::read_json,
        lists: Lists::Nothing,
    },
    OfDocuments {
        name: "ip_rule_json",
        is_known: ip_rule::is_known,
        read: ip_rule::read_json,
        lists: Lists::Nothing,
    },
    OfDocuments { name: "nad", is_known: nad::is_known, read: nad::read, lists: Lists::Nothing },
    OfDocuments {
        name: "nmstate",
        is_known: nmstate::is_known,
        read: nmstate::read,
        lists: Lists::Keys("nmstate", all),
    },
    OfDocuments {
        name: "netplan",
        is_known: netplan::is_known,
        read: netplan::read,
        lists: Lists::Keys("netplan", network),
    },
    OfDocuments {
        name: "cloud_init",
        is_known: cloud_init::is_known,
        read: cloud_init::read,
        lists: Lists::Keys("cloud-init", network),
    },
    OfDocuments {
        name: "talos",
        is_known: talos::is_known,
        read: talos::read,
        lists: Lists::Keys("Talos", talos::configuration),
    },
];

/// The reader of rulesets. What is in them is no other reader's.
const RULESETS: &str = "nft";
/// The reader of sentences.
const PROSE: &str = "prose";
/// The reader of kernel releases.
const KERNEL: &str = "kernel";

/// Names of all readers, for tests that give each of them a text alone.
pub fn names() -> Vec<&'static str> {
    let lines = LINES.iter().map(|(name, _)| *name);
    lines.chain(DOCUMENTS.iter().map(|reader| reader.name)).chain([RULESETS, PROSE, KERNEL]).collect()
}

/// Gives a text to one reader alone: how much it found (links, notes, observations, releases). `None` where there is no
/// such reader, or the text is too large.
pub fn alone(name: &str, text: &str) -> Option<usize> {
    let text = text::prepared(text).ok()?;
    let (lines, rulesets) = nft::apart(text::lines(&text));
    let mut model = Model::default();
    if let Some((_, read)) = LINES.iter().find(|(known, _)| *known == name) {
        read(&lines, &mut model);
    } else if let Some(reader) = DOCUMENTS.iter().find(|reader| reader.name == name) {
        configurations(&text, &lines, std::slice::from_ref(reader), &mut model);
    } else if name == RULESETS {
        nft::read(&rulesets, &mut model);
    } else if name == PROSE {
        prose::read(&lines, &mut model);
    } else if name == KERNEL {
        model.releases = kernel::mentioned(&lines);
        model.releases.extend(kernel::of_distribution(&lines).map(|(said, _)| said));
    } else {
        return None;
    }
    Some(model.links.len() + model.notes.len() + model.seen.len() + model.releases.len() + model.found.len())
}

/// Reads one text into the model; the kernel that it names. `name` is the source's: a file of a sosreport is called as the
/// command that printed it.
pub(crate) fn read(name: &str, text: &str, known: &Known<'_>, model: &mut Model) -> Option<kernel::Choice> {
    let heading = tree::heading(name);
    let mut lines: Vec<Line<'_>> = heading
        .iter()
        .map(|text| Line { number: 0, text: text.as_str(), is_code: true, begins: true })
        .collect();
    lines.extend(text::lines(text));
    let (lines, rulesets) = nft::apart(lines);
    for (_, read) in LINES {
        read(&lines, model);
    }
    nft::read(&rulesets, model);
    // A configuration by itself has words, but no sentences, and so has a file of a sosreport.
    let has_documents = configurations(text, &lines, &DOCUMENTS, model);
    if heading.is_none() && (!has_documents || lines.iter().any(|line| !line.is_code)) {
        prose::read(&lines, model);
    }
    let mut releases = kernel::mentioned(&lines);
    releases.append(&mut model.releases);
    let chosen = releases.iter().find_map(|release| kernel::choose(release, known.kernels));
    chosen.or_else(|| {
        let (said, series) = kernel::of_distribution(&lines)?;
        kernel::choose_series(&said, series, known.kernels)
    })
}

/// Reads the documents of YAML and JSON; whether there are any.
fn configurations(text: &str, lines: &[Line<'_>], readers: &[OfDocuments], model: &mut Model) -> bool {
    let whole = text::whole(text);
    let is_known = |value: &Value| readers.iter().any(|reader| (reader.is_known)(value));
    let found = documents::documents(&whole, &text::blocks(&whole), lines, is_known);
    if found.is_cut {
        model.note(
            "there are too many documents of YAML and JSON, and parts of them: some were not looked at",
        );
    }
    for document in &found.all {
        if let Some(reader) = readers.iter().find(|reader| (reader.is_known)(&document.value)) {
            let above = lines.iter().rev().find(|line| line.begins && line.number < document.line);
            model.command = above.map(|line| line.text.to_owned());
            (reader.read)(&document.value, document.line, model);
            left(reader, &document.value, model);
        }
    }
    talos::settle(model);
    !found.all.is_empty()
}

fn all(value: &Value) -> Option<&Value> {
    Some(value)
}

/// netplan and cloud-init have it all under one key, or leave that out.
fn network(value: &Value) -> Option<&Value> {
    value.get("network").or(Some(value))
}

/// Says what of a document nobody has asked for.
fn left(reader: &OfDocuments, value: &Value, model: &mut Model) {
    match reader.lists {
        Lists::Nothing => {}
        Lists::Keys(format, part) => {
            for path in part(value).map_or_else(Vec::new, |part| part.unread(&|_, _| true)) {
                let (first, last) = (path.split('.').next(), path.rsplit('.').next());
                let is_one = |of: &[&str], key: Option<&str>| key.is_some_and(|key| of.contains(&key));
                if !is_one(&OF_DOCUMENTS, first) && !is_one(&OF_NO_USE, last) {
                    model.left(format, path);
                }
            }
        }
        Lists::Shown(format, of_kernel) => {
            let of_kernel: Vec<&str> = of_kernel.split_ascii_whitespace().collect();
            let is_of_use = |key: &str, value: &Value| value.says_something() && !of_kernel.contains(&key);
            value.unread(&is_of_use).into_iter().for_each(|path| model.left(format, path));
        }
    }
}
