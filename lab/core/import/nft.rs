//! `nft list ruleset`: which chains drop, where they are hooked, and how much they have counted. Rules are not carried over.

use crate::import::model::Model;
use crate::import::text::Line;

/// Chains that are reported.
const CHAINS_MAX: usize = 32;

#[derive(Default)]
struct Reader {
    table: Option<String>,
    chain: Option<Chain>,
    /// Braces of sets, maps and other things inside that are open.
    inner: usize,
    told: usize,
}

#[derive(Default)]
struct Chain {
    name: String,
    /// `hook egress device "bond0"`, where it is a base chain.
    hook: Option<String>,
    drops_rest: bool,
    /// Rules that drop or reject, and what they have counted.
    drops: usize,
    counted: Option<u64>,
    masquerades: bool,
}

/// Families of tables, as `nft` writes them.
const FAMILIES: [&str; 6] = ["ip", "ip6", "inet", "arp", "bridge", "netdev"];

/// A table whose end has not come yet.
struct Table {
    /// White space before it.
    indent: usize,
    /// Braces that are open.
    depth: usize,
    /// Whether what is in it is indented, as `nft` writes it; not every forum keeps that.
    is_indented: Option<bool>,
}

impl Table {
    /// `table inet filter {`, and `table filter {` of a file.
    fn of(text: &str) -> Option<Self> {
        let words: Vec<&str> = text.split_whitespace().take(5).collect();
        match words[..] {
            ["table", family, _, "{", ..] if FAMILIES.contains(&family) => {}
            ["table", _, "{", ..] => {}
            _ => return None,
        }
        let mut table = Self { indent: indent(text), depth: 0, is_indented: None };
        table.count(text);
        Some(table)
    }

    /// Braces outside of comments' quotes.
    fn count(&mut self, text: &str) {
        for part in text.split('"').step_by(2) {
            self.depth += part.matches('{').count();
            self.depth = self.depth.saturating_sub(part.matches('}').count());
        }
    }

    /// Whether a line is in it. One that stands further left is not: the table's end is missing.
    fn takes(&mut self, text: &str) -> bool {
        let is_deeper = indent(text) > self.indent;
        if !text.trim().is_empty() {
            let is_indented = *self.is_indented.get_or_insert(is_deeper);
            if is_indented && !is_deeper && !text.trim().starts_with('}') {
                return false;
            }
        }
        self.count(text);
        true
    }
}

fn indent(text: &str) -> usize {
    text.len() - text.trim_start().len()
}

/// All other lines, and those of rulesets: rules have words of many formats, and no other reader may take them for its own.
pub fn apart(lines: Vec<Line<'_>>) -> (Vec<Line<'_>>, Vec<Line<'_>>) {
    let (mut others, mut rules) = (Vec::with_capacity(lines.len()), Vec::new());
    let mut table: Option<Table> = None;
    let mut is_behind = false;
    for mut line in lines {
        // A command is in no table, whatever is missing of it.
        let is_inside = !line.begins && table.as_mut().is_some_and(|open| open.takes(line.text));
        if !is_inside {
            table = Table::of(line.text);
            line.begins |= is_behind || table.is_some();
        }
        is_behind = is_inside || table.is_some();
        (if is_behind { &mut rules } else { &mut others }).push(line);
        table = table.filter(|open| open.depth > 0);
    }
    (others, rules)
}

/// Reads what [`apart`] found.
pub fn read(lines: &[Line<'_>], model: &mut Model) {
    let mut reader = Reader::default();
    for line in lines {
        if line.begins {
            reader = Reader { told: reader.told, ..Reader::default() };
        }
        reader.line(line.text.trim(), line.number, model);
    }
}

impl Reader {
    fn line(&mut self, text: &str, number: usize, model: &mut Model) {
        let words: Vec<&str> = text.split_whitespace().take(128).collect();
        match (words.as_slice(), self.table.is_some(), self.chain.is_some()) {
            (["table", rest @ ..], false, _) => {
                model.found("nft list ruleset", number);
                let name = rest.split(|word| *word == "{").next().unwrap_or_default();
                self.table = Some(name.join(" "));
            }
            (["chain", name, "{", ..], true, false) if self.inner == 0 => {
                self.chain = Some(Chain { name: (*name).to_owned(), ..Chain::default() });
            }
            (["}"], true, true) => {
                let chain = self.chain.take();
                self.close(chain.unwrap_or_default(), model);
            }
            (["}", ..], true, false) if self.inner > 0 => self.inner -= 1,
            (["}", ..], true, false) => self.table = None,
            (_, true, false) if text.ends_with('{') => self.inner += 1,
            (words, true, true) => self.rule(words, text),
            _ => {}
        }
    }

    fn rule(&mut self, words: &[&str], text: &str) {
        let Some(chain) = &mut self.chain else { return };
        if words.first() == Some(&"type") {
            let hook = text.split_once(" hook ").map(|(_, rest)| rest);
            let end = hook.map(|hook| hook.split(" priority").next().unwrap_or(hook).replace('"', ""));
            chain.hook = end.map(|hook| format!("hook {hook}"));
            chain.drops_rest = text.contains("policy drop");
            return;
        }
        let verdict = words.iter().position(|word| matches!(*word, "drop" | "reject"));
        if verdict.is_some() {
            chain.drops += 1;
            let at = words.windows(2).position(|pair| pair == ["counter", "packets"]);
            let counted = at.and_then(|at| words.get(at + 2)).and_then(|number| number.parse::<u64>().ok());
            chain.counted = match (chain.counted, counted) {
                (Some(all), Some(more)) => Some(all.saturating_add(more)),
                (all, more) => all.or(more),
            };
        }
        chain.masquerades |= words.iter().any(|word| matches!(*word, "masquerade" | "snat" | "dnat"));
    }

    fn close(&mut self, chain: Chain, model: &mut Model) {
        let table = self.table.clone().unwrap_or_default();
        let hook = chain.hook.unwrap_or_else(|| "no hook of its own".to_owned());
        let name = format!("nft table {table}, chain {} ({hook})", chain.name);
        if self.told == CHAINS_MAX {
            return;
        }
        if chain.drops > 0 || chain.drops_rest {
            let rest = if chain.drops_rest { ", and its policy is drop" } else { "" };
            let counted =
                chain.counted.map_or(String::new(), |counted| format!(" with {counted} packets counted"));
            model.note(format!(
                "{name}: {} rules drop{counted}{rest}; rulesets are not carried over, filters are among the hypotheses",
                chain.drops
            ));
            self.told += 1;
        } else if chain.masquerades {
            model.note(format!("{name}: it translates addresses, which is not carried over"));
            self.told += 1;
        }
    }
}
