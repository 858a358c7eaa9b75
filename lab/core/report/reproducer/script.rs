//! A script in the making: commands, comments, and what cannot be written as a command.

use crate::net::clean;

/// Lines of a POSIX shell script.
#[derive(Debug, Default)]
pub struct Script {
    /// The lines so far.
    pub lines: Vec<String>,
    /// What is not done, in the order of the plan.
    pub missing: Vec<String>,
}

impl Script {
    /// A command. Names in it are quoted by [`quoted`].
    pub fn run(&mut self, command: impl Into<String>) {
        self.lines.push(command.into());
    }

    /// A comment; line breaks and control characters of `text` do not end it.
    pub fn comment(&mut self, text: &str) {
        self.lines.push(format!("# {}", clean::line(text)));
    }

    /// Something that no command does: a comment, a line on standard error when the script comes there, and a note of the lab.
    pub fn missing(&mut self, what: &str, why: &str) {
        let text = format!("{}: {why}", clean::line(what));
        self.lines.push(format!("not_done {}", quoted(&text)));
        self.missing.push(text);
    }
}

/// A text as one word of a shell command, whatever is in it.
pub fn quoted(text: &str) -> String {
    let is_plain = |c: char| c.is_ascii_alphanumeric() || "._-:/@=,+".contains(c);
    if !text.is_empty() && text.chars().all(is_plain) {
        return text.to_owned();
    }
    format!("'{}'", text.replace('\'', "'\\''"))
}
