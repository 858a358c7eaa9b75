//! `lab run` as a user types it, and its result as a script reads it.

use std::collections::BTreeSet;
use std::path::Path;
use std::process::{Command, Output};
use std::sync::OnceLock;

use serde_json::{Map, Value};

use crate::machine::LAB;
use crate::{KERNEL, flagship};

/// Exit code and JSON document of one run. The set-up is done: the command itself may fetch nothing.
pub fn run(topology: &Path, kernel: &str) -> (i32, Value) {
    let (code, stdout) = output(topology, kernel);
    (code, document(&stdout).expect("standard output is one document"))
}

/// The exit code and standard output. A `Value` sorts the keys of maps; the order of devices is part of a snapshot.
pub fn output(topology: &Path, kernel: &str) -> (i32, Vec<u8>) {
    output_with(topology, kernel, &[])
}

/// The same, with more arguments.
pub fn output_with(topology: &Path, kernel: &str, more: &[&str]) -> (i32, Vec<u8>) {
    let mut command = Command::new(LAB);
    command.arg("run").arg(topology).args(["--kernel", kernel, "--format", "json", "--no-install"]);
    command.args(more);
    let output = command.output().expect("cargo has built it");
    let code = output.status.code().unwrap_or_else(|| panic!("{command:?} was killed: {}", text(&output)));
    document(&output.stdout).unwrap_or_else(|error| panic!("{command:?}: {error}\n{}", text(&output)));
    (code, output.stdout)
}

/// The result of the flagship in a machine of its own. One run serves all tests: each reads another part of it.
pub fn of_the_report() -> &'static Value {
    static DOCUMENT: OnceLock<Value> = OnceLock::new();
    DOCUMENT.get_or_init(|| {
        let (code, document) = run(&flagship(), KERNEL);
        assert_eq!(code, 0, "{document:#}");
        document
    })
}

/// Standard output must be one document and nothing else.
pub fn document(stdout: &[u8]) -> serde_json::Result<Value> {
    serde_json::from_slice(stdout)
}

/// A document without what differs from run to run.
pub fn without_times(mut document: Value) -> Value {
    let times = document.as_object_mut().and_then(|fields| fields.remove("timing_ms"));
    assert!(times.is_some_and(|times| times["total"].as_u64() > Some(0)), "a run takes time");
    document
}

/// Everything of a document that its kernel and not the way it was run decides.
pub fn findings(document: &Value) -> Value {
    let mut document = without_times(document.clone());
    document.as_object_mut().expect("a document is an object").remove("kernel");
    document
}

/// Panics with the places (RFC 6901) at which two results differ: the whole of both would fill the screen.
pub fn assert_same(one: &Value, other: &Value, what: &str) {
    let mut places = Vec::new();
    differences(one, other, "", &mut places);
    assert!(places.is_empty(), "{what}:\n{}", places.join("\n"));
}

fn differences(one: &Value, other: &Value, place: &str, places: &mut Vec<String>) {
    match (one, other) {
        (Value::Object(one), Value::Object(other)) => {
            let keys: BTreeSet<&String> = one.keys().chain(other.keys()).collect();
            let of = |object: &Map<String, Value>, key: &String| object.get(key).cloned().unwrap_or_default();
            for key in keys {
                differences(&of(one, key), &of(other, key), &format!("{place}/{key}"), places);
            }
        }
        (Value::Array(one), Value::Array(other)) if one.len() == other.len() => {
            for (index, (one, other)) in one.iter().zip(other).enumerate() {
                differences(one, other, &format!("{place}/{index}"), places);
            }
        }
        _ if one == other => {}
        _ => places.push(format!("  {place}: {one} | {other}")),
    }
}

fn text(output: &Output) -> String {
    let text = |bytes| String::from_utf8_lossy(bytes).into_owned();
    format!("{}\n{}", text(&output.stdout), text(&output.stderr))
}
