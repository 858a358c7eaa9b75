//! The `lab` command: arguments in, exit code out. As PID 1 it is the agent of a guest.

mod cli;

use std::process::ExitCode;

#[global_allocator]
static ALLOCATOR: cli::allocator::Allocator = cli::allocator::Allocator;

fn main() -> ExitCode {
    if bondlab_guest::init::is_init() {
        bondlab_guest::init::run(|reader, writer, ready| {
            bondlab_guest::agent::serve_machine(reader, writer, ready, bondlab_core::judge::mutation::order)
        });
    }
    cli::main()
}
