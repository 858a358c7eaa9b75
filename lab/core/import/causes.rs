//! The catalogue's causes as hypotheses: each is one fault on a stack of the same shape, moved to the devices of the report.

use std::collections::BTreeMap;

use toml::{Table, Value};

use crate::import::draft::{Draft, Section, texts};
use crate::import::evidence::{Focus, Symptom};
use crate::import::far_end::{FarEnd, is_dead, nics};
use crate::import::model::Model;
use crate::net::name::IfName;

/// A file of the catalogue: its name without ending, and its text.
pub type Cause<'t> = (&'t str, &'t str);

/// As many as a topology takes.
const HYPOTHESES_MAX: usize = 60;

/// Writes hypotheses and their faults; causes that are no fault on this stack are a note.
pub fn write(model: &mut Model, far: &FarEnd, focus: &Focus, catalogue: &[Cause<'_>], draft: &mut Draft) {
    let mut known: Vec<Value> = Vec::new();
    let mut apart: BTreeMap<&'static str, Vec<String>> = BTreeMap::new();
    let mut written = 0;
    for (name, text) in catalogue {
        let Ok(table) = text.parse::<Table>() else { continue };
        let stack = Stack { model, far, focus };
        match stack.hypothesis(name, &table) {
            Ok(one) if known.contains(&one.key) => {}
            Ok(one) if written < HYPOTHESES_MAX => {
                known.push(one.key);
                draft.sections.extend(one.sections);
                written += 1;
            }
            Ok(_) => {
                apart.entry("there are as many already as a topology takes").or_default().push((*name).into())
            }
            Err(why) => apart.entry(why).or_default().push((*name).into()),
        }
    }
    for (why, names) in apart {
        for some in names.chunks(6) {
            model
                .note(format!("causes of the catalogue that are no hypothesis ({why}): {}", some.join(", ")));
        }
    }
}

/// A cause on the report's devices.
struct Hypothesis {
    /// What tells it from others: its faults and its wait.
    key: Value,
    sections: Vec<Section>,
}

struct Stack<'m> {
    model: &'m Model,
    far: &'m FarEnd,
    focus: &'m Focus,
}

/// Keys of a table's table.
fn keys<'t>(table: &'t Table, path: &[&str]) -> Vec<&'t str> {
    let mut at = table;
    for part in path {
        match at.get(*part).and_then(Value::as_table) {
            Some(next) => at = next,
            None => return Vec::new(),
        }
    }
    at.keys().map(String::as_str).collect()
}

fn text<'t>(table: &'t Table, path: &[&str]) -> Option<&'t str> {
    let (last, tables) = path.split_last()?;
    let mut at = table;
    for part in tables {
        at = at.get(*part)?.as_table()?;
    }
    at.get(*last)?.as_str()
}

impl Stack<'_> {
    fn hypothesis(&self, name: &str, cause: &Table) -> Result<Hypothesis, &'static str> {
        self.fits(cause)?;
        let steps: Vec<&Table> = cause
            .get("step")
            .and_then(Value::as_array)
            .into_iter()
            .flatten()
            .filter_map(Value::as_table)
            .collect();
        let sent = steps.iter().position(|step| step.contains_key("flood")).unwrap_or(0);
        let flow = steps.get(sent).and_then(|step| step.get("flood")?.as_str()).unwrap_or_default();
        let injected: Vec<&str> =
            steps[..sent].iter().filter_map(|step| step.get("inject")?.as_str()).collect();
        let is_alone = self.focus.symptom == Symptom::NoPartner;
        let takes_partner = injected.iter().any(|fault| takes_partner(cause, fault));
        if is_alone && !injected.is_empty() && !takes_partner {
            return Err("they leave LACP as it is");
        }
        if !is_alone && text(cause, &["flow", flow, "from"]).is_some_and(|from| !from.starts_with("node:")) {
            return Err("they are about frames that the machine receives");
        }
        if text(cause, &["flow", flow, "socket"]).is_some_and(|socket| socket != "packet") {
            return Err("they are about what other sockets see");
        }
        if injected.is_empty() {
            return Err("they are other topologies, not a fault on this one");
        }
        let wait = steps[..sent].iter().filter_map(|step| step.get("wait")).next_back();
        let wait = wait.map(|wait| self.moved(wait, None)).transpose()?;
        let (mut sections, mut names, mut key) = (Vec::new(), Vec::new(), Vec::new());
        for fault in injected {
            let (kind, table) =
                fault_of(cause, fault).ok_or("they are other topologies, not a fault on this one")?;
            if kind == "mtu" {
                return Err("they need frames of another size");
            }
            for port in self.places(table) {
                let moved = self.moved(&Value::Table(table.clone()), port.as_ref())?;
                let suffix = port.as_ref().map_or(String::new(), |port| format!("-{port}").replace('.', "-"));
                let own = format!("{name}{suffix}");
                let mut section = Section::table(&["fault", kind, &own]);
                key.push(Value::from(kind));
                key.push(moved.clone());
                for (entry, value) in moved.as_table().into_iter().flatten() {
                    section.entries.push((
                        static_key(entry).ok_or("they have a setting that is not known here")?,
                        value.clone(),
                    ));
                }
                sections.push(section);
                names.push(own);
            }
        }
        if names.is_empty() {
            return Err("the bond has no port that a cable plays");
        }
        key.extend(wait.clone());
        let about = self.about(text(cause, &["about"]).unwrap_or(name));
        let section = Section::table(&["hypothesis", name]).with("about", about).with("inject", texts(names));
        sections.push(section.maybe("wait", wait));
        Ok(Hypothesis { key: Value::Array(key), sections })
    }

    /// A cause in plain words, with the report's VLAN in place of the catalogue's.
    fn about(&self, words: &str) -> String {
        match self.focus.vlan {
            Some(id) => words.replace("VLAN 70", &format!("VLAN {id}")).replace("VLAN 30", "another VLAN"),
            None => words.to_owned(),
        }
    }

    /// Whether a cause's stack has the shape of the report's.
    fn fits(&self, cause: &Table) -> Result<(), &'static str> {
        let is_known = |ns: &&str| ["node", "switch", "gateway"].contains(ns);
        let kinds = keys(cause, &["ns", "node"]);
        let is_plain = |kind: &&str| ["veth", "bond", "vlan", "neighbours", "routes"].contains(kind);
        let ports = keys(cause, &["ns", "node", "veth"]).len();
        if !keys(cause, &["ns"]).iter().all(is_known) || !kinds.iter().all(is_plain) || ports != 1 {
            return Err("they need devices of other kinds, or more of them");
        }
        let uplink = &self.model.links[&self.focus.uplink];
        let mode = uplink.options.get("mode").map(String::as_str);
        let theirs = text(cause, &["ns", "node", "bond", "bond0", "mode"]);
        if theirs != Some("active-backup") && theirs != mode {
            return Err("they are of another bond mode");
        }
        let bond = cause.get("ns").and_then(|ns| ns.get("node")?.get("bond")?.get("bond0")?.as_table());
        let watches = |option: &str| bond.is_some_and(|bond| bond.contains_key(option));
        let is_watched = |option: &str| uplink.options.get(option).is_some_and(|ms| ms != "0");
        if mode.is_some()
            && ["miimon", "arp_interval"].iter().any(|option| watches(option) != is_watched(option))
        {
            return Err("they are about another monitor of the bond, or about none");
        }
        Ok(())
    }

    /// The ports that a fault is repeated on; once where it is not on a port or a cable of one.
    fn places(&self, fault: &Table) -> Vec<Option<IfName>> {
        let device = text(fault, &["device"]).unwrap_or_default();
        if device == "node:enp2s0" || device == "switch:p1" {
            // What has no carrier in the text has none in the topology: nothing on it can break, and a partner cannot answer there.
            let all = nics(self.model, &self.focus.uplink);
            let alive: Vec<IfName> =
                all.iter().filter(|nic| !is_dead(&self.model.links[*nic])).cloned().collect();
            (if alive.is_empty() { all } else { alive }).into_iter().map(Some).collect()
        } else {
            vec![None]
        }
    }

    /// With the report's devices in place of the catalogue's.
    fn moved(&self, value: &Value, port: Option<&IfName>) -> Result<Value, &'static str> {
        let Some(table) = value.as_table() else { return Ok(value.clone()) };
        let mut moved = Table::new();
        for (key, value) in table {
            let value = match (key.as_str(), value.as_str()) {
                ("device", Some(device)) => {
                    Value::from(self.device(device, port).ok_or("the stack of the text has no such device")?)
                }
                ("vlan", _) => {
                    Value::from(i64::from(self.focus.vlan.ok_or("the stack of the text has no VLAN")?))
                }
                _ => value.clone(),
            };
            moved.insert(key.clone(), value);
        }
        Ok(Value::Table(moved))
    }

    fn device(&self, theirs: &str, port: Option<&IfName>) -> Option<String> {
        let Focus { device, vlan, uplink, .. } = self.focus;
        let first = || nics(self.model, uplink).into_iter().next();
        let is_bond = self.model.links[uplink].kind == crate::import::model::Kind::Bond;
        match theirs {
            "node:bond0.70" => vlan.map(|_| format!("node:{device}")),
            "node:bond0" => is_bond.then(|| format!("node:{uplink}")),
            "node:enp2s0" => Some(format!("node:{}", port.cloned().or_else(first)?)),
            "switch:p1" => Some(format!("switch:{}", self.far.ports.get(&port.cloned().or_else(first)?)?)),
            "switch:p2" => Some(format!("switch:{}", self.far.ups.get(uplink)?)),
            "gateway:eth0" => Some(format!("gateway:{}", self.far.cards.get(uplink)?)),
            "gateway:eth0.70" => {
                vlan.and_then(|_| Some(format!("gateway:{}", self.far.opposite_of(self.model, device)?)))
            }
            _ => None,
        }
    }
}

/// A fault's kind and table by its name.
fn fault_of<'t>(cause: &'t Table, name: &str) -> Option<(&'t str, &'t Table)> {
    let kinds = cause.get("fault")?.as_table()?;
    kinds.iter().find_map(|(kind, faults)| Some((kind.as_str(), faults.get(name)?.as_table()?)))
}

/// Whether a fault can leave a bond without its LACP partner: one of the partner's, and one that takes LACPDUs from a port before the
/// bond has them (bond_handle_frame()). Measured with all causes on 6.12.57, 110 s each, longer than AD_LONG_TIMEOUT_TIME: queues,
/// filters on the way out, filters of the bond, rings and the switch's port down leave the partner.
fn takes_partner(cause: &Table, fault: &str) -> bool {
    let Some((kind, table)) = fault_of(cause, fault) else { return false };
    let is_on_port = text(table, &["device"]) == Some("node:enp2s0");
    match kind {
        "partner" => true,
        // XDP programs are filters at this hook, too.
        "filter" => is_on_port && text(table, &["hook"]) == Some("ingress"),
        _ => false,
    }
}

/// Keys of faults.
fn static_key(key: &str) -> Option<&'static str> {
    ["device", "qdisc", "hook", "vlan", "kind", "limit"].into_iter().find(|known| *known == key)
}
