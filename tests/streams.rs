//! Records of real runs, a stream for each layer that loses frames. A stream that is damaged in one place never comes to a
//! better result than the whole one.
//!
//! A stream is made anew with `lab run topologies/causes/NAME.toml --kernel 6.12.57 --records tests/streams/NAME.jsonl`; one whose
//! name ends in `-unobserved` with `--no-observer` besides.

use std::fs;
use std::path::{Path, PathBuf};

use bondlab_core::judge::account::Account;
use bondlab_core::judge::ledger::claims::{CLAIMS, Claim, page};
use bondlab_core::judge::ledger::{LedgerError, close_by};
use bondlab_core::judge::outcome::Outcome;
use bondlab_core::judge::{ledger, verdict};
use bondlab_core::net::version::Running;
use bondlab_core::plan::bounds::Bounds;
use bondlab_core::plan::lower::lower_with;
use bondlab_core::plan::record::Record;
use bondlab_core::plan::{Mutation, Plan, Role, RunOptions};
use bondlab_core::report::document::{Document, FateDocument, KernelDocument, Timing};
use bondlab_core::topology::Topology;
use serde_json::{Value, json};

const KERNEL: &str = "6.12.57";

/// What the name of a run without drop observer ends in.
const UNOBSERVED: &str = "-unobserved";

/// A topology and the layer at which it loses frames.
const STREAMS: [(&str, &str); 19] = [
    ("bond-down", "socket"),
    ("gateway-lacks-vlan", "ip"),
    ("filter-on-bond-nft", "nft"),
    ("neighbour-silent", "neighbour"),
    ("filter-on-port", "tc"),
    ("port-queue-full", "qdisc"),
    ("gateway-vlan-down", "vlan"),
    ("lacp-partner-out-of-sync", "bond"),
    ("far-end-mtu-smaller", "peer"),
    ("backlog-full", "backlog"),
    ("xdp-on-port", "xdp"),
    ("receiver-buffer-full", "receiver"),
    ("tap-ring-full", "driver"),
    ("switch-lacks-vlan", "switch"),
    ("nic-filters-addresses", "wire"),
    ("broadcast-port-holds", "qdisc"),
    ("port-queue-held", "qdisc"),
    ("tcp-way-cut", "socket"),
    ("dummy-discards", "driver"),
];

struct Stream {
    topology: Topology,
    plan: Plan,
    records: Vec<Record>,
}

/// What a run comes to: its outcome, and of each flow of each trial how many frames are delivered and lost where.
#[derive(Debug, PartialEq)]
struct Result {
    is_green: bool,
    flows: Vec<(u32, Vec<Value>)>,
}

impl Result {
    /// Of each flow, how many frames are delivered and lost.
    fn frames(&self) -> Vec<(u32, u64)> {
        let lost = |places: &[Value]| places.iter().filter_map(|place| place[2].as_u64()).sum();
        self.flows.iter().map(|(delivered, places)| (*delivered, lost(places))).collect()
    }
}

impl Stream {
    fn read(name: &str) -> Self {
        let root = Path::new(env!("CARGO_MANIFEST_DIR"));
        let read = |path: PathBuf| {
            fs::read_to_string(&path).unwrap_or_else(|error| panic!("{}: {error}", path.display()))
        };
        let (file, unobserved) = match name.strip_suffix(UNOBSERVED) {
            Some(file) => (file, true),
            None => (name, false),
        };
        let folders = ["topologies/causes", "topologies"].map(|folder| root.join(folder));
        let path =
            folders.map(|folder| folder.join(format!("{file}.toml"))).into_iter().find(|path| path.exists());
        let text = read(path.unwrap_or_else(|| panic!("{file} is in the gallery")));
        let topology = Topology::parse(name, name, &text).expect("it is in the gallery");
        let lines = read(root.join(format!("tests/streams/{name}.jsonl")));
        let records = lines.lines().map(|line| serde_json::from_str(line).expect("a record")).collect();
        let options = RunOptions { unobserved, ..RunOptions::default() };
        Self { plan: lower_with(&topology, &options), topology, records }
    }

    /// None where the records are refused.
    fn judge(&self, records: &[Record]) -> Option<Result> {
        let account = ledger::close(&self.plan, records).ok()?;
        let document = self.document(&account, &self.plan.options);
        let flows = document.trials.iter().flat_map(|trial| &trial.flows).map(|flow| {
            let place = |fate: &FateDocument| json!([fate.layer, fate.device, fate.frames]);
            (flow.delivered, flow.fates.iter().map(place).collect())
        });
        Some(Result { is_green: document.outcome == Outcome::Pass, flows: flows.collect() })
    }

    fn document(&self, account: &Account, options: &RunOptions) -> Document {
        let kernel = KernelDocument {
            id: KERNEL.into(),
            release: KERNEL.into(),
            backend: "vm".into(),
            accelerator: "tcg".into(),
            clock: "real".into(),
        };
        let verdict = verdict::judge(&self.topology, options, account, Running::of(KERNEL, KERNEL));
        Document::finished(&self.topology.name, kernel, account, &verdict, Timing::default())
    }

    /// By some of the claims alone.
    fn close_by(&self, claims: &[&Claim]) -> std::result::Result<Account, LedgerError> {
        close_by(claims, &self.plan, &self.records)
    }

    /// Every record removed, doubled, moved and altered in turn, with its place and what was done.
    fn each_damaged(&self, mut look: impl FnMut(usize, &str, &[Record])) {
        let last = self.records.len() - 1;
        for at in 0..=last {
            for (what, records) in self.moved(at) {
                look(at, what, &records);
            }
            let mut records = self.records.clone();
            for altered in alterations(&serde_json::to_value(&self.records[at]).expect("plain data")) {
                let what = altered.to_string();
                let Ok(record) = serde_json::from_value(altered) else { continue };
                records[at] = record;
                look(at, &what, &records);
            }
        }
    }

    /// One record removed, doubled, and moved.
    fn moved(&self, at: usize) -> [(&'static str, Vec<Record>); 5] {
        let last = self.records.len() - 1;
        let with = |change: &dyn Fn(&mut Vec<Record>)| {
            let mut records = self.records.clone();
            change(&mut records);
            records
        };
        [
            ("removed", with(&|records| drop(records.remove(at)))),
            ("doubled", with(&|records| records.insert(at, records[at].clone()))),
            ("moved to the start", with(&|records| records[..=at].rotate_right(1))),
            ("moved to the end", with(&|records| records[at..].rotate_left(1))),
            ("moved by one", with(&|records| records.swap(at, (at + 1).min(last)))),
        ]
    }
}

#[test]
fn whole_streams_are_green_and_lose_frames_at_their_layer() {
    for (name, layer) in STREAMS {
        let stream = Stream::read(name);
        let result = stream.judge(&stream.records).unwrap_or_else(|| panic!("{name} is refused"));
        assert!(result.is_green, "{name}");
        let mut places = result.flows.iter().flat_map(|(_, lost)| lost);
        assert!(places.any(|place| place[0] == layer), "{name} at {layer}: {:?}", result.flows);
    }
}

/// A record that is not as the agent wrote it, or not in its place, is an error: the last record says how many there are, and has
/// a checksum over them.
#[test]
fn a_stream_that_is_damaged_in_one_place_is_an_error() {
    let mut wrong = Vec::new();
    for (name, _) in STREAMS {
        let stream = Stream::read(name);
        stream.each_damaged(|at, what, records| {
            // What is moved may be where it was.
            if records != stream.records && ledger::close(&stream.plan, records).is_ok() {
                wrong.push(format!("{name}: {:?}: {what}", stream.records[at]));
            }
        });
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

/// Each row of the claims is needed: without it the account of its stream is another one.
#[test]
fn each_claim_has_a_stream_that_shows_what_it_is_for() {
    for (number, claim) in CLAIMS.iter().enumerate() {
        let stream = Stream::read(claim.stream);
        let whole =
            stream.close_by(&CLAIMS.each_ref()).unwrap_or_else(|error| panic!("{}: {error}", claim.stream));
        let others: Vec<&Claim> =
            CLAIMS.iter().enumerate().filter(|(other, _)| *other != number).map(|(_, claim)| claim).collect();
        let fates = |account: &Account| -> Vec<_> {
            let flows = account.trials.iter().flat_map(|trial| &trial.flows);
            flows.map(|flow| (flow.fates.clone(), flow.unattributed.clone())).collect()
        };
        let without = stream.close_by(&others).map(|account| fates(&account));
        assert_ne!(without, Ok(fates(&whole)), "{}: {} shows nothing of it", claim.name, claim.stream);
    }
}

/// What the judge says of a proof is in the document as it is, also what a reader needs to find another mutant.
#[test]
fn a_vacuous_expectation_has_the_mutants_in_which_it_holds() {
    let stream = Stream::read("port-queue-full");
    let mut account = ledger::close(&stream.plan, &stream.records).expect("it is whole");
    let mut mutant = account.trials[0].clone();
    mutant.role = Role::Mutant("as written".into());
    account.trials.push(mutant);
    let options = RunOptions { mutation: Some(Mutation::default()), ..RunOptions::default() };
    let document = stream.document(&account, &options);
    assert!(!document.proofs.is_empty() && document.outcome == Outcome::Fail);
    for proof in &document.proofs {
        assert_eq!((proof.proven, proof.holds_in.as_slice()), (false, &["as written".to_owned()][..]));
    }
    let text = serde_json::to_string(&document).expect("plain data");
    assert_eq!(serde_json::from_str::<Document>(&text).expect("the contract"), document);
}

#[test]
fn the_page_of_claims_is_made_of_their_table() {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("docs/ledger.md");
    if std::env::var_os("UPDATE_EXPECTED").is_some() {
        fs::write(&path, page()).expect("docs can be written");
    }
    let kept = fs::read_to_string(&path).unwrap_or_default();
    assert_eq!(kept, page(), "UPDATE_EXPECTED=1 cargo test --test pure claims writes docs/ledger.md");
}

/// With the last record as it was. If it is made for the others, the guest never had the record: an errno or a counter may tell
/// of the loss as well, from another place. No frame is delivered that was lost.
#[test]
fn a_record_that_is_removed_doubled_or_moved_makes_no_other_green_result() {
    let mut wrong = Vec::new();
    for (name, _) in STREAMS {
        let stream = Stream::read(name);
        let whole = stream.judge(&stream.records).expect("it is whole");
        let last = stream.records.len() - 1;
        for at in 0..=last {
            for (what, records) in stream.moved(at) {
                let result = stream.judge(&records).filter(|result| result.is_green);
                let counted = stream.judge(&finished(records)).filter(|result| result.is_green);
                let is_other = result.is_some_and(|result| result != whole);
                if is_other || counted.is_some_and(|counted| counted.frames() != whole.frames()) {
                    wrong.push(format!("{name}: {what}: {:?}", stream.records[at]));
                }
            }
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

/// What a receiver saw is left as it is: it is what all others are held against.
#[test]
fn a_record_that_is_altered_makes_no_green_result_with_more_frames_delivered() {
    let mut wrong = Vec::new();
    for (name, _) in STREAMS {
        let stream = Stream::read(name);
        let whole = stream.judge(&stream.records).expect("it is whole");
        let mut records = stream.records.clone();
        for (at, record) in stream.records.iter().enumerate() {
            let value = serde_json::to_value(record).expect("plain data");
            for altered in alterations(&value).into_iter().filter(|_| !matches!(record, Record::Seen { .. }))
            {
                let Ok(parsed) = serde_json::from_value(altered.clone()) else { continue };
                records[at] = parsed;
                let Some(result) = stream.judge(&finished(records.clone())) else { continue };
                let is_better = result.flows.iter().zip(&whole.flows).any(|(now, was)| now.0 > was.0);
                if result.is_green && is_better {
                    wrong.push(format!("{name}: {value} altered to {altered}"));
                }
            }
            records[at] = record.clone();
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

/// What runs say is far below what their plans may say: the limits are for guests that do not stop.
#[test]
fn real_runs_stay_far_below_their_bounds() {
    for (name, _) in STREAMS {
        let stream = Stream::read(name);
        let bounds = Bounds::of(&stream.plan);
        let lines = stream.records.iter().map(|record| serde_json::to_string(record).expect("plain data"));
        let bytes: usize = lines.map(|line| line.len()).sum();
        assert!(stream.records.len() * 4 < bounds.records, "{name}: {} of {bounds:?}", stream.records.len());
        assert!((bytes * 16) as u64 <= bounds.bytes, "{name}: {bytes} of {bounds:?}");
    }
}

/// With a last record that fits the others, as that of a guest that never had the damaged one would.
fn finished(mut records: Vec<Record>) -> Vec<Record> {
    if matches!(records.last(), Some(Record::Finished { .. })) {
        records.pop();
        records.push(Record::finished(&records));
    }
    records
}

/// Every value of a record changed, one at a time. Of counters, which are many, those of queues.
fn alterations(record: &Value) -> Vec<Value> {
    let mut places = Vec::new();
    leaves(record, &mut String::new(), &mut places);
    let is_counter = |place: &String| place.contains("/devices/") && !place.contains("/qdiscs/");
    let mut altered = Vec::new();
    for place in places.iter().filter(|place| !is_counter(place)) {
        let old = record.pointer(place).expect("it was found there");
        let values = match old {
            Value::Number(number) => {
                let number = number.as_u64().unwrap_or_default();
                vec![json!(number + 1), json!(number.saturating_sub(1)), json!(0)]
            }
            Value::Bool(is) => vec![json!(!is)],
            Value::String(text) => vec![json!(format!("{text}x")), json!(""), json!("0-9")],
            Value::Null => vec![json!(1), json!("x")],
            Value::Array(_) => vec![json!([]), json!([0, 1])],
            Value::Object(_) => vec![json!({})],
        };
        for value in values.into_iter().filter(|value| value != old) {
            let mut changed = record.clone();
            *changed.pointer_mut(place).expect("it was found there") = value;
            altered.push(changed);
        }
    }
    altered
}

fn leaves(value: &Value, place: &mut String, places: &mut Vec<String>) {
    let mut below = |key: &str, value: &Value| {
        let length = place.len();
        place.push('/');
        place.push_str(&key.replace('~', "~0").replace('/', "~1"));
        leaves(value, place, places);
        place.truncate(length);
    };
    match value {
        Value::Object(fields) if !fields.is_empty() => {
            fields.iter().for_each(|(key, value)| below(key, value));
        }
        Value::Array(items) if !items.is_empty() => {
            items.iter().enumerate().for_each(|(index, value)| below(&index.to_string(), value));
        }
        _ => places.push(place.clone()),
    }
}
