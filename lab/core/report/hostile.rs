//! Results from a file in which one text after another is hostile, in every renderer.

use serde_json::{Value, json};

use crate::judge::outcome::Outcome;
use crate::net::clean;
use crate::report::behaviour::Behaviour;
use crate::report::document::Document;
use crate::report::matrix::tests::finished;
use crate::report::matrix::{Matrix, Measures};
use crate::report::merge::{Kept, judge_as_found};
use crate::report::{failover, grid, html, junit, ktap, snapshot, terminal};
use crate::topology::Topology;

/// ESC, BEL, CR, LF with a forged line, NEL and CSI of C1, a bidirectional override, NUL, and a line next_check.
const HOSTILE: &str =
    "x\u{1b}[2J\u{1b}]0;t\u{7}\r\nok 1 - forged\u{85}\u{9b}31m\u{202e}\u{0}\u{2028}not ok 2 - forged";
const HARMLESS: &str = "harmless";

/// A result with something in every place that a renderer shows.
fn full() -> Value {
    let document = finished("t", "6.1", Outcome::Fail, 3, 1);
    let mut full = serde_json::to_value(&document).unwrap();
    let counters = json!({ "tx_dropped": 3, "drops": 3 });
    let queue = json!({ "node:p0": { "kind": "pfifo", "drops": 3 } });
    full["stand_ins"] = json!(["switch for node:p0"]);
    full["about"] = json!("what it shows");
    full["structure"] = json!({ "namespaces": ["node"], "links": [
        { "device": "node:p0", "kind": "veth", "peer": "sw:p0" },
        { "device": "node:bond0", "kind": "bond", "detail": "802.3ad", "below": ["node:p0"], "addresses": ["192.0.2.1/24"] },
    ] });
    full["states"] = json!({ "node:p0 carrier": 1 });
    full["hypotheses"] = json!([{ "name": "h", "about": "because", "fits": true,
        "evidence": [{ "item": "what was seen", "fits": true, "observed": 1 }] }]);
    full["separators"] = json!([{ "command": "tc -s qdisc", "answers": { "h": "3 drops" } }]);
    full["proofs"] = json!([{ "name": "all arrive", "proven": true, "broken_by": "a fault", "observed": 3 }]);
    let trial = &mut full["trials"][0];
    trial["refused"] = json!("the kernel's words");
    trial["unobserved"] = json!("no tracepoint");
    trial["devices"] = json!({ "node:p0": counters });
    trial["qdiscs"] = queue.clone();
    trial["hooks"] = queue;
    trial["captured"] = json!({ "announcements": 3 });
    trial["kernel_frames"] =
        json!([{ "what": "arp", "layer": "qdisc", "device": "node:p0", "reason": "FULL", "frames": 1 }]);
    trial["flows"][0]["errors"] = json!({ "ENOBUFS": 1 });
    trial["flows"][0]["fates"] = json!([{ "layer": "qdisc", "device": "node:p0", "reason": "QDISC_DROP", "queue": "pfifo", "frames": 2 }]);
    full["flows"] = trial["flows"].clone();
    full
}

/// Every place of a text, names of fields in maps included, as paths to it; the last part of a name ends in `#`.
fn places(value: &Value, path: &str, found: &mut Vec<String>) {
    match value {
        Value::String(_) => found.push(path.to_owned()),
        Value::Array(items) => {
            let items = items.iter().enumerate();
            items.for_each(|(number, item)| places(item, &format!("{path}/{number}"), found));
        }
        Value::Object(fields) => {
            for (name, value) in fields {
                let path = format!("{path}/{}", name.replace('~', "~0").replace('/', "~1"));
                found.push(format!("{path}#"));
                places(value, &path, found);
            }
        }
        Value::Null | Value::Bool(_) | Value::Number(_) => {}
    }
}

fn with(text: &str, place: &str) -> Option<Vec<(&'static str, String)>> {
    let mut value = full();
    if let Some(name) = place.strip_suffix('#') {
        let (parent, name) = name.rsplit_once('/').unwrap();
        let fields = value.pointer_mut(parent)?.as_object_mut()?;
        let inner = fields.remove(&name.replace("~1", "/").replace("~0", "~"))?;
        fields.insert(text.to_owned(), inner);
    } else {
        *value.pointer_mut(place)? = text.into();
    }
    let document = match Kept::parse("file.json", &value.to_string()) {
        Ok(Kept::Runs(mut documents)) => documents.remove(0),
        Ok(Kept::Matrix(_)) => return None,
        // A word that only some texts can be, or a field that has to be there. The error quotes it.
        Err(error) => return Some(vec![("error", error.to_string())]),
    };
    Some(rendered(document))
}

fn rendered(document: Document) -> Vec<(&'static str, String)> {
    let topology = Topology::parse("t", "t.toml", FAILOVER).unwrap_or_else(|errors| panic!("{errors}"));
    let (name, kernel) = (document.topology.clone(), document.kernel.id.clone());
    let failovers = [failover::Failover { topology, file: "t.toml".into(), results: vec![document.clone()] }];
    let cell = judge_as_found(document.clone(), "t.toml", Some(&Behaviour::parse("outcome: pass")));
    let matrix = Matrix::new(vec![cell], &[name], std::slice::from_ref(&kernel), Measures::default());
    vec![
        ("terminal", terminal::render(&document, None)),
        ("fixes", terminal::render_fixes(&document, &terminal::Look::PLAIN)),
        ("grid", grid::render(&matrix)),
        ("ktap", ktap::render(&matrix)),
        ("junit", junit::render(&matrix)),
        ("snapshot", snapshot::text(&document)),
        ("html", html::render(&matrix)),
        ("markdown", failover::markdown(&failovers, std::slice::from_ref(&kernel))),
    ]
}

const FAILOVER: &str = r#"
    [ns.a.veth]
    p0 = { peer = "b:p0" }
    p1 = { peer = "b:p1" }
    [ns.a.bond.bond0]
    mode = "active-backup"
    miimon = 100
    ports = ["p0", "p1"]
    addresses = ["192.0.2.1/24"]
    [ns.b.veth]
    p0 = { peer = "a:p0" }
    p1 = { peer = "a:p1" }
"#;

#[test]
fn no_text_of_a_file_moves_a_cursor_or_begins_a_line_in_any_renderer() {
    let mut all = Vec::new();
    places(&full(), "", &mut all);
    assert!(all.len() > 60, "{all:?}");
    let read = Kept::parse("file.json", &full().to_string()).unwrap_or_else(|error| panic!("{error}"));
    assert!(matches!(read, Kept::Runs(_)));
    let mut shown = 0;
    for place in &all {
        let Some(hostile) = with(HOSTILE, place) else { panic!("{place} cannot be reached") };
        for (renderer, text) in &hostile {
            let bad = text.chars().find(|c| clean::is_unsafe(*c) && !matches!(c, '\n' | '\t'));
            assert_eq!(bad, None, "{renderer} at {place}: {text:?}");
            let forged = text.lines().find(|line| {
                let line = line.trim_start();
                line.starts_with("ok 1 - ") || line.starts_with("not ok 2 - ")
            });
            // Why a run ended may have several lines; KTAP has each of them behind a `#`.
            let may = place == "/reason" && *renderer != "ktap";
            assert!(forged.is_none() || may, "{renderer} at {place}: {text:?}");
        }
        let harmless = with(HARMLESS, place).unwrap();
        let ktap = |rendered: &[(&str, String)]| {
            let text = rendered.iter().find(|(renderer, _)| *renderer == "ktap").map(|(_, text)| text);
            text.map(|text| text.lines().filter(|line| !line.trim_start().starts_with('#')).count())
        };
        assert_eq!(ktap(&hostile), ktap(&harmless), "lines of KTAP at {place}");
        shown += usize::from(hostile.iter().any(|(_, text)| text.contains("\\u{1b}[2J")));
    }
    assert!(shown > 20, "only {shown} places were shown at all");
}
