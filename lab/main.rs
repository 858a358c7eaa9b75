//! The `lab` command: arguments in, exit code out. As PID 1 it is the agent of a guest.

mod cli;

use std::process::ExitCode;

#[global_allocator]
static ALLOCATOR: cli::allocator::Allocator = cli::allocator::Allocator;

fn main() -> ExitCode {
    if lab::guest::init::is_init() {
        lab::guest::init::run(|reader, writer, ready| {
            lab::guest::agent::serve_machine(reader, writer, ready, lab::judge::mutation::order)
        });
    }
    cli::main()
}
