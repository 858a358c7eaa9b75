//! `ip rule`, as text and as JSON, and rules of configurations in the same words.

use crate::import::model::Model;
use crate::import::routing::{self, add_rule, selector};
use crate::import::text::{Line, command};
use crate::import::value::Value;
use crate::net::route::Rule;

/// Reads all that is there.
pub fn read(lines: &[Line<'_>], model: &mut Model) {
    let mut is_ipv6 = false;
    for line in lines {
        if line.begins {
            let words = command(line.text);
            is_ipv6 = words.as_ref().is_some_and(|words| words.contains(&"-6"));
            if words.is_some() {
                continue;
            }
        }
        let Some((priority, rest)) = line.text.trim().split_once(':') else { continue };
        let Ok(priority) = priority.parse::<u32>() else { continue };
        let words: Vec<&str> = rest.split_whitespace().take(32).collect();
        let is_rule =
            words.first() == Some(&"from") || (words.first() == Some(&"not") && words.contains(&"from"));
        if !is_rule || words.len() < 3 {
            continue;
        }
        model.found("ip rule", line.number);
        let rule = of_words(priority, &words, is_ipv6, model);
        add(&format!("{priority} ({})", words.join(" ")), rule, model);
    }
}

/// A rule that a configuration asks for, in words of ip(8). Without a table it leads to `main`.
pub fn configured(words: &[&str], is_ipv6: bool, model: &mut Model) {
    let has = |keys: &[&str]| words.iter().any(|word| keys.contains(word));
    let mut all = words.to_vec();
    if !has(&["table", "lookup", "unreachable", "blackhole", "prohibit", "nop", "goto"]) {
        all.extend(["table", "main"]);
    }
    let mut rule = of_words(0, &all, is_ipv6, model);
    let shown = words.join(" ");
    if let Ok(rule) = &mut rule
        && !has(&PRIORITY)
    {
        rule.priority = next_priority(rule.ipv6, model);
        model.note(format!(
            "rule {shown}: it has no priority, and gets {} as the kernel gives it to the next one",
            rule.priority
        ));
    }
    add(&shown, rule, model);
}

/// One below all others of the family but the first (`fib_default_rule_pref()`).
fn next_priority(is_ipv6: bool, model: &Model) -> u32 {
    let of_family = model.rules.iter().filter(|rule| rule.ipv6 == is_ipv6 && rule.priority > 0);
    of_family.map(|rule| rule.priority).chain([32766]).min().unwrap_or(1).saturating_sub(1)
}

/// Words for the place of a rule among the others.
const PRIORITY: [&str; 5] = ["priority", "prio", "pref", "preference", "order"];

/// The rule of VRFs comes with the first of them (`vrf_add_fib_rules()`).
const OF_VRFS: &str = "l3mdev";

fn add(words: &str, rule: Result<Rule, String>, model: &mut Model) {
    if rule.as_ref().is_err_and(|what| what == OF_VRFS) {
        return;
    }
    add_rule(words, rule, model);
}

/// One keyword and its value.
fn set(rule: &mut Rule, key: &str, value: &str, model: &mut Model) -> Result<(), String> {
    match key {
        key if PRIORITY.contains(&key) => {
            rule.priority = value.parse().map_err(|_| format!("the priority {value}"))?;
        }
        "from" | "src" => rule.from = selector(value)?,
        "to" | "dst" => rule.to = selector(value)?,
        "iif" => rule.iif = Some(value.parse().map_err(|_| format!("the device {value}"))?),
        "oif" => rule.oif = Some(value.parse().map_err(|_| format!("the device {value}"))?),
        "fwmark" => {
            let digits = value.strip_prefix("0x");
            let mark = digits.map_or_else(|| value.parse().ok(), |hex| u32::from_str_radix(hex, 16).ok());
            rule.fwmark = Some(mark.ok_or("a mark with a mask")?);
        }
        "lookup" | "table" if value.contains("l3mdev") => return Err(OF_VRFS.into()),
        "lookup" | "table" => rule.table = Some(routing::table_number(value, model)),
        "proto" | "protocol" => {}
        other => return Err(other.into()),
    }
    rule.ipv6 |= [rule.from, rule.to].iter().flatten().any(|network| network.address.is_ipv6());
    Ok(())
}

fn empty(priority: u32, ipv6: bool) -> Rule {
    Rule { priority, ipv6, from: None, to: None, iif: None, oif: None, fwmark: None, table: None }
}

fn of_words(priority: u32, words: &[&str], is_ipv6: bool, model: &mut Model) -> Result<Rule, String> {
    let mut rule = empty(priority, is_ipv6);
    let mut rest = words;
    let mut is_refused = false;
    while let [key, more @ ..] = rest {
        rest = match (*key, more) {
            ("unreachable", more) => {
                is_refused = true;
                more
            }
            // BusyBox: a rule of another action, whose name follows.
            ("lookup" | "table", ["unspec", more @ ..]) => more,
            ("not", _) => return Err("`not`".into()),
            (key @ ("blackhole" | "prohibit" | "nop"), _) => return Err(format!("{key} rules")),
            (key, [value, more @ ..]) if !key.starts_with('[') => {
                set(&mut rule, key, value, model)?;
                more
            }
            (key, more) if key.starts_with('[') => more,
            (key, _) => return Err(key.into()),
        };
    }
    whole(rule, is_refused)
}

/// A rule leads to a table, or refuses.
fn whole(rule: Rule, is_refused: bool) -> Result<Rule, String> {
    let is_mixed =
        rule.from.zip(rule.to).is_some_and(|(from, to)| from.address.is_ipv4() != to.address.is_ipv4());
    match (rule.table, is_refused) {
        _ if is_mixed => Err("networks of two families".into()),
        (None, false) => Err("a rule without a table".into()),
        (Some(0), _) => Err("table 0".into()),
        _ => Ok(rule),
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
    // IPv6 has no rule for the table `default` (`fib6_rules_net_init()`).
    let mut rules = value.items().iter().filter(|item| is_rule(item));
    let (mut has_main, mut has_default) = (false, false);
    for item in rules.clone() {
        has_main |= item.text_of("priority") == Some("32766");
        has_default |= item.text_of("priority") == Some("32767");
    }
    let is_ipv6 = has_main && !has_default;
    for item in rules.by_ref() {
        model.found("ip -j rule", line);
        let entries = item.entries().iter().filter(|(key, _)| key != "priority");
        let words: Vec<String> = entries.map(|(key, value)| format!("{key} {}", value.joined())).collect();
        let rule = of_json(item, is_ipv6, model);
        add(&format!("{} ({})", item.text_of("priority").unwrap_or_default(), words.join(" ")), rule, model);
    }
}

fn of_json(item: &Value, is_ipv6: bool, model: &mut Model) -> Result<Rule, String> {
    let mut rule = empty(item.number_of("priority").ok_or("a rule without a priority")?, is_ipv6);
    let mut is_refused = false;
    for (key, value) in item.entries() {
        let value = value.joined();
        match key.as_str() {
            "priority" | "protocol" | "detached" | "iif_detached" | "oif_detached" => {}
            "srclen" => set(
                &mut rule,
                "from",
                &format!("{}/{value}", item.text_of("src").unwrap_or_default()),
                model,
            )?,
            "dstlen" => {
                set(&mut rule, "to", &format!("{}/{value}", item.text_of("dst").unwrap_or_default()), model)?
            }
            "src" if item.get("srclen").is_some() => {}
            "dst" if item.get("dstlen").is_some() => {}
            "action" if value == "unreachable" => is_refused = true,
            "action" if value == "to_tbl" => {}
            "action" => return Err(format!("{value} rules")),
            "l3mdev" => return Err(OF_VRFS.into()),
            "fwmask" => return Err("a mark with a mask".into()),
            key => set(&mut rule, key, &value, model)?,
        }
    }
    whole(rule, is_refused)
}
