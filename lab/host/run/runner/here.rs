//! A topology on the running kernel, in namespaces of its own.

use std::time::Instant;

use crate::run::local;
use crate::run::local::LocalAgent;
use crate::run::runner::collected::Collected;
use crate::run::runner::spec::plugin_names;
use crate::run::runner::{Run, RunError, conclude, line_of, millis, timing, unfinished};
use crate::vm::Timeouts;
use crate::vm::qemu::Clock;
use bondlab_core::judge::outcome::Outcome;
use bondlab_core::plan::Plan;
use bondlab_core::plan::bounds::Bounds;
use bondlab_core::plan::record::Request;
use bondlab_core::report::document::{KernelDocument, Timing};
use bondlab_core::topology::Topology;

/// Carries out a plan of a topology on this kernel, in namespaces of its own.
///
/// # Errors
/// When the agent could not be started.
pub fn carry_out_here(topology: &Topology, plan: &Plan, timeouts: Timeouts) -> Result<Run, RunError> {
    let begun = Instant::now();
    let begun_here = Timing { total: millis(begun), ..Timing::default() };
    let release = nix::sys::utsname::uname()
        .map(|name| name.release().to_string_lossy().into_owned())
        .unwrap_or_default();
    let kernel = KernelDocument {
        id: "host".into(),
        release,
        backend: "host".into(),
        accelerator: "none".into(),
        clock: Clock::Real.word().into(),
    };
    if !plan.slots.is_empty() {
        let reason = "this kernel cannot run this topology; it lacks:\n  emulated NICs, which a microVM has \
                      (--kernel VERSION)";
        return Ok(unfinished(topology, plan, kernel, Outcome::Skip, reason.into(), begun_here));
    }
    if let Some(reason) = plugins_here(&plugin_names(plan)) {
        return Ok(unfinished(topology, plan, kernel, Outcome::Skip, reason, begun_here));
    }
    let timeouts = timeouts.allowing(plan);
    let mut agent = LocalAgent::start(timeouts.idle, timeouts.total).map_err(RunError::Agent)?;
    let started = Instant::now();
    let mut collected = Collected::new(Bounds::of(plan));
    agent.send(&line_of(&Request::Run(plan.clone()))).map_err(RunError::Agent)?;
    let hung = loop {
        match agent.next_line() {
            // Only a machine has cables to ask for.
            local::Next::Line(line) => drop(collected.line(&line)),
            local::Next::Closed => break false,
            local::Next::TimedOut => break true,
        }
        if collected.excess().is_some() {
            break true;
        }
    };
    let (status, last_words) = agent.finish(hung).map_err(RunError::Agent)?;
    let timing = timing(begun, started, &collected);
    if collected.excess().is_none() && (hung || !status.success()) {
        let outcome = if hung { Outcome::Hang } else { Outcome::Error };
        let what = if hung {
            "the agent hung and was ended".into()
        } else {
            format!("the agent ended with {status}")
        };
        let reason = format!(
            "{what}\n{}next: run it again in a microVM (--kernel VERSION), where its kernel can be looked at",
            last_words
        );
        return Ok(unfinished(topology, plan, kernel, outcome, reason, timing));
    }
    Ok(conclude(topology, plan, kernel, collected, timing))
}

/// Why plugins' own programs are not run on this kernel. They run as root, keep leases under /var/lib/cni and sockets
/// under /run, where this machine's own pods have theirs, and may start what outlives them.
fn plugins_here(names: &[String]) -> Option<String> {
    if names.is_empty() {
        return None;
    }
    Some(format!(
        "CNI plugins' own programs ({}) are not run on this machine: they would write to its /var/lib/cni and /run\n\
         next: run it in a microVM (--kernel VERSION), or have the lab attach the pods (--cni own)",
        names.join(", ")
    ))
}
