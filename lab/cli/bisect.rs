//! `lab bisect`: between which kernels a behaviour changes.

use super::failure::Failure;
use clap::Args;
use std::process::ExitCode;
pub const EXAMPLES: &str = "";
#[derive(Debug, Args)]
pub struct BisectArgs {}
pub fn bisect(_args: &BisectArgs) -> Result<ExitCode, Failure> {
    Ok(ExitCode::SUCCESS)
}
