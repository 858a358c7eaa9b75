//! `nft list ruleset`: which chains drop, where they are hooked, and how much they have counted. Rules are not carried over.

use crate::import::model::Model;
use crate::import::text::{Line, command};

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

/// Reads all that is there.
pub fn read(lines: &[Line<'_>], model: &mut Model) {
    let mut reader = Reader::default();
    for line in lines {
        if command(line.text).is_some() {
            reader = Reader { told: reader.told, ..Reader::default() };
            continue;
        }
        reader.line(line.text.trim(), line.number, model);
    }
}

impl Reader {
    fn line(&mut self, text: &str, number: usize, model: &mut Model) {
        let words: Vec<&str> = text.split_whitespace().take(128).collect();
        match (words.as_slice(), self.table.is_some(), self.chain.is_some()) {
            (["table", family, name, "{", ..], false, _) => {
                model.found("nft list ruleset", number);
                self.table = Some(format!("{family} {name}"));
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
