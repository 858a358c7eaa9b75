//! The table of obstacles on the way in, as Markdown: which frames count as delivered in spite of each, and where the others
//! are lost, by socket and kernel.
//!
//! Made from canonical texts alone (see `snapshot`), as the catalogue of causes: a test can tell when the two differ.

use std::fmt::Write;

use crate::report::behaviour;
use crate::report::causes::Cause;

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
    let cells = |text: &str| FLOWS.map(|flow| cell(text, flow)).join(" | ");
    let told: Vec<(&str, String)> =
        obstacle.seen.iter().map(|(kernel, text)| (kernel.as_str(), cells(text))).collect();
    let groups = behaviour::group(told.iter().map(|(kernel, cells)| (*kernel, cells.as_str())));
    for (number, group) in groups.iter().enumerate() {
        let name = if number == 0 { obstacle.topology.name.as_str() } else { "" };
        let all = group.kernels.len() == order.len();
        let kernels = if all { "all".to_owned() } else { behaviour::ranges(order, &group.kernels) };
        let _ = writeln!(out, "| {name} | {kernels} | {} |", group.text);
    }
}

/// What became of a flow: `delivered`, or where its frames were lost.
fn cell(text: &str, flow: &str) -> String {
    let main = text.lines().skip_while(|line| *line != "trial main").skip(1);
    let mut lines = main.take_while(|line| line.starts_with(' '));
    let head = format!("flow {flow} (");
    let Some(told) = lines.find_map(|line| line.trim_start().strip_prefix(&head)?.split_once(": ")) else {
        return "-".to_owned();
    };
    let number = |word: &str| {
        let item =
            told.1.split(", ").find_map(|item| item.strip_suffix(word)?.trim_end().parse::<u32>().ok());
        item.unwrap_or(0)
    };
    let (asked, delivered, unattributed) = (number("asked"), number("delivered"), number("unattributed"));
    let mut parts = match delivered {
        0 => Vec::new(),
        _ if delivered == asked => vec!["delivered".to_owned()],
        _ => vec![format!("{delivered} of {asked} delivered")],
    };
    let places = lines.map_while(|line| line.strip_prefix("    lost at ")?.split_once(": "));
    for (place, lost) in places {
        // A send that was refused is on no device.
        let place = place.trim_end_matches(" of no device");
        let reasons = lost.split(", ").filter_map(|lost| Some(lost.split_once(' ')?.1));
        parts.push(format!("{place} ({})", reasons.collect::<Vec<_>>().join(", ")));
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
        let seen = vec![("5.10".to_owned(), old.to_owned()), ("6.1".to_owned(), NEW.to_owned())];
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
