//! Networks and the steps that attach pods to them, followed from the first step to the last.

use std::collections::BTreeMap;

use indexmap::IndexMap;

use crate::net::link::Link;
use crate::net::name::{DeviceRef, NsName};
use crate::topology::check::Checker;
use crate::topology::cni;
use crate::topology::cni::{Annotation, Attachments, Cluster, Network};
use crate::topology::file::{At, AttachTable, TopologyFile};
use crate::topology::parse::read::is_lost_name;
use crate::topology::substitute::Substitution;

/// Resolves all networks, and what each step does to a pod.
pub fn resolve(
    file: &TopologyFile,
    (links, substitutions): (&IndexMap<DeviceRef, Link>, &[Substitution]),
    checker: &mut Checker<'_>,
) -> Attachments {
    let networks = networks(file, checker);
    let pools = file.pool.iter().map(|(name, pool)| (name.value.clone(), pool.cidr.value)).collect();
    let servers = crate::topology::check::dhcp::resolve(file, &networks, links, checker);
    let mut cluster = Cluster::new(&networks, pools, servers.clone(), (links, substitutions));
    let (mut pods, mut failed) = (Vec::new(), Vec::new());
    let mut by_step = BTreeMap::new();
    for (number, step) in file.step.iter().enumerate() {
        let step = &step.value;
        let attachment = match (&step.attach, &step.detach, &step.check) {
            (Some(table), _, _) => {
                if !pods.contains(&table.value.pod.value) {
                    pods.push(table.value.pod.value.clone());
                }
                let attachment = attach(file, &table.value, &mut cluster, checker);
                if attachment.is_none() {
                    failed.push(table.value.pod.value.clone());
                }
                attachment
            }
            (_, Some(pod), _) => known(pod, cluster.detach(&pod.value), checker),
            (_, _, Some(pod)) => known(pod, cluster.attachment(&pod.value).cloned(), checker),
            _ => None,
        };
        by_step.extend(attachment.map(|attachment| (number, attachment)));
    }
    // What such a pod would have had is no mistake of its own.
    failed.iter().for_each(|pod| checker.lost.add_name(pod.as_str()));
    let devices = cluster.devices();
    for device in devices.keys() {
        // Devices of an attachment have no place of their own in the file.
        checker.devices.entry(device.clone()).or_insert(crate::topology::parse::document::NOWHERE);
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
    let (entries, mistakes) = cni::read_annotation(networks);
    let unreadable =
        !mistakes.is_empty() || entries.iter().any(|(entry, _)| checker.lost.name(&entry.network));
    for mistake in mistakes {
        checker.problem(&mistake.span, mistake.message, mistake.hint);
    }
    if entries.is_empty() && !unreadable {
        checker.problem(&pod.span, "a pod attached to nothing", "name networks in their order");
        return None;
    }
    if let Some(fails) = fails
        && !unreadable
        && !entries.iter().any(|(entry, _)| entry.network == fails.value)
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
    let (annotation, places): (Vec<Annotation>, Vec<_>) = entries.into_iter().unzip();
    match cluster.attach(&pod.value, &node.value, &annotation, fails) {
        Ok(attachment) => Some(attachment),
        // What could not be read may be what is missing.
        Err(_) if !checker.lost.is_empty() => None,
        Err(error) => {
            checker.problem(&places[error.position], error.message, error.hint);
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
