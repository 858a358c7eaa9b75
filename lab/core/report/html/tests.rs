//! The page of fixed documents; its size for a gallery on all kernels; hostile texts in every place.

use serde_json::{Value, json};

use crate::judge::outcome::Outcome;
use crate::report::document::Document;
use crate::report::html::render;
use crate::report::matrix::tests::finished;
use crate::report::matrix::{Cell, Matrix, Measures, Policy, judge};
use crate::report::merge::judge_as_found;

const LOOK: Policy = Policy { compare: false, new_fails: false };
const MEGABYTE: usize = 1 << 20;

/// A bond over a cable, with a VLAN, of which a flow loses frames in a queue.
fn document(topology: &str, kernel: &str, lost: u32) -> Document {
    let run = finished(topology, kernel, Outcome::Pass, lost, 0);
    let mut full = serde_json::to_value(run).expect("a document is JSON");
    full["about"] = json!("Frames are lost in the queue of a port.");
    full["structure"] = json!({ "namespaces": ["node", "switch"], "links": [
        { "device": "node:p0", "kind": "veth", "peer": "switch:p0" },
        { "device": "switch:p0", "kind": "veth", "peer": "node:p0" },
        { "device": "node:bond0", "kind": "bond", "detail": "active-backup", "below": ["node:p0"] },
        { "device": "node:bond0.7", "kind": "vlan", "detail": "7", "below": ["node:bond0"],
          "addresses": ["192.0.2.1/24"] },
    ] });
    full["hypotheses"] = json!([{ "name": "slow port", "about": "The port is slow.", "fits": true,
        "evidence": [{ "item": "p0 drops >= 1", "fits": true, "observed": lost }] }]);
    full["separators"] = json!([{ "command": "tc -s qdisc", "answers": { "slow port": "3 drops" } }]);
    let trial = &mut full["trials"][0];
    trial["flows"][0]["fates"] = match lost {
        0 => json!([]),
        _ => {
            json!([{ "layer": "qdisc", "device": "node:p0", "reason": "QDISC_DROP", "queue": "pfifo", "frames": lost }])
        }
    };
    trial["devices"] =
        json!({ "node:p0": { "tx_packets": 100 - lost, "tx_dropped": lost, "rx_dropped": 0 } });
    trial["qdiscs"] = json!({ "node:p0": { "kind": "pfifo", "drops": lost } });
    serde_json::from_value(full).expect("a document")
}

fn matrix(cells: Vec<Document>, topologies: &[&str], kernels: &[&str]) -> Matrix {
    let owned = |names: &[&str]| names.iter().map(|name| (*name).to_owned()).collect::<Vec<_>>();
    let cells = cells.into_iter().map(|run| judge(run, "t.toml", None, LOOK)).collect();
    Matrix::new(cells, &owned(topologies), &owned(kernels), Measures::default())
}

fn small() -> String {
    let runs =
        [("5.10", 3), ("6.1", 3), ("6.12", 0)].map(|(kernel, lost)| document("vlan-drop", kernel, lost));
    render(&matrix(runs.to_vec(), &["vlan-drop"], &["5.10", "6.1", "6.12", "7.3"]))
}

/// The content without style and script, a line for each block.
fn body(page: &str) -> String {
    let body = page.split_once("<body>").expect("a body").1;
    let body = body.rsplit_once("<script>").expect("a script").0;
    [
        "<tr", "<section", "<h", "<p", "<details", "<text", "<rect", "<path", "<figure", "<table", "<th",
        "<td", "<label",
    ]
    .iter()
    .fold(body.to_owned(), |text, tag| text.replace(tag, &format!("\n{tag}")))
}

#[test]
fn the_page_of_a_small_matrix_is_as_it_was() {
    insta::assert_snapshot!(body(&small()));
}

/// A sign or a word, which differs from those of others without colours.
#[test]
fn each_verdict_has_a_sign_of_its_own() {
    let page = small();
    let signs: Vec<&str> = super::OUTCOMES
        .iter()
        .map(|outcome| {
            let rule = format!(".{}::before", outcome.word());
            let rest = page.split_once(&rule).unwrap_or_else(|| panic!("{rule} is not in the style")).1;
            rest.split_once(';').expect("it ends").0
        })
        .collect();
    let different: std::collections::BTreeSet<&&str> = signs.iter().collect();
    assert_eq!(different.len(), signs.len(), "{signs:?}");
}

#[test]
fn the_page_fetches_nothing() {
    let page = small();
    for part in ["http:", "https:", "src=", "url(", "@import", "<link", "fetch(", "XMLHttp", "//cdn"] {
        assert!(!page.contains(part), "{part}");
    }
}

/// The policy names the hashes of the style, of the scripts and of the pause; an attribute with either would be refused.
#[test]
fn the_policy_allows_no_inline_style_or_script() {
    let page = small();
    assert!(!page.contains("unsafe"), "the policy allows what is not known");
    assert!(!page.contains(" style=") && !page.contains(" onclick="), "an attribute that the policy refuses");
    let texts = |begin: &str, end: &str| {
        let rest = page.split(begin).skip(1);
        rest.map(|rest| rest.split_once(end).expect("it ends").0.to_owned()).collect::<Vec<_>>()
    };
    let (styles, scripts) = (texts("<style>", "</style>"), texts("<script>", "</script>"));
    let ([style], [slices, pause, script]) = (&styles[..], &scripts[..]) else {
        panic!("{} scripts", scripts.len())
    };
    assert_eq!(pause, ";");
    let policy = super::csp::policy(style, &[script, pause, slices]);
    assert!(page.contains(&format!("content=\"{policy}\"")), "{policy}");
}

/// Ids and the links to them: every link leads somewhere, and no place is there twice.
#[test]
fn every_link_leads_to_one_place() {
    let page = small();
    let attribute = |name: &str| {
        let begin = format!(" {name}=\"");
        let parts = page.split(&begin).skip(1);
        parts.map(|rest| rest.split('"').next().unwrap_or_default().to_owned()).collect::<Vec<_>>()
    };
    let (mut ids, links) = (attribute("id"), attribute("href"));
    assert!(links.iter().any(|link| link == "#vlan-drop@6.12"), "{links:?}");
    for link in links {
        assert!(link.strip_prefix('#').is_some_and(|id| ids.iter().any(|known| known == id)), "{link}");
    }
    let all = ids.len();
    ids.sort();
    ids.dedup();
    assert_eq!(ids.len(), all);
}

#[test]
fn what_kernels_say_alike_is_there_once() {
    let page = small();
    assert_eq!(page.matches("<details class=\"account\"").count(), 1);
    // The flow's account differs, what is concluded from it does too, and each is said once for 5.10 and 6.1.
    assert!(page.contains("<div class=\"on\" data-k=\"0-1\"><p class=\"soft\">On 5.10, 6.1:"), "{page}");
    assert_eq!(page.matches("of node:p0 (pfifo)").count(), 1);
    assert!(page.contains("<td class=\"edge\"><a href=\"#vlan-drop@6.12\""), "where it changes");
}

#[test]
fn a_single_run_is_shown_in_full() {
    let page = render(&matrix(vec![document("t", "6.1", 3)], &["t"], &["6.1"]));
    assert!(page.contains("<details class=\"account\" open>"), "{page}");
}

#[test]
fn a_failover_is_a_dot_for_each_kernel() {
    let runs = ["5.10", "6.1"].map(|kernel| {
        let mut run = document("failover", kernel, 3);
        run.trials[0].flows[0].silence_ms = Some(if kernel == "6.1" { 210 } else { 30 });
        run
    });
    let page = render(&matrix(runs.to_vec(), &["failover"], &["5.10", "6.1"]));
    assert_eq!(page.matches("<circle class=\"lost\"").count(), 2, "{page}");
    assert!(page.contains("aria-label=\"6.1: 210 ms, frames were lost\""), "{page}");
}

/// As many names of elements as in a page without anything hostile: no text has become markup.
#[test]
fn no_text_becomes_markup() {
    const HOSTILE: &str =
        "</text></svg></script></style><img src=x onerror=alert(1)>\" onload=\"x' --> {{x}}";
    let harmless = serde_json::to_value(document("t", "6.1", 3)).expect("JSON");
    let page = |value: &Value| {
        let run: Document = serde_json::from_value(value.clone()).ok()?;
        let (name, kernel) = (run.topology.clone(), run.kernel.id.clone());
        let cell: Cell = judge_as_found(run, "t.toml", None);
        Some(render(&Matrix::new(vec![cell], &[name], &[kernel], Measures::default())))
    };
    let mut places = Vec::new();
    texts(&harmless, "", &mut places);
    let mut shown = 0;
    for place in &places {
        let with = |text: &str| {
            let mut value = harmless.clone();
            *value.pointer_mut(place).expect("a place of the document") = text.into();
            page(&value)
        };
        // The second has as many words and characters: it has the same places in a picture.
        let (Some(hostile), Some(tame)) = (with(HOSTILE), with(&"x".repeat(HOSTILE.len()))) else { continue };
        assert_eq!(hostile.matches('<').count(), tame.matches('<').count(), "{place}");
        assert!(!hostile.contains("<img") && !hostile.contains("\" onload=\""), "{place}");
        shown += usize::from(hostile.contains("&lt;img src=x"));
    }
    assert!(shown > 15, "only {shown} of {places:?} are shown");
}

fn texts(value: &Value, path: &str, found: &mut Vec<String>) {
    match value {
        Value::String(_) => found.push(path.to_owned()),
        Value::Array(items) => {
            items
                .iter()
                .enumerate()
                .for_each(|(number, item)| texts(item, &format!("{path}/{number}"), found));
        }
        Value::Object(fields) => {
            for (name, value) in fields {
                texts(value, &format!("{path}/{}", name.replace('~', "~0").replace('/', "~1")), found);
            }
        }
        Value::Null | Value::Bool(_) | Value::Number(_) => {}
    }
}

#[test]
fn a_gallery_on_all_kernels_is_a_file_of_less_than_two_megabytes() {
    let kernels: Vec<String> = (0..26).map(|minor| format!("6.{minor}.1")).collect();
    let topologies: Vec<String> = (0..150).map(|number| format!("topology-number-{number}")).collect();
    let mut cells = Vec::new();
    for (row, topology) in topologies.iter().enumerate() {
        for (column, kernel) in kernels.iter().enumerate() {
            // Every third topology changes twice; each run of it has other counters.
            let lost = if row % 3 == 0 { (column / 9) as u32 } else { 1 };
            let mut run = document(topology, kernel, lost);
            for number in 0..7 {
                let mut trial = run.trials[0].clone();
                trial.name = format!("explanation {number}");
                for count in 0..8 {
                    let counters = [
                        ("rx_packets".to_owned(), 1000 + column as u64 % 4),
                        ("tx_packets".to_owned(), 1000),
                    ];
                    trial.devices.insert(format!("node:port{count}"), counters.into());
                }
                run.trials.push(trial);
            }
            cells.push(judge(run, "t.toml", None, LOOK));
        }
    }
    let page = render(&Matrix::new(cells, &topologies, &kernels, Measures::default()));
    assert!(page.len() > MEGABYTE / 2 && page.len() < 2 * MEGABYTE, "{} bytes", page.len());
    let cells = ["<td><a href", "<td class=\"edge\"><a href"].map(|cell| page.matches(cell).count());
    assert_eq!(cells.iter().sum::<usize>(), 26 * 150, "{} bytes, {cells:?}", page.len());
}
