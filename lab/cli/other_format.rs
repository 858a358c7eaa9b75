//! Says what a file is that is no topology, where `lab import` can read it.

use bondlab_core::import::{self, Known};
use bondlab_core::topology::TopologyErrors;
use bondlab_core::topology::source::Source;

use crate::cli::failure::Failure;

/// What is wrong with a topology; of a configuration or the output of a command, that it is one, and not an error for each line.
pub fn refused(errors: &TopologyErrors, source: &Source) -> Failure {
    let path = source.files().last().map_or("it", |file| file.path.as_str());
    match recognised(path, source.text()) {
        Some(format) => Failure::invalid(format!(
            "error: {path} is no topology: it has the format {format}\nhint: `lab import` makes a topology of it: lab import {path} | lab run -"
        )),
        None => Failure::topology(errors),
    }
}

/// The first format in a text that does not begin as TOML.
fn recognised(path: &str, text: &str) -> Option<String> {
    let begins = text.lines().map(str::trim).find(|line| !line.is_empty() && !line.starts_with('#'))?;
    let is_table = begins.starts_with('[') && begins.ends_with(']') && !begins.contains('{');
    if is_table || begins.contains('=') {
        return None;
    }
    let known = Known { kernels: &[], causes: &[] };
    let source = import::Source { name: path.to_owned(), text: text.to_owned() };
    let imported = import::import("imported", &[source], &known).ok()?;
    imported.found.first().and_then(|found| found.rsplit_once(" (")).map(|(format, _)| format.to_owned())
}
