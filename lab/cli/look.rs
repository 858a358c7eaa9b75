//! How a result is shown to whoever is there: a terminal with its width and colours, or a file.

use std::io::IsTerminal;

use clap::Args;
use lab::host::terminal::size;
use lab::report::terminal::{Detail, Look};

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
        let width = size().filter(|_| is_terminal).map_or(Look::PLAIN.width, |(_, columns)| columns.into());
        Look {
            width: width.min(Look::PLAIN.width),
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

fn wants_colours() -> bool {
    let is_set = |name| std::env::var_os(name).is_some_and(|value| !value.is_empty());
    !is_set("NO_COLOR") && std::env::var_os("TERM").is_none_or(|term| term != "dumb")
}
