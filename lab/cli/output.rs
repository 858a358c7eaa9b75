//! What the lab writes to its standard output and error, and how it ends when that cannot be written.
//!
//! The macros of the standard library panic there, and forget what could not be flushed at the end. Those here take their
//! places in all that follows.

use std::fmt;
use std::io::{self, Write};
use std::process::exit;

/// What a shell says of a command that SIGPIPE has ended.
const EXIT_SIGPIPE: i32 = 128 + libc::SIGPIPE;

/// An output error or a shortage: `EX_IOERR` of sysexits.h.
pub const IO_ERROR: u8 = 74;

macro_rules! print {
    ($($text:tt)*) => { $crate::cli::output::write(format_args!($($text)*)) };
}

macro_rules! println {
    () => { $crate::cli::output::write(format_args!("\n")) };
    ($($text:tt)*) => { $crate::cli::output::write(format_args!("{}\n", format_args!($($text)*))) };
}

macro_rules! eprint {
    ($($text:tt)*) => { $crate::cli::output::tell(format_args!($($text)*)) };
}

macro_rules! eprintln {
    () => { $crate::cli::output::tell(format_args!("\n")) };
    ($($text:tt)*) => { $crate::cli::output::tell(format_args!("{}\n", format_args!($($text)*))) };
}

/// Writes to standard output, or ends the lab.
pub fn write(text: fmt::Arguments<'_>) {
    if let Err(error) = io::stdout().lock().write_fmt(text) {
        give_up(&error);
    }
}

/// Writes out what standard output still holds, or ends the lab: the result is not where it was to be.
pub fn finish() {
    if let Err(error) = io::stdout().lock().flush() {
        give_up(&error);
    }
}

/// Writes to standard error. When that is full or closed, the text is lost.
pub fn tell(text: fmt::Arguments<'_>) {
    let _ = io::stderr().lock().write_fmt(text);
}

/// `lab ... | head` ends when its reader does, without a word, with the exit code a shell gives to that. SIGPIPE stays
/// ignored, as Rust's runtime leaves it: a QEMU that dies must not end the lab.
pub fn give_up(error: &io::Error) -> ! {
    if error.kind() == io::ErrorKind::BrokenPipe {
        exit(EXIT_SIGPIPE);
    }
    eprintln!("error: cannot write to standard output: {error}");
    exit(IO_ERROR.into());
}

/// Has a thread that cannot be started end the lab with a line, and not with a backtrace: `std::thread::spawn` panics
/// where the system has no room for one more.
pub fn end_without_threads() {
    let report = std::panic::take_hook();
    std::panic::set_hook(Box::new(move |panic| {
        let said = panic.payload_as_str().unwrap_or_default();
        if let Some(error) = said.strip_prefix("failed to spawn thread: ") {
            eprintln!("error: this machine has no room for one more thread: {error}");
            exit(IO_ERROR.into());
        }
        report(panic);
    }));
}
