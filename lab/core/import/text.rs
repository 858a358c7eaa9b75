//! A pasted text as lines: quoting of mails, prompts and Markdown taken off, blocks of code found.

use std::collections::BTreeMap;

use crate::net::clean;

/// What the lab reads of one source at the most, in bytes.
pub const SOURCE_BYTES_MAX: usize = 4 * 1024 * 1024;

/// What is read of one line, in bytes. `ip -d link` prints lines of 1 KB.
const LINE_BYTES_MAX: usize = 8 * 1024;

/// One line.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Line<'t> {
    /// From 1.
    pub number: usize,
    /// Without quoting and line end; white space at its beginning is kept.
    pub text: &'t str,
    /// Whether it stands in a block of code, or the whole text has none.
    pub is_code: bool,
    /// Whether another thing begins with it, and no line above it has anything to do with it: a command, or the first line below
    /// a block of code or a ruleset.
    pub begins: bool,
}

impl<'t> Line<'t> {
    /// Its words.
    pub fn words(&self) -> impl Iterator<Item = &'t str> {
        self.text.split_whitespace()
    }
}

/// A run of lines that belongs together: a block of code, a here-document, or all of the text.
#[derive(Debug, Clone)]
pub struct Block {
    /// Of its first line, from 1.
    pub line: usize,
    /// Its text, with the common indentation taken off.
    pub text: String,
}

/// The lines of a text.
pub fn lines(text: &str) -> Vec<Line<'_>> {
    let has_code = text.lines().any(|line| fence(unquoted(line)).is_some());
    let (mut is_inside, mut is_closed) = (false, false);
    let mut all = Vec::new();
    for (at, line) in text.lines().enumerate() {
        let line = unquoted(bounded(line));
        if fence(line).is_some() {
            is_inside = !is_inside;
            // What stands above a block may be the command whose output is in it.
            is_closed |= !is_inside;
            continue;
        }
        let begins = std::mem::take(&mut is_closed) || command(line).is_some();
        all.push(Line { number: at + 1, text: line, is_code: is_inside || !has_code, begins });
    }
    all
}

/// Whether a line opens or closes a block of code: Markdown's fence, AsciiDoc's, or a short code of Hugo.
fn fence(line: &str) -> Option<()> {
    let line = line.trim();
    // Backticks that are closed on their line are code within a sentence.
    let is_fence = (line.starts_with("```") && !line.trim_start_matches('`').contains('`'))
        || line.starts_with("~~~")
        || line == "----"
        || (line.starts_with("{{<") && line.contains("highlight") && line.ends_with(">}}"));
    is_fence.then_some(())
}

/// Without the marks of quoted mail. Lines of YAML that fold a text (`>`) have something before it.
fn unquoted(line: &str) -> &str {
    let mut rest = line;
    while let Some(inner) = rest.strip_prefix('>') {
        rest = inner.strip_prefix(' ').unwrap_or(inner);
    }
    rest.trim_end()
}

fn bounded(line: &str) -> &str {
    let mut end = line.len().min(LINE_BYTES_MAX);
    while !line.is_char_boundary(end) {
        end -= 1;
    }
    &line[..end]
}

/// All lines of a text in full, without quoting and line ends.
pub fn whole(text: &str) -> Vec<&str> {
    text.lines().map(unquoted).collect()
}

/// Blocks of a text at the most.
const BLOCKS_MAX: usize = 200;

/// Blocks in which a document of its own may stand: those between fences, here-documents, and the whole text first.
pub fn blocks(whole: &[&str]) -> Vec<Block> {
    let mut all = vec![block(1, whole)];
    let mut open: Option<usize> = None;
    for (at, line) in whole.iter().enumerate() {
        if fence(line).is_some() {
            match open.take() {
                Some(from) => all.push(block(from + 1, &whole[from..at])),
                None => open = Some(at + 1),
            }
        }
    }
    all.extend(open.map(|from| block(from + 1, &whole[from..])));
    all.extend(here_documents(whole));
    all.retain(|block| !block.text.trim().is_empty());
    all.truncate(BLOCKS_MAX);
    all
}

/// `cat <<EOF > FILE` up to its end.
fn here_documents(lines: &[&str]) -> Vec<Block> {
    let is_word = |word: &str| {
        !word.is_empty() && word.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'_')
    };
    let mut ends: BTreeMap<&str, Vec<usize>> = BTreeMap::new();
    for (at, line) in lines.iter().enumerate().filter(|(_, line)| is_word(line.trim())) {
        ends.entry(line.trim()).or_default().push(at);
    }
    let mut found = Vec::new();
    let mut from = 0;
    while let Some(at) = lines[from..].iter().position(|line| line.contains("<<")).map(|at| from + at) {
        from = at + 1;
        let word = lines[at].split("<<").nth(1).unwrap_or_default();
        let word = word.trim_start_matches(['-', ' ']).split_whitespace().next().unwrap_or_default();
        let word = word.trim_matches(['\'', '"']);
        let end = ends.get(word).and_then(|ends| ends.get(ends.partition_point(|end| *end < from)));
        if let Some(end) = end {
            found.push(block(from + 1, &lines[from..*end]));
            from = end + 1;
        }
    }
    found
}

/// The lines of a block of which the first one has this number.
fn block(line: usize, lines: &[&str]) -> Block {
    let indent = |line: &str| line.len() - line.trim_start_matches(' ').len();
    let common =
        lines.iter().filter(|line| !line.trim().is_empty()).map(|line| indent(line)).min().unwrap_or(0);
    let texts: Vec<&str> = lines.iter().map(|line| line.get(common..).unwrap_or_default()).collect();
    Block { line, text: texts.join("\n") }
}

/// A text as it may be read: bounded, with what is no text spelt out.
///
/// # Errors
/// When it is longer than [`SOURCE_BYTES_MAX`]; the number of bytes it has.
pub fn prepared(text: &str) -> Result<String, usize> {
    if text.len() > SOURCE_BYTES_MAX {
        return Err(text.len());
    }
    // Fixtures of parsers write tabs as escapes.
    Ok(clean::lines(text).replace("\\t", "\t"))
}

/// Programs whose output is read.
const PROGRAMS: [&str; 8] = ["ip", "bridge", "tc", "ethtool", "nft", "cat", "uname", "dmesg"];

/// What `ip` is asked for.
const OBJECTS: [&str; 22] = [
    "link",
    "l",
    "li",
    "address",
    "addr",
    "a",
    "ad",
    "add",
    "route",
    "r",
    "ro",
    "rule",
    "ru",
    "neighbour",
    "neighbor",
    "neigh",
    "n",
    "netns",
    "maddr",
    "tunnel",
    "macsec",
    "vrf",
];

/// The words of a command in a transcript, without prompt, `sudo` and path: `[root@node ~]# /sbin/tc -s qdisc`.
pub fn command(text: &str) -> Option<Vec<&str>> {
    let words: Vec<&str> = text.split_whitespace().take(64).collect();
    let name = |word: &'_ str| word.rsplit_once('/').map_or(word.len(), |(_, name)| name.len());
    let program = |word: &&str| PROGRAMS.contains(&&word[word.len() - name(word)..]);
    let at = words.iter().take(12).position(program)?;
    let is_prompt = at.checked_sub(1).is_none_or(|before| {
        let word = words[before];
        word.ends_with(['#', '$', '%', ';', '|']) || ["sudo", "--"].contains(&word)
    });
    // Without a prompt it may be another line: `bridge forward_delay` of `ip -d link`, `ip daddr` of an nft rule.
    let second = words.get(at + 1).copied().unwrap_or_default();
    let is_shown = at == 0
        && match words[0] {
            "bridge" => second == "forward_delay",
            "ip" => !second.starts_with('-') && !OBJECTS.contains(&second),
            _ => false,
        };
    let first = words[at];
    let rest = words[at + 1..].iter().copied();
    (is_prompt && !is_shown)
        .then(|| std::iter::once(&first[first.len() - name(first)..]).chain(rest).collect())
}

/// The value behind a word: `master` in `mtu 1500 master bond0`.
pub fn after<'t>(text: &'t str, word: &str) -> Option<&'t str> {
    let mut words = text.split_whitespace();
    words.find(|is| *is == word)?;
    words.next()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn quoting_of_mails_and_fences_are_taken_off() {
        let text = "> > a\n```\n> b\n```\nc\n";
        let lines: Vec<_> = lines(text).iter().map(|line| (line.number, line.text, line.is_code)).collect();
        assert_eq!(lines, [(1, "a", false), (3, "b", true), (5, "c", false)]);
    }

    #[rstest::rstest]
    #[case("[root@node ~]# /usr/sbin/ethtool -S eth0", &["ethtool", "-S", "eth0"])]
    #[case("# /sbin/tc -s qdisc", &["tc", "-s", "qdisc"])]
    #[case("$ kubectl exec p -- ip rule", &["ip", "rule"])]
    #[case("$ sudo nft list ruleset", &["nft", "list", "ruleset"])]
    #[case("the ip address of eth0", &[])]
    #[case("    bridge forward_delay 1500 hello_time 200", &[])]
    #[case("\t\tip daddr 198.51.100.7 counter packets 11 bytes 924 drop", &[])]
    #[case("ip a", &["ip", "a"])]
    fn commands_are_found_behind_their_prompts(#[case] text: &str, #[case] expected: &[&str]) {
        assert_eq!(command(text).unwrap_or_default(), expected);
    }

    #[test]
    fn code_within_a_line_is_no_fence() {
        let lines: Vec<_> =
            lines("```ip a```\na\n```\nb\n```\n").iter().map(|line| (line.text, line.is_code)).collect();
        assert_eq!(lines, [("```ip a```", false), ("a", false), ("b", true)]);
    }

    #[test]
    fn a_command_and_the_end_of_a_block_begin_something() {
        let text = "# ip link\na\n```\nb\n```\nc\nd\n";
        let begins: Vec<_> = lines(text).iter().filter(|line| line.begins).map(|line| line.text).collect();
        assert_eq!(begins, ["# ip link", "c"]);
    }

    #[test]
    fn blocks_are_found_with_their_lines() {
        let text = "x\n    ```yaml\n    a:\n      b: 1\n    ```\ncat << EOF > f\nc: 2\nEOF\n";
        let blocks = blocks(&whole(text));
        let found: Vec<_> = blocks.iter().skip(1).map(|block| (block.line, block.text.as_str())).collect();
        assert_eq!(found, [(3, "a:\n  b: 1"), (7, "c: 2")]);
    }
}
