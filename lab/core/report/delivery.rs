//! The table of obstacles on the way in, as Markdown: which frames count as delivered in spite of each, and where the others
//! are lost, by socket and kernel.
//!
//! Made from accepted behaviour alone (see `snapshot`), as the catalogue of causes: a test can tell when the two differ.

use std::fmt::Write;

use crate::report::behaviour::{self, Behaviour, Label, Line};
use crate::report::causes::Cause;
use crate::report::snapshot::NO_DEVICE;

/// What the page is, and how it is made.
const PREFACE: &str = include_str!("delivery/preface.md");

/// Flows of an obstacle's topology, in the order of the columns; one that a topology lacks makes no sense there.
pub const FLOWS: [&str; 7] =
    ["packet-device", "packet-stack", "packet-socket", "udp", "udp-recverr", "ping", "tcp"];

/// The whole page. `kernels` are the versions that any obstacle was seen on, in order.
pub fn render(obstacles: &[Cause], kernels: &[String]) -> String {
    let mut out = PREFACE.to_owned();
    let _ = writeln!(out, "\n{} obstacles, on {}.\n", obstacles.len(), kernels.join(", "));
    let _ = writeln!(out, "| obstacle | kernels | {} |", FLOWS.join(" | "));
    let _ = writeln!(out, "|---|---|{}", "---|".repeat(FLOWS.len()));
    for obstacle in obstacles {
        rows(&mut out, obstacle, kernels);
    }
    out.push_str("\n## The obstacles\n\n");
    for Cause { topology, file, .. } in obstacles {
        let about = topology.about.as_deref().unwrap_or_default();
        let _ = writeln!(out, "- [{}](../{file}): {about}", topology.name);
    }
    out
}

/// One row for kernels that do the same; those that cannot run it are named.
fn rows(out: &mut String, obstacle: &Cause, order: &[String]) {
    let cells = |seen: &Behaviour| FLOWS.map(|flow| cell(seen, flow)).join(" | ");
    let told = obstacle.seen.iter().map(|(kernel, seen)| (kernel.as_str(), cells(seen)));
    for (number, (kernels, cells)) in behaviour::by_text(told).iter().enumerate() {
        let name = if number == 0 { obstacle.topology.name.as_str() } else { "" };
        let all = kernels.len() == order.len();
        let kernels = if all { "all".to_owned() } else { behaviour::ranges(order, kernels) };
        let _ = writeln!(out, "| {name} | {kernels} | {cells} |");
    }
}

/// What became of a flow: `delivered`, or where its frames were lost.
fn cell(seen: &Behaviour, flow: &str) -> String {
    let is_it = |line: &&Line| matches!(&line.label, Label::Flow { name, .. } if name == flow);
    let Some(flow) = seen.trial("main").and_then(|trial| trial.iter().find(is_it)) else {
        return "-".to_owned();
    };
    let [asked, delivered, unattributed] =
        ["asked", "delivered", "unattributed"].map(|word| flow.count(word));
    let mut parts = match delivered {
        0 => Vec::new(),
        _ if delivered == asked => vec!["delivered".to_owned()],
        _ => vec![format!("{delivered} of {asked} delivered")],
    };
    for lost in &flow.below {
        let Label::LostAt { layer, device } = &lost.label else { continue };
        let reasons: Vec<&str> = lost.counts().map(|(_, reason)| reason).collect();
        // A send that was refused is on no device.
        let on = if device == NO_DEVICE { String::new() } else { format!(" of {device}") };
        parts.push(format!("{layer}{on} ({})", reasons.join(", ")));
    }
    if unattributed > 0 {
        parts.push(format!("{unattributed} unattributed"));
    }
    parts.join("; ")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::topology::Topology;

    const TOPOLOGY: &str = r#"about = "A wall."
[ns.a.veth.x]
peer = "b:y"
[ns.b.veth.y]
peer = "a:x"
"#;
    const NEW: &str = "outcome: pass\n\ntrial main\n  flow packet-device (packet): 9 asked, 9 sent, 9 delivered\n  \
                       flow udp (udp): 9 asked, 9 sent, 2 delivered\n    lost at ip of b:y: 7 IP_RPFILTER\n  \
                       flow ping (ping): 9 asked, 9 sent, 0 delivered, 9 unattributed\n  \
                       flow tcp (tcp): 9 asked, 0 sent, 0 delivered\n    lost at socket of no device: 9 EINPROGRESS\n  b:y: rx_dropped 7\n";

    fn page(old: &str) -> String {
        let seen =
            vec![("5.10".to_owned(), Behaviour::parse(old)), ("6.1".to_owned(), Behaviour::parse(NEW))];
        let topology = Topology::parse("wall", "wall.toml", TOPOLOGY).unwrap();
        render(
            &[Cause { topology, file: "topologies/delivery/wall.toml".into(), seen }],
            &["5.10".into(), "6.1".into()],
        )
    }

    #[test]
    fn a_cell_says_where_the_frames_of_its_flow_are_lost() {
        let row = "| wall | all | delivered | - | - | 2 of 9 delivered; ip of b:y (IP_RPFILTER) | - | 9 unattributed | socket (EINPROGRESS) |";
        let page = page(NEW);
        assert!(page.lines().any(|line| line == row), "{page}");
        assert!(page.contains("- [wall](../topologies/delivery/wall.toml): A wall.\n"), "{page}");
    }

    #[test]
    fn kernels_that_differ_in_a_cell_have_rows_of_their_own() {
        let page = page(&NEW.replace("IP_RPFILTER", "ip_rcv_finish_core"));
        assert!(page.lines().any(|line| line.starts_with("| wall | 5.10 |")), "{page}");
        assert!(page.lines().any(|line| line.starts_with("|  | 6.1 |")), "{page}");
    }

    #[test]
    fn what_only_counters_tell_is_no_row_of_its_own() {
        let page = page(&NEW.replace("rx_dropped 7", "rx_dropped 6"));
        assert!(page.lines().any(|line| line.starts_with("| wall | all |")), "{page}");
    }
}
