//! Pods attached to networks: the networks as they were pasted, the devices that they take, and a flow by what they get.

use toml::Value as Toml;

use crate::import::draft::{Draft, Section, texts};
use crate::import::far_end::FarEnd;
use crate::import::model::{Kind, Model, Place, PodRequest};
use crate::import::nad::plugins;
use crate::import::value::Value;
use crate::net::address::Cidr;
use crate::net::name::IfName;
use crate::topology::lint::table::FAIL_OVER_MAC_VF;

/// The pod's namespace; one pod is attached.
const POD: &str = "pod";
/// Frames of a pod's flow.
const FRAMES: i64 = 50;

/// What is asked for, with all that it needs.
pub fn settle(model: &mut Model) {
    let known: Vec<String> = model.networks.iter().map(|network| network.name.clone()).collect();
    if model.pods.is_empty() && !known.is_empty() {
        model.note("the text shows no pod: one that asks for each network in turn is made up");
        let networks = known.iter().map(|name| (name.clone(), None)).collect();
        model.pods.push(PodRequest { pod: "pod".into(), networks });
    }
    let mut pods = std::mem::take(&mut model.pods);
    for request in &mut pods {
        request.networks.retain(|(name, _)| {
            let is_known = known.contains(name);
            if !is_known {
                model.note(format!(
                    "network {name} of pod {}: the text does not show its definition",
                    request.pod
                ));
            }
            is_known
        });
    }
    pods.retain(|request| !request.networks.is_empty());
    // Two pods would want the same NICs.
    for other in pods.drain(usize::min(1, pods.len())..) {
        model.note(format!("pod {}: one pod is attached; import this one by itself", other.pod));
    }
    for request in &mut pods {
        functions(request, model);
        inner_links(request, model);
        interfaces(request, model);
        gateways(request, model);
        addresses_of_functions(request, model);
    }
    model.pods = pods;
}

/// The configuration of a network.
fn config(model: &Model, name: &str) -> Option<Value> {
    let network = model.networks.iter().find(|network| network.name == name)?;
    serde_json::from_str(&network.config).ok()
}

/// Whether a network has a plugin of this type.
fn has(model: &Model, network: &str, kind: &str) -> bool {
    let config = config(model, network);
    config.is_some_and(|config| plugins(&config).iter().any(|plugin| plugin.text_of("type") == Some(kind)))
}

/// A PF with one VF for each time that a network of SR-IOV is asked for.
fn functions(request: &PodRequest, model: &mut Model) {
    let mut number = 0;
    for (network, _) in &request.networks {
        if has(model, network, "sriov") {
            let name = format!("enp{}s0", number + 1);
            model.note(format!(
                "network {network}: {name} is made up as the PF of its VF, with a switch in its place"
            ));
            model.kind(&name, Kind::Nic);
            if let Some(link) = model.link(&name) {
                link.is_pooled = true;
                link.function_of = Some((network.clone(), number));
            }
            number += 1;
        }
    }
}

/// The links that a bond in the pod takes, where no network before it brings them.
fn inner_links(request: &PodRequest, model: &mut Model) {
    let mut there: Vec<String> = Vec::new();
    for (at, (network, asked)) in request.networks.iter().enumerate() {
        let Some(config) = config(model, network) else { continue };
        for plugin in plugins(&config) {
            let is_inside =
                plugin.text_of("type") == Some("bond") && plugin.text_of("linksInContainer") == Some("true");
            let links = plugin.items_of("links").iter().filter_map(|link| link.text_of("name"));
            for name in links.filter(|_| is_inside) {
                if there.iter().any(|known| known == name) || model.link(name).is_none() {
                    continue;
                }
                model.note(format!(
                    "network {network}: no network brings {name} into the pod; it is made up as a NIC there"
                ));
                model.kind(name, Kind::Nic);
                let Some(link) = model.link(name) else { continue };
                (link.place, link.is_pooled) = (Place::Pod, true);
                if let Some(bond) = link.controller.take() {
                    // What was shown is the pod's own bond: the network makes it.
                    model.note(format!("{bond}: it is the bond that network {network} makes in the pod"));
                    model.links.shift_remove(&bond);
                    model.links.values_mut().for_each(|link| {
                        link.controller = link.controller.take().filter(|controller| *controller != bond);
                    });
                }
            }
        }
        there.push(interface(at, asked.as_ref()));
    }
}

/// A bond in the pod on VFs, which may not take its address.
fn addresses_of_functions(request: &PodRequest, model: &mut Model) {
    let has_functions = request.networks.iter().any(|(network, _)| has(model, network, "sriov"));
    for (network, _) in request.networks.iter().filter(|_| has_functions) {
        let Some(config) = config(model, network) else { continue };
        for plugin in plugins(&config).into_iter().filter(|plugin| plugin.text_of("type") == Some("bond")) {
            let is_active_backup = matches!(plugin.text_of("mode"), Some("active-backup" | "1"));
            let follows = plugin.text_of("failOverMac").is_some_and(|value| value != "0");
            if is_active_backup && !follows {
                let message =
                    format!("network {network} bonds VFs in mode active-backup without failOverMac");
                model.lint(&FAIL_OVER_MAC_VF, message);
            }
        }
    }
}

/// A network without a named interface gets a free name: a bond is called as its configuration says.
fn interfaces(request: &mut PodRequest, model: &Model) {
    for (at, (network, asked)) in request.networks.iter_mut().enumerate() {
        let usual = interface(at, None);
        let is_taken =
            model.links.iter().any(|(name, link)| link.place == Place::Pod && name.as_str() == usual);
        if asked.is_none() && is_taken {
            let config = config(model, network);
            let own = config.as_ref().and_then(|config| {
                plugins(config).iter().find_map(|plugin| plugin.text_of("ifname").map(str::to_owned))
            });
            *asked = Some(own.unwrap_or_else(|| format!("bond{at}")));
        }
    }
}

/// The gateway has the address that a network's IPAM names, or another one of its subnet.
fn gateways(request: &PodRequest, model: &mut Model) {
    for (network, _) in &request.networks {
        let Some(config) = config(model, network) else { continue };
        let all = plugins(&config);
        let ipam = all.iter().find_map(|plugin| plugin.get("ipam"));
        let master = all.iter().find_map(|plugin| plugin.text_of("master")?.parse::<IfName>().ok());
        let pooled = model.links.iter().find(|(_, link)| link.is_pooled).map(|(name, _)| name.clone());
        let (Some(ipam), Some(device)) =
            (ipam, master.filter(|name| model.links.contains_key(name)).or(pooled))
        else {
            continue;
        };
        let ranges = ipam.items_of("ranges").iter().flat_map(Value::items).next();
        let address = ipam.items_of("addresses").first();
        let route = ipam.items_of("routes").iter().find_map(|route| route.text_of("gw"));
        let subnet = ranges.and_then(|range| range.text_of("subnet")).or_else(|| ipam.text_of("subnet"));
        let subnet = subnet.or_else(|| address?.text_of("address")).or_else(|| ipam.text_of("range"));
        let gateway = ranges.and_then(|range| range.text_of("gateway")).or_else(|| ipam.text_of("gateway"));
        let gateway = gateway.or_else(|| address?.text_of("gateway")).or(route);
        let prefix = subnet.and_then(|subnet| subnet.parse::<Cidr>().ok()).map_or(24, |cidr| cidr.prefix);
        match gateway.and_then(|gateway| gateway.parse().ok()) {
            Some(address) => model.gateways.push((device, Cidr { address, prefix })),
            None => model.note(format!(
                "network {network}: its IPAM names no gateway in a way that can be carried over"
            )),
        }
    }
}

/// Interfaces by the order of the annotation.
fn interface(at: usize, asked: Option<&String>) -> String {
    asked.cloned().unwrap_or_else(|| format!("net{}", at + 1))
}

/// Writes networks, and the pod's own interfaces that a bond in it wants and no network provides.
pub fn write_networks(model: &Model, draft: &mut Draft) {
    if !model.pods.is_empty() && !model.links.values().any(|link| link.place == Place::Node) {
        draft.push(
            Section::table(&["ns", "node"]).comment("The pod's node; the text shows none of its links."),
        );
    }
    for request in &model.pods {
        let mut written: Vec<&str> = Vec::new();
        for (name, _) in &request.networks {
            if written.contains(&name.as_str()) {
                continue;
            }
            written.push(name);
            let Some(network) = model.networks.iter().find(|network| network.name == *name) else { continue };
            let of_network = |link: &&crate::import::model::Link| {
                link.function_of.as_ref().is_some_and(|(network, _)| network == name)
            };
            let functions: Vec<String> = model
                .links
                .values()
                .filter(of_network)
                .filter_map(|link| Some(format!("vf{}", link.function_of.as_ref()?.1)))
                .collect();
            let section = Section::table(&["net", name]);
            let section = section.maybe("resource", (!functions.is_empty()).then(|| texts(functions)));
            draft.push(section.with("config", network.config.as_str()));
        }
    }
}

/// Writes the steps that attach, and a flow by the last interface.
pub fn write_steps(model: &Model, far: &FarEnd, draft: &mut Draft) {
    for request in &model.pods {
        let names: Vec<String> = request
            .networks
            .iter()
            .enumerate()
            .map(|(at, (_, asked))| interface(at, asked.as_ref()))
            .collect();
        let entries =
            request.networks.iter().zip(&names).map(|((network, _), name)| format!("{network}@{name}"));
        let mut attach = toml::Table::new();
        attach.insert("pod".into(), POD.into());
        attach.insert("node".into(), "node".into());
        attach.insert("networks".into(), texts(entries));
        draft.push(Section::item(&["step"]).with("attach", Toml::Table(attach)));
        let Some(last) = names.last() else { continue };
        let device = format!("{POD}:{last}");
        let mut until = toml::Table::new();
        until.insert("device".into(), device.as_str().into());
        until.insert("state".into(), "carrier".into());
        until.insert("equals".into(), 1.into());
        draft.push(Section::item(&["step"]).with("wait", Toml::Table(until)));
        draft.push(Section::item(&["step"]).with("check", POD));
        let to = request.networks.iter().rev().find_map(|(network, _)| opposite(model, far, network));
        let Some(to) = to else { continue };
        let flow =
            Section::table(&["flow", "by-the-pod"]).comment("Made up: what the pod sends has to arrive.");
        let flow =
            flow.with("from", device.as_str()).with("to", format!("gateway:{to}")).with("frames", FRAMES);
        draft.sections.insert(0, flow);
        draft.push(Section::item(&["step"]).with("flood", "by-the-pod"));
        let section = Section::item(&["expect"]).with("name", "what the pod sends arrives");
        draft.push(section.with("flow", "by-the-pod").with("field", "delivered").with("equals", FRAMES));
    }
}

/// The gateway's device on the network's side.
fn opposite(model: &Model, far: &FarEnd, network: &str) -> Option<String> {
    let config = config(model, network)?;
    let all = plugins(&config);
    let master = all.iter().find_map(|plugin| plugin.text_of("master")?.parse::<IfName>().ok());
    let pooled = || model.links.iter().find(|(_, link)| link.is_pooled).map(|(name, _)| name.clone());
    let device = master.filter(|name| model.links.contains_key(name)).or_else(pooled)?;
    far.opposite_of(model, &device)
}
