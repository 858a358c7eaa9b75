//! `lab completions` and `lab man`: what shells and man(1) read, made from the command line's own description.

use std::path::PathBuf;
use std::process::ExitCode;

use clap::{Args, Command};
use clap_complete::Shell;

use crate::cli::failure::Failure;

/// Arguments of `lab completions`.
#[derive(Debug, Args)]
pub struct CompletionsArgs {
    /// The shell to write for
    shell: Shell,
}

/// Arguments of `lab man`.
#[derive(Debug, Args)]
pub struct ManArgs {
    /// A folder for a page of each command: lab.1, lab-run.1, ...; else lab.1 on standard output
    #[arg(long, value_name = "DIR")]
    dir: Option<PathBuf>,
}

/// Prints the completions of a shell.
pub fn completions(args: &CompletionsArgs, mut command: Command) -> Result<ExitCode, Failure> {
    let mut script = Vec::new();
    clap_complete::generate(args.shell, &mut command, "lab", &mut script);
    write(&script)
}

/// Prints the manual page, or writes all of them.
pub fn man(args: &ManArgs, command: Command) -> Result<ExitCode, Failure> {
    let Some(dir) = &args.dir else {
        let mut page = Vec::new();
        clap_mangen::Man::new(command).render(&mut page).map_err(|error| Failure::internal(&error))?;
        return write(&page);
    };
    let failed = |error: std::io::Error| {
        Failure::invalid(format!("error: manual pages cannot be written to {}: {error}", dir.display()))
    };
    std::fs::create_dir_all(dir).map_err(failed)?;
    clap_mangen::generate_to(command, dir).map_err(failed)?;
    Ok(ExitCode::SUCCESS)
}

fn write(bytes: &[u8]) -> Result<ExitCode, Failure> {
    print!("{}", String::from_utf8_lossy(bytes));
    Ok(ExitCode::SUCCESS)
}
