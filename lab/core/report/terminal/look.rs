//! How a result looks to its reader: how much is said, how wide, and whether in colour.

/// Before a line that stays in one piece, as a command does that is to be copied. It is not shown.
pub(crate) const WHOLE: char = '\u{1}';

/// Lines are not made narrower than this.
pub const WIDTH_MIN: usize = 40;

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

    /// Columns for paragraphs.
    pub fn columns(&self) -> usize {
        self.width.clamp(WIDTH_MIN, crate::report::terminal::WIDTH)
    }

    /// A line in parts that fit; those after the first are indented a bit more. Blanks inside of a part stay: columns of a table do.
    fn broken(&self, line: &str) -> Vec<String> {
        if let Some(whole) = line.strip_prefix(WHOLE) {
            return vec![whole.to_owned()];
        }
        let width = self.columns();
        // Lines that were made for the full width stay as they are there.
        if width == crate::report::terminal::WIDTH || line.chars().count() <= width {
            return vec![line.to_owned()];
        }
        let lead: String = line.chars().take_while(|c| LEAD.contains(*c)).collect();
        let below = below(&lead);
        let (mut parts, mut part, mut blanks) = (Vec::new(), lead.clone(), String::new());
        let mut is_empty = true;
        for word in line[lead.len()..].split(' ') {
            let length = part.chars().count() + blanks.len() + word.chars().count();
            if !is_empty && !word.is_empty() && length > width {
                parts.push(std::mem::replace(&mut part, below.clone()));
            } else if !is_empty {
                part += &blanks;
            }
            part += word;
            blanks = " ".to_owned();
            is_empty = false;
        }
        parts.push(part);
        parts.into_iter().map(|part| part.trim_end().to_owned()).collect()
    }
}

/// What is before the first word: blanks, and the lines of a tree.
const LEAD: &str = " │├└─";

/// What is before the rest of a line that is broken: lines of a tree to what comes below it go on.
fn below(lead: &str) -> String {
    if !lead.contains(['├', '└']) {
        return format!("{lead}  ");
    }
    let mut below: String = lead.chars().map(|c| if matches!(c, '├' | '│') { '│' } else { ' ' }).collect();
    below += "  ";
    below
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
        _ if line.ends_with("  <- fits all of it") || line.ends_with("  <-") || line.starts_with("> ") => {
            GREEN
        }
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

    #[test]
    fn what_is_broken_keeps_its_columns_and_its_tree() {
        let narrow = Look { width: 40, ..Look::PLAIN };
        let text = "│  └─ bond0 bond active-backup 192.168.1.40/24 192.168.2.40/24\n├─ e0.70 vlan 70 <-> a-namespace-of-a-long-name:e1\n";
        let expected = "\
│  └─ bond0 bond active-backup
│       192.168.1.40/24 192.168.2.40/24
├─ e0.70 vlan 70 <->
│    a-namespace-of-a-long-name:e1
";
        assert_eq!(narrow.dress(text), expected);
        let row = "  a-name        yes -   yes -   -   yes -   -\n";
        assert_eq!(narrow.dress(row), "  a-name        yes -   yes -   -   yes\n    -   -\n");
        let command = "  mausezahn bond0 -c 10 -Q 70 -b bc -B 192.168.70.1 -t icmp ping\n";
        assert_eq!(narrow.dress(&format!("{WHOLE}{command}")), command);
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
