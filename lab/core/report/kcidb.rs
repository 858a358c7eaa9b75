//! Results as a submission to KCIDB, the common database of KernelCI: a checkout and a build for each kernel, a test for each run.
//!
//! Version 5.3 of its schema, as the Python package kcidb-io 141 has it. The lab has neither fetched nor built what distributions
//! have: a checkout and a build say which kernel it is, and no more.

use serde_json::{Map, Value, json};
use sha2::{Digest, Sha256};

use crate::judge::outcome::Outcome;
use crate::report::document::Document;

/// Of the schema.
const MAJOR: u32 = 5;
const MINOR: u32 = 3;
/// Characters of `log_excerpt`.
const EXCERPT_MAX: usize = 16_384;
/// Digits of a checksum that make an id.
const DIGITS: usize = 16;

/// The submission, from the CI system `origin`.
pub fn render(origin: &Origin, documents: &[&Document]) -> Value {
    let (mut checkouts, mut builds) = (Vec::new(), Vec::new());
    let mut seen: Vec<&str> = Vec::new();
    for document in documents {
        let kernel = &document.kernel;
        if seen.contains(&kernel.id.as_str()) {
            continue;
        }
        seen.push(&kernel.id);
        let id = origin.id(&["kernel", &kernel.id]);
        let comment = text(&format!("Linux {}", kernel.release));
        checkouts.push(json!({ "id": id, "origin": origin.0, "comment": comment, "valid": true }));
        builds.push(json!({
            "id": id, "checkout_id": id, "origin": origin.0, "comment": comment, "architecture": "x86_64", "status": "PASS",
        }));
    }
    let tests: Vec<Value> = documents.iter().map(|document| test(origin, document)).collect();
    json!({
        "version": { "major": MAJOR, "minor": MINOR },
        "checkouts": checkouts, "builds": builds, "tests": tests,
    })
}

/// The name of the CI system that submits.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Origin(String);

impl Origin {
    /// A name of lowercase letters, digits and underscores.
    pub fn parse(name: &str) -> Option<Self> {
        let is_part = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '_';
        (!name.is_empty() && name.chars().all(is_part)).then(|| Self(name.to_owned()))
    }

    fn id(&self, parts: &[&str]) -> String {
        format!("{}:{}", self.0, text(&parts.join("/")))
    }
}

impl Default for Origin {
    fn default() -> Self {
        Self("bondlab".into())
    }
}

fn test(origin: &Origin, document: &Document) -> Value {
    let kernel = &document.kernel;
    // Runs of the same cell differ by their results, which include the times.
    let whole = serde_json::to_vec(document).expect("a result has text keys only");
    let digest: String = Sha256::digest(whole).iter().map(|byte| format!("{byte:02x}")).collect();
    let mut test = Map::new();
    let mut put = |key: &str, value: Value| drop(test.insert(key.to_owned(), value));
    put("id", json!(origin.id(&[&document.topology, &kernel.id, &digest[..DIGITS]])));
    put("build_id", json!(origin.id(&["kernel", &kernel.id])));
    put("origin", json!(origin.0));
    put("path", json!(format!("bondlab.{}", path(&document.topology))));
    if let Some(about) = &document.about {
        put("comment", json!(text(about)));
    }
    put("status", json!(status(document.outcome)));
    put("duration", json!(document.timing_ms.total as f64 / 1000.0));
    let environment =
        format!("{}, accelerator {}, {} time", kernel.backend, kernel.accelerator, kernel.clock);
    put("environment", json!({ "comment": text(&environment) }));
    let excerpt = excerpt(document);
    if !excerpt.is_empty() {
        put("log_excerpt", json!(excerpt));
    }
    put("misc", json!({ "outcome": document.outcome.word(), "lab": env!("CARGO_PKG_VERSION") }));
    Value::Object(test)
}

/// The database's word. A known failure is one of the kernel's all the same.
fn status(outcome: Outcome) -> &'static str {
    match outcome {
        Outcome::Pass => "PASS",
        Outcome::Fail | Outcome::Xfail | Outcome::Panic | Outcome::Hang | Outcome::BootFail => "FAIL",
        Outcome::Skip | Outcome::Unsupported => "SKIP",
        Outcome::Error => "ERROR",
    }
}

/// What failed, or why it was not run.
fn excerpt(document: &Document) -> String {
    let mut lines: Vec<String> = document.reason.clone().into_iter().collect();
    let failed = document.checks.iter().filter(|it| matches!(it.outcome, Outcome::Fail | Outcome::Error));
    lines.extend(failed.map(|it| format!("{}: expected {}, observed {}", it.name, it.expected, it.observed)));
    text(&lines.join("\n")).chars().take(EXCERPT_MAX).collect()
}

/// No text of the schema has a NUL.
fn text(text: &str) -> String {
    text.replace('\0', "")
}

/// A node of the classification tree: letters, digits, `_` and `-`; dots part the nodes.
fn path(topology: &str) -> String {
    let part = |c: char| if c.is_ascii_alphanumeric() || c == '-' { c } else { '_' };
    topology.chars().map(part).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::report::matrix::tests::{ended, finished};

    #[test]
    fn each_run_is_a_test_of_its_kernels_build() {
        let documents = [
            finished("t", "6.1", Outcome::Pass, 0, 0),
            ended("t", "6.12", Outcome::Panic, "it died\nat net\0"),
            ended("u[mode=a.b]", "6.1", Outcome::Skip, "6.1 lacks igb"),
        ];
        let all: Vec<&Document> = documents.iter().collect();
        let said = render(&Origin::default(), &all);
        assert_eq!(said["version"], json!({ "major": 5, "minor": 3 }));
        let ids = |of: &str| -> Vec<String> {
            let all = said[of].as_array().expect("a list").iter();
            all.map(|it| it["id"].as_str().expect("an id").to_owned()).collect()
        };
        assert_eq!(ids("builds"), ["bondlab:kernel/6.1", "bondlab:kernel/6.12"]);
        assert_eq!(ids("checkouts"), ids("builds"));
        let tests = said["tests"].as_array().expect("a list");
        let field = |key: &str| -> Vec<&str> { tests.iter().filter_map(|it| it[key].as_str()).collect() };
        assert_eq!(field("status"), ["PASS", "FAIL", "SKIP"]);
        assert_eq!(field("build_id"), ["bondlab:kernel/6.1", "bondlab:kernel/6.12", "bondlab:kernel/6.1"]);
        assert_eq!(field("path"), ["bondlab.t", "bondlab.t", "bondlab.u_mode_a_b_"]);
        assert_eq!(field("log_excerpt"), ["it died\nat net", "6.1 lacks igb"]);
        let unique: std::collections::BTreeSet<String> = ids("tests").into_iter().collect();
        assert_eq!(unique.len(), 3);
    }

    #[test]
    fn an_excerpt_has_a_bounded_length_and_an_origin_is_a_word() {
        let long = ended("t", "6.1", Outcome::Error, &"\u{e9}".repeat(20_000));
        let said = render(&Origin::parse("my_ci2").expect("it is one"), &[&long]);
        assert_eq!(said["tests"][0]["log_excerpt"].as_str().expect("text").chars().count(), EXCERPT_MAX);
        assert!(said["tests"][0]["id"].as_str().is_some_and(|id| id.starts_with("my_ci2:t/6.1/")));
        assert_eq!(["", "My CI", "a:b"].map(Origin::parse), [None, None, None]);
    }
}
