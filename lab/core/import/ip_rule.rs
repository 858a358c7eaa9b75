//! `ip rule`, as text and as JSON: a topology has one routing table, so rules are reported and left out.

use crate::import::model::Model;
use crate::import::text::Line;
use crate::import::value::Value;

/// The three rules that each machine has (`fib_default_rules_init()`).
const DEFAULT: [(u32, &str); 3] = [(0, "local"), (32766, "main"), (32767, "default")];

/// Reads all that is there.
pub fn read(lines: &[Line<'_>], model: &mut Model) {
    for line in lines {
        let Some((priority, rest)) = line.text.trim().split_once(':') else { continue };
        let Ok(priority) = priority.parse::<u32>() else { continue };
        let words: Vec<&str> = rest.split_whitespace().take(32).collect();
        let is_rule =
            words.first() == Some(&"from") || (words.first() == Some(&"not") && words.contains(&"from"));
        let table = ["lookup", "goto"].iter().find_map(|word| {
            let at = words.iter().position(|is| is == word)?;
            words.get(at + 1).copied()
        });
        let table = table.or_else(|| words.last().copied());
        if !is_rule || words.len() < 3 {
            continue;
        }
        model.found("ip rule", line.number);
        seen(priority, table.unwrap_or_default(), &words.join(" "), words[1] == "all", model);
    }
}

fn seen(priority: u32, table: &str, words: &str, is_for_all: bool, model: &mut Model) {
    if !(is_for_all && DEFAULT.contains(&(priority, table))) {
        model.note(format!("rule {priority} ({words}): a topology has one routing table, and no rules"));
    }
}

/// Whether a document is of this format.
pub fn is_known(value: &Value) -> bool {
    value.items().iter().any(is_rule)
}

fn is_rule(item: &Value) -> bool {
    item.get("priority").is_some() && item.get("src").is_some() && item.get("ifname").is_none()
}

/// Reads a document.
pub fn read_json(value: &Value, line: usize, model: &mut Model) {
    for item in value.items().iter().filter(|item| is_rule(item)) {
        model.found("ip -j rule", line);
        let priority = item.number_of("priority").unwrap_or(0);
        let entries = item.entries().iter().filter(|(key, _)| key != "priority");
        let words: Vec<String> = entries.map(|(key, value)| format!("{key} {}", value.joined())).collect();
        let table = item.text_of("table").unwrap_or_default();
        seen(priority, table, &words.join(" "), item.text_of("src") == Some("all"), model);
    }
}
