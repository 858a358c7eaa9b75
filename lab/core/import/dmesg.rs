//! What bonding writes into the kernel's log: `slave_info()` and `netdev_info()` of drivers/net/bonding.

use crate::import::model::{Kind, Model, shortened};
use crate::import::options;
use crate::import::text::Line;
use crate::net::name::IfName;
use crate::topology::lint::table::{ARP_MONITOR_REFUSED, DUPLICATE_MAC, FAIL_OVER_MAC_VF};

/// Reads all that is there.
pub fn read(lines: &[Line<'_>], model: &mut Model) {
    for line in lines {
        let text = line.text.replace("**", "");
        if let Some((bond, port, message)) = message(&text) {
            said(&bond, port.as_ref(), &message, line.number, model);
        }
    }
}

/// `... bond0: (slave eth0): link status definitely down, disabling slave`, and before 5.3 `bond0: link status definitely down
/// for interface eth0, disabling it`: bond, port and the message.
fn message(text: &str) -> Option<(IfName, Option<IfName>, String)> {
    let words: Vec<&str> = text.split_whitespace().take(48).collect();
    let at = words.iter().position(|word| is_bond(word) && word.ends_with(':'))?;
    let bond: IfName = words[at].trim_end_matches(':').parse().ok()?;
    let rest = &words[at + 1..];
    if let ["(slave" | "(port", port, rest @ ..] = rest {
        let port = port.trim_end_matches(':').strip_suffix(')')?.parse().ok()?;
        return Some((bond, Some(port), rest.join(" ")));
    }
    let message = rest.join(" ");
    known(&message)?;
    let port = rest.iter().find_map(|word| {
        let name = word.trim_matches([',', '!', '.']);
        let has_digit = name.bytes().any(|byte| byte.is_ascii_digit()) && name.len() > 2;
        let is_name = has_digit && name.starts_with(|c: char| c.is_ascii_lowercase());
        (is_name && !is_bond(name)).then(|| name.parse::<IfName>().ok())?
    });
    Some((bond, port, message))
}

fn is_bond(word: &str) -> bool {
    let rest = word.trim_end_matches(':').strip_prefix("bond");
    rest.is_some_and(|rest| !rest.is_empty() && rest.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'_'))
}

/// What a message means.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Meaning {
    Down,
    Up,
    JoinedUp,
    JoinedDown,
    Active,
    Left,
    NoPartner,
    NoActive,
    ArpRefused,
    MacRefused,
    SameMac,
}

/// Parts of messages, the longer ones first.
const MEANINGS: &[(&str, Meaning)] = &[
    ("link status definitely down", Meaning::Down),
    ("link status definitely up", Meaning::Up),
    ("link status up again", Meaning::Up),
    ("interface with an up link", Meaning::JoinedUp),
    ("interface with a down link", Meaning::JoinedDown),
    ("making interface", Meaning::Active),
    ("Releasing ", Meaning::Left),
    ("Removing slave", Meaning::Left),
    ("No 802.3ad response from the link partner", Meaning::NoPartner),
    ("running without any active interface", Meaning::NoActive),
    ("option arp_interval: mode dependency failed", Meaning::ArpRefused),
    ("doesn't support setting the MAC address", Meaning::MacRefused),
    ("does not support setting the MAC address", Meaning::MacRefused),
    ("Error -22 calling dev_set_mac_address", Meaning::MacRefused),
    ("permanent HWaddr of slave", Meaning::SameMac),
    ("is still in use by bond", Meaning::SameMac),
];

fn known(message: &str) -> Option<Meaning> {
    MEANINGS.iter().find(|(words, _)| message.contains(words)).map(|(_, meaning)| *meaning)
}

fn said(bond: &IfName, port: Option<&IfName>, message: &str, number: usize, model: &mut Model) {
    if model.link(bond.as_str()).is_none() {
        return;
    }
    model.found("the kernel's log of bonding", number);
    model.kind(bond.as_str(), Kind::Bond);
    let Some(meaning) = known(message) else { return };
    match (meaning, port) {
        (Meaning::NoPartner, _) => {
            let is_known = model.link(bond.as_str()).is_some_and(|link| link.options.contains_key("mode"));
            if !is_known {
                options::set(model, bond.as_str(), "mode", "802.3ad");
            }
            if let Some(link) = model.link(bond.as_str()) {
                link.logged_no_partner = true;
            }
        }
        (Meaning::NoActive, _) => model.note(format!(
            "{bond}: the log says that it ran without any active port; the ports have the state that is shown last"
        )),
        (Meaning::ArpRefused, _) => {
            model.lint(&ARP_MONITOR_REFUSED, format!("{bond}: {}", shortened(message, 120)))
        }
        (Meaning::MacRefused, _) => {
            let port = port.map_or("a port".into(), ToString::to_string);
            model.lint(&FAIL_OVER_MAC_VF, format!("{bond}: {port} does not take its address, the log says"));
        }
        (Meaning::SameMac, _) => {
            model.lint(&DUPLICATE_MAC, format!("{bond}: {}", shortened(message, 120)));
        }
        (_, None) => {}
        (meaning, Some(port)) => of_port(bond, port, meaning, model),
    }
}

fn of_port(bond: &IfName, port: &IfName, meaning: Meaning, model: &mut Model) {
    let has_owner = model.link(port.as_str()).is_some_and(|link| link.controller.is_some());
    if meaning == Meaning::Left {
        model.note(format!(
            "{port}: the log says that {bond} gave it away; it is a port where a state shows it as one"
        ));
        return;
    }
    if !has_owner {
        model.port(bond.as_str(), port.as_str());
    }
    let Some(link) = model.link(port.as_str()) else { return };
    match meaning {
        Meaning::Down => {
            link.logged_carrier = Some(false);
            link.logged_failures = link.logged_failures.saturating_add(1);
        }
        Meaning::JoinedDown => link.logged_carrier = Some(false),
        Meaning::Up | Meaning::JoinedUp => link.logged_carrier = Some(true),
        Meaning::Active => link.is_active = link.is_active.or(Some(true)),
        _ => {}
    }
}
