//! Networks and the steps that attach pods to them, followed from the first step to the last.

use std::collections::BTreeMap;

use indexmap::IndexMap;

use super::Link;
use super::check::Checker;
use super::file::{At, AttachTable, TopologyFile};
use super::read::is_lost_name;
use crate::cni::{self, Annotation, Attachments, Cluster, Network};
use crate::link::{DeviceRef, NsName};
use crate::stand_in::StandIn;

/// Resolves all networks, and what each step does to a pod.
pub fn resolve(
    file: &TopologyFile,
    (links, stand_ins): (&IndexMap<DeviceRef, Link>, &[StandIn]),
    checker: &mut Checker<'_>,
) -> Attachments {
    let networks = networks(file, checker);
    let pools = file.pool.iter().map(|(name, pool)| (name.value.clone(), pool.cidr.value)).collect();
    let servers = super::dhcp::resolve(file, &networks, links, checker);
    let mut cluster = Cluster::new(&networks, pools, servers.clone(), (links, stand_ins));
    let mut pods = Vec::new();
    let mut by_step = BTreeMap::new();
    for (number, step) in file.step.iter().enumerate() {
        let step = &step.value;
        let attachment = match (&step.attach, &step.detach, &step.check) {
            (Some(table), _, _) => {
                if !pods.contains(&table.value.pod.value) {
                    pods.push(table.value.pod.value.clone());
                }
                attach(file, &table.value, &mut cluster, checker)
            }
            (_, Some(pod), _) => known(pod, cluster.detach(&pod.value), checker),
            (_, _, Some(pod)) => known(pod, cluster.attachment(&pod.value).cloned(), checker),
            _ => None,
        };
        by_step.extend(attachment.map(|attachment| (number, attachment)));
    }
    let devices = cluster.devices();
    for device in devices.keys() {
        // Devices of an attachment have no place of their own in the file.
        checker.devices.entry(device.clone()).or_insert(super::document::NOWHERE);
    }
    Attachments { by_step, devices, pods, servers: servers.into_values().collect() }
}

fn networks(file: &TopologyFile, checker: &mut Checker<'_>) -> IndexMap<String, Network> {
    let mut networks = IndexMap::new();
    for (name, tree) in &file.net {
        let (network, mistakes) = cni::read(name, tree);
        for mistake in mistakes {
            checker.problem(&mistake.span, mistake.message, mistake.hint);
        }
        match network {
            Some(network) => drop(networks.insert(name.value.clone(), network)),
            None => checker.lost.add_name(&name.value),
        }
    }
    networks
}

fn attach(
    file: &TopologyFile,
    table: &AttachTable,
    cluster: &mut Cluster<'_>,
    checker: &mut Checker<'_>,
) -> Option<cni::Attachment> {
    let AttachTable { pod, node, networks, fails } = table;
    node_exists(file, node, checker);
    let mut annotation = Vec::new();
    let mut unreadable = false;
    for text in networks {
        match Annotation::parse(&text.value) {
            Ok(entry) => {
                unreadable |= checker.lost.name(&entry.network);
                annotation.push(entry);
            }
            Err(error) => {
                checker.problem(&text.span, error.to_string(), "write `network@interface`");
                unreadable = true;
            }
        }
    }
    if networks.is_empty() {
        checker.problem(&pod.span, "a pod attached to nothing", "name networks in their order");
        return None;
    }
    if let Some(fails) = fails
        && !annotation.iter().any(|entry| entry.network == fails.value)
    {
        let message = format!("`{}` is not among the pod's networks", fails.value);
        checker.problem(&fails.span, message, "name one of `networks`");
        return None;
    }
    if cluster.attachment(&pod.value).is_some() {
        let message = format!("pod {} is attached already", pod.value);
        checker.problem(&pod.span, message, "a pod is attached once: detach it first");
        return None;
    }
    if unreadable {
        return None;
    }
    let fails = fails.as_ref().map(|fails| fails.value.as_str());
    match cluster.attach(&pod.value, &node.value, &annotation, fails) {
        Ok(attachment) => Some(attachment),
        // What could not be read may be what is missing.
        Err(_) if !checker.lost.is_empty() => None,
        Err(error) => {
            checker.problem(&networks[error.position].span, error.message, error.hint);
            None
        }
    }
}

fn node_exists(file: &TopologyFile, node: &At<NsName>, checker: &mut Checker<'_>) {
    let names = file.ns.keys().filter(|name| !is_lost_name(name.value.as_str()));
    let known: Vec<String> = names.map(|name| name.value.to_string()).collect();
    if !known.iter().any(|name| name == node.value.as_str()) {
        checker.dangling(&node.span, "namespace", node.value.as_str(), &known);
    }
}

fn known(
    pod: &At<NsName>,
    attachment: Option<cni::Attachment>,
    checker: &mut Checker<'_>,
) -> Option<cni::Attachment> {
    if attachment.is_none() && checker.lost.is_empty() {
        let message = format!("pod {} is not attached at this step", pod.value);
        checker.problem(
            &pod.span,
            message,
            "attach it before: attach = { pod = ..., node = ..., networks = [...] }",
        );
    }
    attachment
}
