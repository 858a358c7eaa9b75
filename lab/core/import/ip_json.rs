//! `ip -j link`, `ip -j address`, `ip -j route` and `ip -j neigh`, with `-s` and `-d` or without.

use std::net::IpAddr;

use crate::import::bridge_options::{self, Of};
use crate::import::ip_text::{above, is_elsewhere, partner};
use crate::import::model::{Kind, Model, Neighbour};
use crate::import::routing::{self, Written};
use crate::import::value::Value;
use crate::import::{link_options, options, routes, tc, virtual_links, vlan_flags};
use crate::net::name::IfName;

/// Keys of links, routes and neighbours that nobody sets, or that say what another key says. Timers and roles of spanning trees and of
/// LACP are among them.
pub const OF_KERNEL: &str = "\
    ifindex link_index link_netnsid operstate linkmode link_type broadcast promiscuity allmulti min_mtu max_mtu \
    inet6_addr_gen_mode num_tx_queues num_rx_queues gso_max_size gso_max_segs tso_max_size tso_max_segs gro_max_size \
    gso_ipv4_max_size gro_ipv4_max_size altnames parentbus parentdev phys_port_name phys_port_id phys_switch_id event \
    carrier_changes carrier_up_count carrier_down_count netns-immutable ifalias stats stats64 info_xstats info_slave_kind \
    family scope label valid_life_time preferred_life_time dynamic noprefixroute temporary mngtmpaddr secondary protocol \
    uid pref cache expires used confirmed updated refcnt lladdr router ad_aggregator_id ad_actor_oper_port_state \
    ad_actor_oper_port_state_str ad_partner_oper_port_state ad_partner_oper_port_state_str bcqueuelen usedbcqueuelen \
    macaddr_count hello_timer tcn_timer topology_change_timer gc_timer bridge_id root_id root_port root_path_cost \
    topology_change topology_change_detected fdb_n_learned message_age_timer forward_delay_timer hold_timer \
    topology_change_ack config_pending designated_bridge designated_port designated_cost designated_root port_id port_no \
    id no numtxqueues weight persist over_errors multicast length_errors crc_errors frame_errors fifo_errors missed_errors nohandler \
    collisions aborted_errors carrier_errors heartbeat_errors window_errors compressed missed";

/// Whether a document is of this format.
pub fn is_known(value: &Value) -> bool {
    value.items().iter().any(|item| is_link(item) || is_route(item) || is_neighbour(item))
}

fn is_link(item: &Value) -> bool {
    item.get("ifname").is_some() && item.get("flags").is_some() && item.get("mac").is_none()
}

fn is_route(item: &Value) -> bool {
    let has_end = ["dev", "nexthops", "type"].iter().any(|key| item.get(key).is_some());
    item.get("dst").is_some() && has_end && item.get("flags").is_some()
}

/// Neighbours have states, where routes have flags.
fn is_neighbour(item: &Value) -> bool {
    item.get("dst").is_some() && item.get("dev").is_some() && item.get("state").is_some()
}

/// Reads a document.
pub fn read(value: &Value, line: usize, model: &mut Model) {
    model.found("ip -j", line);
    for item in value.items() {
        if is_neighbour(item) {
            model.found("ip -j neigh", line);
            neighbour(item, model);
        } else if is_link(item) {
            link(item, model);
        } else if is_route(item) && item.text_of("protocol") != Some("kernel") {
            route(item, model);
        } else {
            item.pass_over();
        }
    }
}

fn neighbour(item: &Value, model: &mut Model) {
    let address: Option<IpAddr> = item.text_of("dst").and_then(|address| address.parse().ok());
    let Some((address, dev)) = address.zip(item.text_of("dev").and_then(|dev| dev.parse::<IfName>().ok()))
    else {
        return;
    };
    if item.texts_of("state").any(|state| state == "PERMANENT")
        && let Some(mac) = item.text_of("lladdr").and_then(|mac| mac.parse().ok())
    {
        routing::add_neighbour(address, dev.clone(), Some(mac), model);
    }
    let has_answered = routes::has_answered(item.texts_of("state"));
    model.neighbour(Neighbour { address, dev, has_answered });
}

/// One of the routes; of several next hops the first.
fn route(item: &Value, model: &mut Model) {
    let to = item.text_of("dst").unwrap_or_default();
    let hops = item.items_of("nexthops");
    if hops.len() > 1 {
        model.note(format!("route to {to}: it has several next hops; the first is taken"));
        hops[1..].iter().for_each(Value::pass_over);
    }
    let from = hops.first().unwrap_or(item);
    let metrics = item.items_of("metrics").iter().find_map(|metrics| metrics.text_of("mtu"));
    let mut flags = item.texts_of("flags").chain(from.texts_of("flags"));
    let is_onlink = flags.any(|flag| flag == "onlink");
    let written = Written {
        to,
        // Of another family: `{"family": "inet6", "host": "fe80::1"}`.
        via: from.text_of("gateway").or_else(|| from.at(&["via", "host"])?.text()),
        dev: from.text_of("dev").unwrap_or_default(),
        kind: item.text_of("type"),
        table: item.text_of("table"),
        metric: item.text_of("metric"),
        src: item.text_of("prefsrc"),
        mtu: metrics,
        is_onlink,
        is_ipv6: item.get("pref").is_some(),
    };
    routing::add(&written, model);
}

fn link(item: &Value, model: &mut Model) {
    let flags: Vec<&str> = item.texts_of("flags").collect();
    let Some(name) = item.text_of("ifname").filter(|_| !flags.contains(&"LOOPBACK")) else {
        item.pass_over();
        return;
    };
    let controller = item.text_of("master");
    let kind = item.at(&["linkinfo", "info_kind"]).and_then(Value::text);
    let is_port_of_bond = flags.contains(&"SLAVE");
    {
        let Some(link) = model.link(name) else { return };
        link.up = Some(flags.contains(&"UP"));
        if flags.contains(&"UP") {
            link.carrier = Some(flags.contains(&"LOWER_UP"));
        }
        link.mtu = item.number_of("mtu").or(link.mtu);
        link.qdisc = item.text_of("qdisc").map(str::to_owned).or(link.qdisc.take());
        link.mac = item.text_of("address").and_then(|mac| mac.parse().ok()).or(link.mac);
        link.permanent_mac = item.text_of("permaddr").and_then(|mac| mac.parse().ok()).or(link.permanent_mac);
        link_options::flags(link, &flags);
    }
    link_options::of_json(name, item, model);
    if let Some(xdp) = item.get("xdp") {
        let program = xdp.at(&["prog", "name"]).and_then(Value::text);
        tc::program_seen(name, "XDP", program.unwrap_or("without a name"), model);
        xdp.pass_over();
    }
    if let Some(controller) = controller {
        model.port(controller, name);
        model.kind(controller, if is_port_of_bond { Kind::Bond } else { Kind::Bridge });
    }
    match item.text_of("link") {
        Some(parent) if kind.is_none_or(|kind| kind == "vlan") => above(name, parent, model),
        Some(parent) => {
            if let Some(link) = model.link(name) {
                link.parent = parent.parse().ok().or(link.parent.take());
            }
        }
        None if item.get("link_index").is_some() => is_elsewhere(name, model),
        None => {}
    }
    info(name, kind, item, model);
    counters(name, item, model);
    for address in item.items_of("addr_info") {
        let (ip, prefix) = (address.text_of("local"), address.text_of("prefixlen"));
        if let (Some(ip), Some(prefix), false) = (ip, prefix, address.text_of("scope") == Some("link")) {
            model.address(name, &format!("{ip}/{prefix}"));
        }
    }
}

/// What `-d` adds of a port of a bond or bridge.
fn of_port(name: &str, item: &Value, model: &mut Model) {
    if let Some(port) = item.at(&["linkinfo", "info_slave_data"])
        && let Some(link) = model.link(name)
    {
        link.is_active = port.text_of("state").map(|state| state == "ACTIVE").or(link.is_active);
        link.failures = port.number_of("link_failure_count").or(link.failures);
        link.permanent_mac =
            port.text_of("perm_hwaddr").and_then(|mac| mac.parse().ok()).or(link.permanent_mac);
        link.carrier = port.text_of("mii_status").map(|status| status == "UP").or(link.carrier);
    }
    if item.at(&["linkinfo", "info_slave_kind"]).and_then(Value::text) == Some("bridge")
        && let Some(port) = item.at(&["linkinfo", "info_slave_data"])
    {
        bridge_options::json(name, Of::Port, port, model);
    }
    for key in ["queue_id", "prio", "actor_port_prio"] {
        if let Some(value) = item.at(&["linkinfo", "info_slave_data", key]).and_then(Value::text) {
            options::set_of_port(model, name, key, value);
        }
    }
}

/// What `-d` adds.
fn info(name: &str, kind: Option<&str>, item: &Value, model: &mut Model) {
    let data = item.at(&["linkinfo", "info_data"]);
    of_port(name, item, model);
    let is_nic = kind.is_none() && item.get("parentbus").is_some();
    if kind.is_some_and(|kind| virtual_links::json(name, kind, data, model)) {
        return;
    }
    let Some(link) = model.link(name) else { return };
    match kind {
        Some("bond") => {
            (link.kind, link.is_configuration) = (Kind::Bond, true);
            for (key, option) in data.map_or(&[][..], Value::entries) {
                match key.as_str() {
                    "ad_info" => {
                        partner(name, option.text_of("partner_mac").unwrap_or_default(), model);
                        if let Some(link) = model.link(name) {
                            link.aggregator_ports = option.number_of("num_ports").or(link.aggregator_ports);
                        }
                    }
                    _ => options::set(model, name, key, &option.joined()),
                }
            }
        }
        Some("vlan") => {
            link.kind = Kind::Vlan;
            link.vlan_id = data.and_then(|data| data.number_of("id")).or(link.vlan_id);
            link.is_service_tag = data.and_then(|data| data.text_of("protocol")) == Some("802.1ad");
            data.into_iter().for_each(|data| vlan_flags::of_json(link, data));
        }
        Some("ipvlan" | "macvlan") => {
            link.kind = if kind == Some("ipvlan") { Kind::Ipvlan } else { Kind::Macvlan };
            link.mode = data.and_then(|data| data.text_of("mode")).map(str::to_owned);
            let flags = data.map_or(&[][..], |data| data.items_of("flags"));
            let flag =
                flags.iter().filter_map(Value::text).chain(data.and_then(|data| data.text_of("flags")));
            let mut flag = flag.filter(|flag| kind == Some("ipvlan") && ["private", "vepa"].contains(flag));
            link.flag = flag.next().map(str::to_owned);
        }
        Some("tun") if data.and_then(|data| data.text_of("type")) == Some("tap") => link.kind = Kind::Tap,
        Some("tun") if data.and_then(|data| data.text_of("type")) == Some("tun") => link.kind = Kind::Tun,
        Some("bridge") => {
            link.kind = link.kind.max(Kind::Bridge);
            let filters = data.and_then(|data| data.text_of("vlan_filtering"));
            link.vlan_filtering = filters.map(|is| is == "1").or(link.vlan_filtering);
            data.into_iter().for_each(|data| bridge_options::json(name, Of::Bridge, data, model));
        }
        Some("dummy") => link.kind = link.kind.max(Kind::Dummy),
        // Its cable is shown by no command (`link_device_store()` has no file to read): one plays it, as of any other NIC.
        Some("netdevsim") => link.kind = link.kind.max(Kind::Nic),
        Some(other) => {
            link.kind = Kind::Other;
            other.clone_into(&mut link.kind_word);
        }
        None if is_nic => link.kind = link.kind.max(Kind::Nic),
        None => {}
    }
}

fn counters(name: &str, item: &Value, model: &mut Model) {
    let Some(stats) = item.get("stats64").or_else(|| item.get("stats")) else { return };
    let names = [
        ("tx", "bytes", "tx_bytes"),
        ("tx", "packets", "tx_packets"),
        ("tx", "errors", "tx_errors"),
        ("tx", "dropped", "tx_dropped"),
        ("rx", "bytes", "rx_bytes"),
        ("rx", "packets", "rx_packets"),
        ("rx", "errors", "rx_errors"),
        ("rx", "dropped", "rx_dropped"),
    ];
    let Some(link) = model.link(name) else { return };
    for (side, key, counter) in names {
        if let Some(value) = stats.get(side).and_then(|stats| stats.number_of(key)) {
            link.counters.insert(counter, value);
        }
    }
}
