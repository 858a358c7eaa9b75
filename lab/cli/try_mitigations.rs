//! `lab try`: a report against everything that was tried against it.

use std::process::ExitCode;

use crate::cli::failure::Failure;
use crate::cli::run::{RunArgs, carry_out};
use bondlab_core::report::terminal;
use clap::Args;

/// Shown by `--help`.
pub const EXAMPLES: &str = "\
Examples:
  lab try topologies/vlan-over-bond-tx-drop.toml
  lab try topologies/vlan-over-bond-tx-drop.toml --all --kernel 6.18.15";

/// Arguments of `lab try`.
#[derive(Debug, Args)]
pub struct TryArgs {
    /// Try under every hypothesis, not only under those that fit the report
    #[arg(long)]
    all: bool,
    #[command(flatten)]
    run: RunArgs,
}

/// Tries every mitigation of a topology.
pub fn attempt(args: &TryArgs) -> Result<ExitCode, Failure> {
    let lower = |topology: &bondlab_core::topology::Topology, options: &bondlab_core::plan::RunOptions| {
        let scenario = &topology.scenario;
        if scenario.report.is_none() || scenario.mitigations.is_empty() {
            let text = format!(
                "error: {} has nothing to try\nhint: `lab try` needs a [report], hypotheses, and a \
                 [mitigation.NAME] for each thing that was tried",
                topology.name
            );
            return Err(Failure::invalid(text));
        }
        Ok(bondlab_core::plan::lower::lower_attempts(topology, options, args.all))
    };
    carry_out(&args.run, lower, |_, run, look| terminal::render_fixes(&run.document, look))
}
