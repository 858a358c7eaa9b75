//! Settings of the other end that no report shows, each a hypothesis: what the switch may have at its ports, as far as it can bring
//! about what is reported.

use std::collections::BTreeSet;

use toml::{Table, Value};

use crate::import::draft::{Draft, Section, texts};
use crate::import::evidence::{Focus, Symptom};
use crate::import::far_end::{FarEnd, is_dead, nics, partner_of, place};
use crate::import::model::{Kind, Model};
use crate::net::name::IfName;

/// A VXLAN underlay takes frames that are smaller by this, in bytes (RFC 7348: outer Ethernet, IPv4, UDP and VXLAN headers).
const TUNNEL_BYTES: u32 = 50;
/// The smallest MTU that IPv4 has.
const MTU_MIN: u32 = 68;

/// The switch and what is plugged into it, for the uplink that the report is about.
struct Choices<'m> {
    model: &'m Model,
    far: &'m FarEnd,
    focus: &'m Focus,
    /// NICs with carrier.
    alive: Vec<IfName>,
    sections: Vec<Section>,
}

/// Writes those that can bring about what is reported; whether there are any.
pub fn write(model: &Model, far: &FarEnd, focus: &Focus, draft: &mut Draft) -> bool {
    let alive = nics(model, &focus.uplink).into_iter().filter(|nic| !is_dead(&model.links[nic])).collect();
    let mut choices = Choices { model, far, focus, alive, sections: Vec::new() };
    choices.aggregation();
    // What a switch does to frames after it has taken them, no counter and no errno of the sender shows.
    match focus.symptom {
        Symptom::Silence => {
            choices.vlan();
            choices.elsewhere();
        }
        Symptom::LargeSilence(_) => choices.size(),
        Symptom::Counted | Symptom::NoPartner => {}
    }
    let has_any = !choices.sections.is_empty();
    draft.sections.append(&mut choices.sections);
    has_any
}

impl Choices<'_> {
    fn add(&mut self, name: &str, about: &str) {
        let section = Section::table(&["hypothesis", name]).with("about", about);
        self.sections.push(section.comment("A setting of the switch, which the text does not show."));
    }

    /// A table under `with.ns` of a hypothesis.
    fn with(&self, name: &str, path: &[&str]) -> Section {
        let parts: Vec<&str> = ["hypothesis", name, "with", "ns"].iter().chain(path).copied().collect();
        Section::table(&parts)
    }

    fn bridge(&self) -> String {
        self.far.bridge(&self.focus.uplink)
    }

    /// Whether the switch takes the ports together, by the same protocol and as one.
    fn aggregation(&mut self) {
        let uplink = &self.model.links[&self.focus.uplink];
        let mode = uplink.options.get("mode").cloned().unwrap_or_default();
        let Some(partner) = self.partner() else { return };
        let is_lacp = mode == "802.3ad";
        // Frames of a static channel find their way by the switch's table of addresses, too.
        if !is_lacp && self.focus.symptom != Symptom::Silence {
            return;
        }
        if is_lacp {
            self.static_channel(&partner);
        }
        if is_lacp && uplink.options.get("lacp_active").is_some_and(|on| on == "false") {
            let name = "switch-lacp-passive";
            self.add(name, "neither end begins with LACP: it is passive at the switch, too");
            let section = self.with(name, &["switch", "bond", &partner]).with("lacp_active", false);
            self.sections.push(section);
        }
        self.apart(&partner);
        if is_lacp && self.alive.len() > 1 {
            self.two_groups(&partner);
        }
    }

    /// A bond of the switch that does not speak LACP, in the place of the one that does.
    fn static_channel(&mut self, partner: &str) {
        let name = "switch-static-channel";
        self.add(name, "the switch takes the ports together without LACP");
        let none: [&str; 0] = [];
        let without = self.with(name, &["switch", "bond", partner]).with("ports", texts(none));
        let channel = format!("{partner}s");
        let mtu = self.far.mtu(self.model, &self.focus.uplink);
        let table = self.with(name, &["switch", "bond", &channel]).with("mode", "balance-xor");
        let table = table.with("miimon", 100).with("ports", texts(self.ports(&self.alive)));
        let table = table.maybe("mtu", mtu);
        let bridge = self.bridge();
        let up = self.far.ups[&self.focus.uplink].clone();
        let bridge = self.with(name, &["switch", "bridge", &bridge]).with("ports", texts([channel, up]));
        self.sections.extend([without, table, bridge]);
    }

    /// Each port of the switch for itself.
    fn apart(&mut self, partner: &str) {
        let name = "switch-ports-not-aggregated";
        self.add(name, "the switch has each port for itself");
        let none: [&str; 0] = [];
        let lag = self.with(name, &["switch", "bond", partner]).with("ports", texts(none));
        let mut ports = self.ports(&self.alive);
        ports.push(self.far.ups[&self.focus.uplink].clone());
        let bridge = self.bridge();
        let bridge = self.with(name, &["switch", "bridge", &bridge]).with("ports", texts(ports));
        self.sections.extend([lag, bridge]);
    }

    /// Two groups of one system with different keys.
    fn two_groups(&mut self, partner: &str) {
        let name = "switch-port-with-other-key";
        let about = "the switch has the first port and the others in different groups: their keys differ";
        self.add(name, about);
        let ports = self.ports(&self.alive);
        let (first, others) = ports.split_at(1);
        let second = format!("{partner}b");
        // 00-00-5E-00-53 is for documentation (RFC 7042); the system has to be the same, or it were two switches.
        let system = "00:00:5e:00:53:01";
        let mtu = self.far.mtu(self.model, &self.focus.uplink);
        let table = self.with(name, &["switch", "bond", partner]).with("ports", texts(first));
        let table = table.with("ad_actor_system", system).with("ad_user_port_key", 1);
        let mut lag = partner_of(&self.model.links[&self.focus.uplink], &second, others, mtu);
        lag.header = self.with(name, &["switch", "bond", &second]).header;
        lag.comments.clear();
        let lag = lag.with("ad_actor_system", system).with("ad_user_port_key", 2);
        let bridge = self.bridge();
        let up = self.far.ups[&self.focus.uplink].clone();
        let bridge = self.with(name, &["switch", "bridge", &bridge]);
        self.sections.extend([table, lag, bridge.with("ports", texts([partner.to_owned(), second, up]))]);
    }

    /// The switch's bond; without a port that has carrier it has none.
    fn partner(&self) -> Option<String> {
        let partner = self.far.partners.get(&self.focus.uplink);
        partner.filter(|_| !self.ports(&self.alive).is_empty()).cloned()
    }

    fn ports(&self, nics: &[IfName]) -> Vec<String> {
        nics.iter().filter_map(|nic| self.far.ports.get(nic)).cloned().collect()
    }

    /// VLANs that the switch has to have at its ports: those whose tag is the outer one.
    fn tags(&self) -> Option<(u16, BTreeSet<u16>)> {
        let card = self.far.cards.get(&self.focus.uplink)?;
        let own = self.far.outer_tag(card, &self.far.opposite_of(self.model, &self.focus.device)?)?;
        Some((own, self.far.tags_of(card)))
    }

    /// A VLAN that the switch's ports do not have.
    fn vlan(&mut self) {
        let Some((own, all)) = self.tags() else { return };
        let entrances = self.partner().map_or_else(|| self.ports(&self.alive), |partner| vec![partner]);
        if entrances.is_empty() {
            return;
        }
        let about = format!("the switch does not have VLAN {own} at the node's port");
        let name = "switch-port-lacks-vlan";
        self.lacks(name, &about, own, &all, &entrances, |_| true);
        // The backup ports of a bond are the switch's for another day.
        let active = self.active_port().and_then(|nic| self.far.ports.get(&nic)).cloned();
        if let Some(active) = active.filter(|_| entrances.len() > 1) {
            let about =
                format!("the switch does not have VLAN {own} at the active port, and has it at the others");
            let name = "switch-active-port-lacks-vlan";
            self.lacks(name, &about, own, &all, &entrances, |port| port == active);
        }
    }

    fn lacks(
        &mut self,
        name: &str,
        about: &str,
        own: u16,
        all: &BTreeSet<u16>,
        entrances: &[String],
        is_without: impl Fn(&str) -> bool,
    ) {
        self.add(name, about);
        let bridge = self.bridge();
        let table = self.with(name, &["switch", "bridge", &bridge]).with("vlan_filtering", true);
        self.sections.push(table);
        let up = self.far.ups[&self.focus.uplink].clone();
        for port in entrances.iter().chain([&up]) {
            let lacks = *port != up && is_without(port);
            let ids = all.iter().filter(|id| !lacks || **id != own);
            let table = self.with(name, &["switch", "bridge", &bridge, "port", port]);
            self.sections.push(table.with("vlans", vlans(ids)));
        }
    }

    /// The port that an active-backup bond sends by: its primary, else the first with carrier.
    fn active_port(&self) -> Option<IfName> {
        let uplink = &self.model.links[&self.focus.uplink];
        let is_backup = uplink.options.get("mode").is_some_and(|mode| mode == "active-backup");
        if uplink.kind != Kind::Bond || !is_backup {
            return None;
        }
        let primary = uplink.options.get("primary");
        let primary = self.alive.iter().find(|nic| primary.is_some_and(|name| name == nic.as_str()));
        primary.or_else(|| self.alive.first()).cloned()
    }

    /// A cable into a switch that has no way to the gateway.
    fn elsewhere(&mut self) {
        let is_bond = self.model.links[&self.focus.uplink].kind == Kind::Bond;
        let nic = if is_bond { self.active_port() } else { self.alive.first().cloned() };
        let Some((nic, port)) = nic.and_then(|nic| Some((nic.clone(), self.far.ports.get(&nic)?.clone())))
        else {
            return;
        };
        let name = "cable-to-other-switch";
        self.add(name, &format!("the cable of {nic} leads to a switch without a way to the gateway"));
        let own = self.with(name, &[place(&self.model.links[&nic]), "veth", nic.as_str()]);
        let far = self.with(name, &["switch", "veth", &port]).with("peer", "other-switch:p1");
        self.sections.extend([own.with("peer", "other-switch:p0"), far]);
    }

    /// A way through the switch for smaller frames than the node sends. The small MTU is behind the node's port: a veth counts what its
    /// other end does not take (`veth_xmit()`), which no NIC can know of a switch.
    fn size(&mut self) {
        let Some(len) = self.focus.len() else { return };
        let mtu = len.saturating_sub(14 + TUNNEL_BYTES);
        if mtu < MTU_MIN {
            return;
        }
        let name = "switch-mtu-smaller-than-frames";
        let about =
            format!("the way through the switch has an MTU of {mtu}: {TUNNEL_BYTES} bytes go to a tunnel");
        self.add(name, &about);
        let up = self.far.ups[&self.focus.uplink].clone();
        self.sections.push(self.with(name, &["switch", "veth", &up]).with("mtu", i64::from(mtu)));
    }
}

/// The untagged VLAN and these, as a port of a bridge has them.
fn vlans<'i>(ids: impl Iterator<Item = &'i u16>) -> Value {
    let table = |entries: &[(&str, Value)]| {
        Value::Table(entries.iter().map(|(key, value)| ((*key).to_owned(), value.clone())).collect::<Table>())
    };
    let untagged = table(&[("id", 1.into()), ("pvid", true.into()), ("untagged", true.into())]);
    let tagged = ids.filter(|id| **id != 1).map(|id| table(&[("id", i64::from(*id).into())]));
    Value::Array(std::iter::once(untagged).chain(tagged).collect())
}
