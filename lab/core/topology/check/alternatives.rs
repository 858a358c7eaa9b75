//! What a hypothesis makes in another way, as a topology of its own: its mistakes, and what it has to leave as it is.

use crate::net::nic;
use crate::topology::Topology;
use crate::topology::parse::diagnostic::Diagnostic;
use crate::topology::parse::read::Alternative;

/// Checks what hypotheses make in another way, and adds it to the topology.
pub fn add(mut base: Option<&mut Topology>, alternatives: Vec<Alternative>, problems: &mut Vec<Diagnostic>) {
    for Alternative { name, span, is_plain, read } in alternatives {
        let (checked, wrong) = Topology::checked(&name, read);
        let topology = checked.map(|(topology, _)| topology);
        let is_new = |one: &Diagnostic| !problems.iter().any(|known| known == one);
        let wrong: Vec<Diagnostic> = wrong.into_iter().filter(is_new).collect();
        let is_wrong = !wrong.is_empty();
        problems.extend(
            wrong.into_iter().map(|one| Diagnostic {
                message: format!("under hypothesis `{name}`: {}", one.message),
                ..one
            }),
        );
        if let (Some(base), Some(topology)) = (base.as_deref_mut(), topology)
            && !is_wrong
            && is_plain
        {
            if let Some((message, hint)) = unfit(base, &topology) {
                problems.push(Diagnostic { span, message, hint: hint.into() });
            }
            base.alternatives.insert(name, topology);
        }
    }
}

/// Why it is none: all trials of a run have one machine, and one plan of what is sent from where.
fn unfit(base: &Topology, topology: &Topology) -> Option<(String, &'static str)> {
    if topology.links == base.links && topology.namespaces == base.namespaces {
        return Some(("`with` changes nothing".into(), "name what is other than in the rest of the file"));
    }
    if nic::slots(&topology.links) != nic::slots(&base.links) {
        let message = "a hypothesis with other NICs".into();
        return Some((
            message,
            "all explanations are tried in one machine, whose NICs are plugged in at its start",
        ));
    }
    let floods = base.scenario.report.iter().flat_map(|report| &report.floods);
    for flow in floods.filter_map(|name| base.scenario.flows.get(name)) {
        let moved = [&flow.from, &flow.to].into_iter().find(|end| {
            let family = flow.shape.family;
            topology.address_of(end, family) != base.address_of(end, family)
        });
        if let Some(end) = moved {
            let message = format!("flow `{}` has another address at {end}", flow.name);
            let hint = "a flow is sent from and to the same addresses under each explanation: keep the device's first \
                        address, its prefix length may be another";
            return Some((message, hint));
        }
    }
    None
}
