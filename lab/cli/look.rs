//! How a result is shown to whoever is there: a terminal with its width and colours, or a file.

use std::io::IsTerminal;

use bondlab_core::report::terminal::{Detail, Look};
use bondlab_host::terminal::size;
use clap::Args;

/// How much is said.
#[derive(Debug, Clone, Copy, Args)]
pub struct LookArgs {
    /// Print the headline, and checks that failed
    #[arg(long, short, conflicts_with = "verbose")]
    quiet: bool,
    /// Print all trials, all checks and the topology as a tree; and the steps as they happen, on standard error
    #[arg(long, short)]
    verbose: bool,
}

impl LookArgs {
    /// How a text on standard output is to look. The tree and colours are for a terminal; NO_COLOR (<https://no-color.org>) and
    /// `TERM=dumb` leave colours away.
    pub fn look(self) -> Look {
        let is_terminal = std::io::stdout().is_terminal();
        Look {
            width: width(),
            is_coloured: is_terminal && wants_colours(),
            has_tree: is_terminal || self.verbose,
            detail: match (self.quiet, self.verbose) {
                (true, _) => Detail::Quiet,
                (_, true) => Detail::Verbose,
                _ => Detail::Normal,
            },
        }
    }

    /// Whether steps are shown as they happen: where somebody looks at a terminal, or asked for it.
    pub fn shows_steps(self) -> bool {
        self.verbose || (!self.quiet && std::io::stderr().is_terminal() && std::io::stdout().is_terminal())
    }
}

/// Columns of standard output: those of a terminal, and never more than a text of the lab has in a file.
pub fn width() -> usize {
    let columns = size().filter(|_| std::io::stdout().is_terminal()).map(|(_, columns)| columns.into());
    columns.unwrap_or(usize::MAX).min(Look::PLAIN.width)
}

fn wants_colours() -> bool {
    let is_set = |name| std::env::var_os(name).is_some_and(|value| !value.is_empty());
    !is_set("NO_COLOR") && std::env::var_os("TERM").is_none_or(|term| term != "dumb")
}
