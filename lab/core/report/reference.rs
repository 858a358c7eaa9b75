//! The reference of topology files, from their types: each table with its keys, what may be written and what it means.

use std::collections::BTreeSet;
use std::fmt::Write as _;

use serde_json::{Map, Value};

use crate::net::bond_option::{BOND_OPTIONS, MODE, PORT_OPTIONS};
use crate::net::link_option::{self, LeftOut};
use crate::net::link_show::{self, Property};
use crate::net::mode::BondMode;
use crate::net::option::OptionRow;
use crate::report::behaviour;

const PREFACE: &str = include_str!("reference/preface.md");

/// Kernels by the attributes that they show in what is read back.
const MEASURED: &str = include_str!("reference/kernels.txt");

/// Renders the reference of a schema.
pub fn render(schema: &Value) -> String {
    let mut page = Page { schema, out: PREFACE.to_owned(), written: BTreeSet::new(), queue: Vec::new() };
    page.queue.push(("the file".into(), schema.clone()));
    while !page.queue.is_empty() {
        let (place, table) = page.queue.remove(0);
        page.table(&place, &table);
    }
    page.out.push_str("\n## Options of bonds and ports by netlink attribute\n\n");
    let all = kernels_of(MODE.attribute);
    let _ = writeln!(
        page.out,
        "The column `kernels`, here and in the next table, was measured on {} kernels, {} to {}: a value that is not the default was read \
         back as it was asked for. `a .. b` are all of these from a to b. A kernel that is not listed took the attribute without a word, or \
         refused it.\n",
        all.len(),
        all.first().unwrap_or(&""),
        all.last().unwrap_or(&"")
    );
    page.out
        .push_str("| key | attribute | values | in modes | default | kernels |\n|---|---|---|---|---|---|\n");
    for row in std::iter::once(&MODE).chain(BOND_OPTIONS).chain(PORT_OPTIONS) {
        option_row(&mut page.out, row);
    }
    page.out.push_str("\n## Options of other links by netlink attribute\n\n");
    page.out.push_str("| of | key | attribute | values | default | kernels |\n|---|---|---|---|---|---|\n");
    for (what, rows) in link_option::tables() {
        for row in rows {
            let OptionRow { key, attribute, default, .. } = row;
            let kernels = kernel_list(&format!("{what}, {key}"));
            let _ = writeln!(
                page.out,
                "| {what} | `{key}` | {attribute} | {} | {default} | {kernels} |",
                row.values()
            );
        }
    }
    left_out(&mut page.out);
    words_of_show(&mut page.out);
    page.out
}

/// What the newest kernel has beside the options: where it is found, or that it is missing.
fn left_out(out: &mut String) {
    out.push_str(
        "\n## Netlink attributes of links that are no options\n\n\
         All others of Linux 7.3 (`include/uapi/linux/if_link.h`, `if_tunnel.h`); a test compares them with its header.\n\n\
         | attribute | where it is |\n|---|---|\n",
    );
    for (attribute, why) in link_option::LEFT_OUT {
        let _ = match why {
            LeftOut::Elsewhere(place) => writeln!(out, "| {attribute} | {place} |"),
            LeftOut::Shown(place) => writeln!(out, "| {attribute} | a state: {place} |"),
            LeftOut::Missing(what) => writeln!(out, "| {attribute} | missing: {what} |"),
        };
    }
}

/// What `show` in a condition may name, beside the options above.
fn words_of_show(out: &mut String) {
    out.push_str(
        "\n## Words of `show` in conditions\n\nBeside the options of links above, by their keys (`numtxqueues` and `num_tx_queues` \
         show the same), but for `threaded` and `speed`. Of a VXLAN that is a port of a bridge, `learning` is the VXLAN's.\n\n",
    );
    out.push_str("| word | of | what it is |\n|---|---|---|\n");
    for (of, properties) in link_show::properties() {
        for Property { key, about } in properties {
            let _ = writeln!(out, "| `{key}` | {of} | {about} |");
        }
    }
}

fn option_row(out: &mut String, row: &OptionRow) {
    let modes: Vec<&str> = row.modes.iter().copied().map(BondMode::word).collect();
    let modes = if modes.is_empty() { "all".into() } else { modes.join(", ") };
    let kernels = kernel_list(row.attribute);
    let OptionRow { key, attribute, default, .. } = row;
    let _ = writeln!(out, "| `{key}` | {attribute} | {} | {modes} | {default} | {kernels} |", row.values());
}

/// The kernels of a line of `kernels.txt`, as the page has them: ranges of those that were asked, each of which has modes of bonds.
fn kernel_list(line: &str) -> String {
    let [all, kernels] = [MODE.attribute, line]
        .map(|line| kernels_of(line).into_iter().map(str::to_owned).collect::<Vec<_>>());
    match kernels.len() {
        0 => "not measured".into(),
        count if count == all.len() => "all".into(),
        _ => behaviour::ranges(&all, &kernels),
    }
}

/// The kernels on which an attribute of bonds (`IFLA_BOND_MODE`) or an option of other links (`bridges, priority`) was read back.
pub fn kernels_of(attribute: &str) -> Vec<&'static str> {
    let line = MEASURED.lines().find_map(|line| line.strip_prefix(attribute)?.strip_prefix(": "));
    line.map(|line| line.split(' ').collect()).unwrap_or_default()
}

struct Page<'s> {
    schema: &'s Value,
    out: String,
    /// Places and named types that have a section.
    written: BTreeSet<String>,
    /// Tables whose sections are still to be written.
    queue: Vec<(String, Value)>,
}

impl Page<'_> {
    /// A section: the table at a place.
    fn table(&mut self, place: &str, table: &Value) {
        let _ = write!(self.out, "\n## `{place}`\n\n");
        if let Some(about) = words(table) {
            let _ = write!(self.out, "{about}\n\n");
        }
        self.out.push_str("| key | value | meaning |\n|---|---|---|\n");
        let empty = Map::new();
        let keys = table.get("properties").and_then(Value::as_object).unwrap_or(&empty);
        let required: Vec<&str> =
            table["required"].as_array().into_iter().flatten().filter_map(Value::as_str).collect();
        for (key, value) in keys {
            let below = if place == "the file" { key.clone() } else { format!("{place}.{key}") };
            let what = self.value(&below, value);
            let must = if required.contains(&key.as_str()) { " (required)" } else { "" };
            let about = words(value).or_else(|| words(self.resolve(value))).unwrap_or_default();
            let _ = writeln!(self.out, "| `{key}` | {what}{must} | {about} |");
        }
    }

    /// What may be written, in words; a table gets a section of its own.
    fn value(&mut self, place: &str, value: &Value) -> String {
        let forms = value["anyOf"].as_array().or_else(|| value["oneOf"].as_array());
        if let Some(forms) = forms {
            let is_null = |form: &&Value| form["type"] == "null";
            let words: Vec<String> =
                forms.iter().filter(|form| !is_null(form)).map(|form| self.value(place, form)).collect();
            let constants = forms.iter().all(|form| form.get("const").is_some());
            return words.join(if constants { ", " } else { " or " });
        }
        if let Some(name) = value["$ref"].as_str() {
            let resolved = self.resolve(value).clone();
            return self.named(place, name.rsplit('/').next().unwrap_or(name), &resolved);
        }
        if let Some(word) = value["const"].as_str() {
            return format!("`{word}`");
        }
        if let Some(all) = value["enum"].as_array() {
            let words: Vec<String> =
                all.iter().filter_map(Value::as_str).map(|word| format!("`{word}`")).collect();
            return words.join(", ");
        }
        self.plain(place, value)
    }

    fn named(&mut self, place: &str, name: &str, value: &Value) -> String {
        if value.get("properties").is_none() {
            return self.value(place, value);
        }
        if !self.written.insert(name.to_owned()) {
            return format!("a table: {name}");
        }
        self.queue.push((place.to_owned(), value.clone()));
        format!("a table: {name}, see `{place}`")
    }

    fn plain(&mut self, place: &str, value: &Value) -> String {
        let types: Vec<&str> = match &value["type"] {
            Value::String(one) => vec![one],
            Value::Array(all) => {
                all.iter().filter_map(Value::as_str).filter(|kind| *kind != "null").collect()
            }
            _ => Vec::new(),
        };
        let words: Vec<String> = types.iter().map(|kind| self.kind(place, kind, value)).collect();
        if words.is_empty() { "any value".into() } else { words.join(" or ") }
    }

    fn kind(&mut self, place: &str, kind: &str, value: &Value) -> String {
        match kind {
            "boolean" => "true or false".into(),
            "integer" => "a whole number".into(),
            "array" => format!("an array: {}", self.value(&format!("{place}[]"), &value["items"])),
            "object" if value.get("properties").is_some() => self.named(place, place, value),
            "object" if value["additionalProperties"].is_object() => {
                let inside = value["additionalProperties"].clone();
                format!("by name: {}", self.value(&format!("{place}.NAME"), &inside))
            }
            "object" => "a table".into(),
            _ => "text".into(),
        }
    }

    fn resolve<'v>(&'v self, value: &'v Value) -> &'v Value {
        let name = value["$ref"].as_str().and_then(|name| name.strip_prefix("#/$defs/"));
        name.map_or(value, |name| &self.schema["$defs"][name])
    }
}

/// A description in one line, which does not end a cell of a table.
fn words(value: &Value) -> Option<String> {
    let text = value["description"].as_str()?;
    let text = text.split_whitespace().collect::<Vec<_>>().join(" ");
    Some(text.replace('|', "\\|").replace('<', "&lt;"))
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn each_key_has_its_kind_and_its_meaning() {
        let schema = json!({
            "type": "object",
            "description": "A file.",
            "properties": {
                "ns": {"description": "Namespaces.", "type": "object", "additionalProperties": {"$ref": "#/$defs/Ns"}},
                "about": {"type": ["string", "null"]},
            },
            "$defs": {
                "Ns": {
                    "type": "object", "description": "One | two.", "required": ["mode"],
                    "properties": {
                        "mode": {"$ref": "#/$defs/Mode"},
                        "all": {"type": "array", "items": {"$ref": "#/$defs/Ns"}},
                    },
                },
                "Mode": {"oneOf": [{"const": "l2", "type": "string"}, {"const": "l3", "type": "string"}]},
            },
        });
        let page = render(&schema);
        for line in [
            "| `ns` | by name: a table: Ns, see `ns.NAME` | Namespaces. |",
            "| `about` | text |  |",
            "## `ns.NAME`",
            "One \\| two.",
            "| `mode` | `l2`, `l3` (required) |  |",
            "| `all` | an array: a table: Ns |  |",
        ] {
            assert!(page.contains(line), "{line} is not in\n{page}");
        }
    }

    #[test]
    fn kernels_were_measured_for_each_option() {
        for row in BOND_OPTIONS.iter().chain(PORT_OPTIONS).chain([&MODE]) {
            assert!(!kernels_of(row.attribute).is_empty(), "{}", row.attribute);
        }
        for (what, rows) in link_option::tables() {
            for row in rows {
                assert!(!kernels_of(&format!("{what}, {}", row.key)).is_empty(), "{what}, {}", row.key);
            }
        }
    }
}
