//! The lab in other people's tests: topologies, kernels, results with typed questions, and test bodies in a guest.
//!
//! Nothing here links against the guest or starts a machine itself. Each run is a process of the command `lab`, which is also
//! the `/init` of the guest: one build is responsible for both sides of their protocol, and a test program keeps its own
//! logger, signal handlers and file descriptors. See [`command`].

pub mod build;
pub(crate) mod command;
pub(crate) mod flow;
pub(crate) mod folder;
pub mod guest_test;
pub(crate) mod on;
pub(crate) mod run;
pub(crate) mod skip;
pub(crate) mod topology;
pub(crate) mod trial;

/// Ends the test with a message, at the place of the caller.
#[track_caller]
pub(crate) fn fail(message: &str) -> ! {
    panic!("{message}")
}

/// The words that are there, for a message about one that is not.
pub(crate) fn known<'a>(words: impl IntoIterator<Item = &'a str>) -> String {
    let words: Vec<&str> = words.into_iter().collect();
    if words.is_empty() { "none".into() } else { words.join(", ") }
}
