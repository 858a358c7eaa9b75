//! How a result looks to its reader: how much is said, how wide, and whether in colour.

/// Narrower than this nothing is broken into lines: a table of explanations would be no table any more.
const WIDTH_MIN: usize = 40;

const RESET: &str = "\x1b[0m";
const BOLD: &str = "\x1b[1m";
const GREEN: &str = "\x1b[1;32m";
const RED: &str = "\x1b[1;31m";
const YELLOW: &str = "\x1b[33m";
const BLUE: &str = "\x1b[36m";

/// How much is said.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Detail {
    /// The headline, and checks that failed.
    Quiet,
    /// The main trial's account, explanations, and checks that failed.
    Normal,
    /// All trials and all checks.
    Verbose,
}

/// How a result is shown.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Look {
    /// Columns.
    pub width: usize,
    /// Whether with colours, by escape sequences of ECMA-48.
    pub is_coloured: bool,
    /// Whether with the topology as a tree.
    pub has_tree: bool,
    /// How much.
    pub detail: Detail,
}

impl Look {
    /// For a file or a pipe.
    pub const PLAIN: Self = Self {
        width: crate::report::terminal::WIDTH,
        is_coloured: false,
        has_tree: false,
        detail: Detail::Normal,
    };

    /// A finished text in this width and with colours.
    pub fn dress(&self, text: &str) -> String {
        let mut out = String::new();
        for (number, line) in text.lines().enumerate() {
            for part in self.broken(line) {
                out += &if self.is_coloured { coloured(&part, number == 0) } else { part };
                out.push('\n');
            }
        }
        out
    }

    /// A line in parts that fit; those after the first are indented a bit more.
    fn broken(&self, line: &str) -> Vec<String> {
        let width = self.width.max(WIDTH_MIN);
        // Lines that were made for the full width stay as they are there.
        if self.width >= crate::report::terminal::WIDTH || line.chars().count() <= width {
            return vec![line.to_owned()];
        }
        let indent: String = line.chars().take_while(|c| *c == ' ').collect();
        let mut parts = Vec::new();
        let mut part = indent.clone();
        let mut is_empty = true;
        for word in line.split_whitespace() {
            if !is_empty && part.chars().count() + 1 + word.chars().count() > width {
                parts.push(std::mem::replace(&mut part, format!("{indent}  ")));
                is_empty = true;
            }
            if !is_empty {
                part.push(' ');
            }
            part += word;
            is_empty = false;
        }
        parts.push(part);
        parts
    }
}

/// A line in colours: verdicts, what failed, frames that are not accounted for, and what fits.
fn coloured(line: &str, is_head: bool) -> String {
    if is_head {
        return match line.rsplit_once(": ").and_then(|(before, rest)| Some((before, rest.split_once(' ')?))) {
            Some((before, (verdict, time))) => {
                let colour = if matches!(verdict, "PASS" | "XFAIL") { GREEN } else { RED };
                format!("{BOLD}{before}{RESET}: {colour}{verdict}{RESET} {time}")
            }
            None => format!("{BOLD}{line}{RESET}"),
        };
    }
    let trimmed = line.trim_start();
    let first = trimmed.split(' ').next().unwrap_or_default();
    let colour = match first {
        "FAIL" | "ERROR" | "PANIC" | "HANG" | "BOOT-FAIL" => RED,
        "PASS" => GREEN,
        "SKIP" => YELLOW,
        _ if line.contains("UNATTRIBUTED") || line.contains("VACUOUS") => RED,
        _ if line.ends_with("<- fits all of it") => GREEN,
        // Headings are not indented, and neither are the namespaces of a tree.
        _ if !line.starts_with([' ', '├', '└', '│']) && !line.is_empty() => BOLD,
        _ if line.contains("├─") || line.contains("└─") => BLUE,
        _ => return line.to_owned(),
    };
    format!("{colour}{line}{RESET}")
}

#[cfg(test)]
mod tests {
    use super::*;

    const TEXT: &str = "t on Linux 6.1 (microVM, TCG): FAIL in 0.5 s\n  words that go on and on until they do not fit\n\nnode\n└─ bond0 bond\n  FAIL a check\n";

    #[test]
    fn a_plain_text_is_left_alone() {
        assert_eq!(Look::PLAIN.dress(TEXT), TEXT);
    }

    #[test]
    fn a_narrow_terminal_gets_lines_that_fit() {
        let text = Look { width: 40, ..Look::PLAIN }.dress(TEXT);
        assert!(text.lines().all(|line| line.chars().count() <= 40), "{text}");
        assert!(text.contains("  words that go on and on until they do\n    not fit\n"), "{text}");
    }

    /// Without its escape sequences a coloured text is the plain one.
    #[test]
    fn colours_change_nothing_else() {
        let text = Look { is_coloured: true, ..Look::PLAIN }.dress(TEXT);
        assert!(text.contains("\x1b[1;31mFAIL\x1b[0m in 0.5 s"), "{text:?}");
        assert!(text.contains("\x1b[1;31m  FAIL a check\x1b[0m"), "{text:?}");
        let plain =
            [RESET, BOLD, GREEN, RED, YELLOW, BLUE].iter().fold(text, |text, code| text.replace(code, ""));
        assert_eq!(plain, TEXT);
    }
}
