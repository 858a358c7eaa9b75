//! The version of what `--format json` prints of a run or a matrix: `"format": 1`, its first field.
//!
//! A field that is added needs no new version. A change that takes one away, or gives it another meaning, adds a row to [`MIGRATIONS`]:
//! it makes a result of the next version of one of the version before, and nothing else reads a result before that.

use std::borrow::Cow;

use indexmap::IndexMap;
use serde::{Deserialize, Serialize};
use serde_json::Value;

/// The version that this lab writes. A result that does not say is of version 1.
pub const NEWEST: usize = MIGRATIONS.len() + 1;

/// From a version to the next.
type Migration = fn(&mut IndexMap<String, Json>);

/// In order: the first makes version 2 of version 1.
const MIGRATIONS: &[Migration] = &[];

/// A value that keeps the order of its fields, in which flows and devices are shown.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(untagged)]
enum Json {
    Object(IndexMap<String, Json>),
    Array(Vec<Json>),
    Other(Value),
}

/// A result with its version.
#[derive(Debug, Serialize)]
pub struct Versioned<'a, T> {
    format: usize,
    #[serde(flatten)]
    result: &'a T,
}

/// A result as it is kept.
pub fn versioned<T>(result: &T) -> Versioned<'_, T> {
    Versioned { format: NEWEST, result }
}

/// A result as it is printed.
///
/// # Errors
/// None of the lab's: all its results have text keys.
pub fn json<T: Serialize>(result: &T) -> serde_json::Result<String> {
    serde_json::to_string_pretty(&versioned(result))
}

/// What a result says of itself.
#[derive(Debug, Default, Deserialize)]
pub struct Version {
    /// As it is written.
    #[serde(default)]
    format: Option<Value>,
    /// The lab that wrote it.
    #[serde(default)]
    lab: Option<Value>,
}

impl Version {
    /// From the two fields.
    pub(super) fn new(format: Option<Value>, lab: Option<Value>) -> Self {
        Self { format, lab }
    }
}

/// A result of a version that this lab does not read.
#[derive(Debug, thiserror::Error, PartialEq, Eq)]
pub enum FormatError {
    /// Of a later one.
    #[error(
        "{place}: a result of format {found}, and this lab reads formats up to {newest}\nhint: read it with the lab that wrote it{lab}, \
         or run the topologies again with this one"
    )]
    Newer {
        /// File, line and column.
        place: String,
        /// Its version.
        found: u64,
        /// This lab's.
        newest: usize,
        /// In brackets, where the result has it.
        lab: String,
    },
    /// Something else than a version.
    #[error(
        "{place}: {found} is no version of a result's format\nhint: they have numbers from 1 to {newest}"
    )]
    NoVersion {
        /// File, line and column.
        place: String,
        /// As it is written.
        found: String,
        /// This lab's.
        newest: usize,
    },
}

/// The text of a result as this lab would have written it. `file` is what an error calls it.
///
/// # Errors
/// Its version is none that this lab reads.
pub fn current<'t>(file: &str, text: &'t str) -> Result<Cow<'t, str>, FormatError> {
    brought(file, text, &serde_json::from_str(text).unwrap_or_default(), MIGRATIONS)
}

/// As [`current`], of a version that was read before.
pub(super) fn of<'t>(file: &str, text: &'t str, version: &Version) -> Result<Cow<'t, str>, FormatError> {
    brought(file, text, version, MIGRATIONS)
}

fn brought<'t>(
    file: &str,
    text: &'t str,
    version: &Version,
    migrations: &[Migration],
) -> Result<Cow<'t, str>, FormatError> {
    let newest = migrations.len() + 1;
    let Some(found) = &version.format else { return Ok(migrated(text, migrations)) };
    let place = || format!("{file}:{}", place_of_version(text));
    match found.as_u64() {
        Some(0) | None => Err(FormatError::NoVersion { place: place(), found: found.to_string(), newest }),
        Some(found) => match usize::try_from(found).ok().filter(|found| *found <= newest) {
            Some(from) => Ok(migrated(text, &migrations[from - 1..])),
            None => {
                let lab = version.lab.as_ref().and_then(Value::as_str);
                let lab = lab.map(|lab| format!(" ({lab})")).unwrap_or_default();
                Err(FormatError::Newer { place: place(), found, newest, lab })
            }
        },
    }
}

/// What is no object is left to whoever reads it: he says what is wrong with it.
fn migrated<'t>(text: &'t str, migrations: &[Migration]) -> Cow<'t, str> {
    if migrations.is_empty() {
        return text.into();
    }
    let Ok(mut result) = serde_json::from_str::<IndexMap<String, Json>>(text) else { return text.into() };
    migrations.iter().for_each(|migrate| migrate(&mut result));
    serde_json::to_string(&result).map_or(text.into(), Cow::Owned)
}

/// Line and column of the first field with that name: the lab writes it first.
fn place_of_version(text: &str) -> String {
    let before = &text[..text.find("\"format\"").unwrap_or(0)];
    let (line, begin) = (before.matches('\n').count() + 1, before.rfind('\n').map_or(0, |end| end + 1));
    format!("{line}:{}", before[begin..].chars().count() + 1)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// What a version 2 could be: `outcome` is called `verdict`.
    fn rename(result: &mut IndexMap<String, Json>) {
        if let Some(outcome) = result.shift_remove("outcome") {
            result.insert("verdict".to_owned(), outcome);
        }
    }

    /// What a version 3 could be: a list of kernels.
    fn list(result: &mut IndexMap<String, Json>) {
        if let Some(kernel) = result.shift_remove("kernel") {
            result.insert("kernels".to_owned(), Json::Array(vec![kernel]));
        }
    }

    fn brought_to_3(text: &str) -> Result<String, String> {
        let version = serde_json::from_str(text).unwrap_or_default();
        brought("r.json", text, &version, &[rename, list])
            .map(Cow::into_owned)
            .map_err(|error| error.to_string())
    }

    #[test]
    fn an_older_result_is_brought_over_each_version_in_between() {
        let one = r#"{"outcome":"pass","kernel":"6.1","devices":{"b":1,"a":2}}"#;
        let three = r#"{"devices":{"b":1,"a":2},"verdict":"pass","kernels":["6.1"]}"#;
        assert_eq!(brought_to_3(one).unwrap(), three, "in the order of its devices");
        let two = r#"{"format":2,"outcome":"stays","kernel":"6.1"}"#;
        assert_eq!(brought_to_3(two).unwrap(), r#"{"format":2,"outcome":"stays","kernels":["6.1"]}"#);
        let newest = r#"{ "format": 3, "kernel": "6.1" }"#;
        assert_eq!(brought_to_3(newest).unwrap(), newest);
        assert_eq!(brought_to_3("[1]").unwrap(), "[1]");
    }

    #[test]
    fn a_result_of_another_version_is_refused_with_its_place() {
        let newer = "{\n  \"format\": 4,\n  \"lab\": \"0.9.0\"\n}";
        assert_eq!(
            brought_to_3(newer).unwrap_err(),
            "r.json:2:3: a result of format 4, and this lab reads formats up to 3\n\
             hint: read it with the lab that wrote it (0.9.0), or run the topologies again with this one"
        );
        for none in ["0", "\"1\"", "-1", "1.5", "{}"] {
            let error = brought_to_3(&format!("{{\"format\": {none}}}")).unwrap_err();
            let expected = format!("r.json:1:2: {none} is no version of a result's format\n");
            assert!(error.starts_with(&expected), "{error}");
        }
    }

    #[test]
    fn a_result_is_written_with_its_version_first() {
        let text = json(&serde_json::json!({ "cells": [] })).unwrap();
        assert_eq!(text, format!("{{\n  \"format\": {NEWEST},\n  \"cells\": []\n}}"));
        assert_eq!(current("r.json", &text).unwrap(), text);
    }
}
