//! Commands that somebody typed: `ip link add`, `ip addr add`, `ping`, and what they said.

use crate::import::model::{Kind, Model, Seen};
use crate::import::pings::Ping;
use crate::import::text::{Line, after};
use crate::import::{ip_rule, link_options, options, routes, text, virtual_links};
use crate::net::address::Cidr;
use crate::net::name::IfName;

/// Reads all that is there.
pub fn read(lines: &[Line<'_>], model: &mut Model) {
    let mut ping: Option<Ping> = None;
    let mut given: Vec<(Cidr, IfName)> = Vec::new();
    let mut adding: Option<String> = None;
    for line in lines {
        errnos(line, ping.as_ref(), model);
        let text = without_prompt(line.text.trim().trim_start_matches(['$', '#', '%', ' ']));
        let text = text.strip_prefix("sudo ").unwrap_or(text);
        let words = words(text);
        if let Some(bond) = adding.take() {
            adding = continued(&bond, &words, model).then_some(bond);
        }
        match words[..] {
            ["ip", "link", "add", ..] if has_variable(text) => {
                model.note(format!("line {}: a command with variables: {text}", line.number));
            }
            ["ip", "link", "add", ref rest @ ..] => {
                model.found("ip commands", line.number);
                adding = add(rest, model);
            }
            ["ip", "link", "set", ref rest @ ..] if !has_variable(text) => set(rest, model),
            ["ip", "addr" | "address" | "a", "add", cidr, ref rest @ ..] if !has_variable(text) => {
                let dev = after_word(rest, "dev");
                if let (Ok(cidr), Some(dev)) =
                    (cidr.parse::<Cidr>(), dev.and_then(|dev| dev.parse::<IfName>().ok()))
                {
                    model.address(dev.as_str(), &cidr.to_string());
                    given.push((cidr, dev));
                }
            }
            ["ip", "route", "add", ref rest @ ..] if !has_variable(text) => {
                routes::route(rest, false, None, model);
            }
            ["ip", "-6", "route", "add", ref rest @ ..] if !has_variable(text) => {
                routes::route(rest, true, None, model);
            }
            ["ip", "rule", "add", ref rest @ ..] if !has_variable(text) => {
                ip_rule::configured(rest, false, model);
            }
            ["ip", "-6", "rule", "add", ref rest @ ..] if !has_variable(text) => {
                ip_rule::configured(rest, true, model);
            }
            ["ping" | "ping6" | "arping", ref rest @ ..] => {
                let own = Ping::asked(rest, &given, model);
                own.comment(text, model);
                close(ping.replace(own), model);
            }
            ["PING" | "ARPING", ref rest @ ..] if ping.as_ref().is_none_or(|ping| ping.device.is_none()) => {
                close(std::mem::replace(&mut ping, Ping::heading(rest, &given, model)), model);
            }
            ["ifenslave", bond, ref ports @ ..] if !has_variable(text) => {
                ports.iter().for_each(|port| model.port(bond, port));
                model.kind(bond, Kind::Bond);
            }
            _ => {
                if line.begins && text::command(line.text).is_some() {
                    close(ping.take(), model);
                }
                if let Some(ping) = &mut ping {
                    ping.line(text, model);
                }
            }
        }
    }
    close(ping, model);
}

fn close(ping: Option<Ping>, model: &mut Model) {
    if let Some(ping) = ping {
        ping.close(model);
    }
}

/// A command without what the shell wrote before it: `root@node:~# ping`, `[root@node ~]$ sudo ip`.
fn without_prompt(text: &str) -> &str {
    let mut rest = text;
    for _ in 0..4 {
        let Some((word, behind)) = rest.split_once(' ') else { break };
        let behind = behind.trim_start();
        let is_command = ["ip ", "ping ", "ping6 ", "arping ", "ifenslave ", "sudo "]
            .iter()
            .any(|name| behind.starts_with(name));
        if word.ends_with(['#', '$', '%', '>']) && is_command {
            return behind;
        }
        rest = behind;
    }
    text
}

/// What runs `ip` in a file of ifupdown.
const HOOKS: [&str; 3] = ["up", "post-up", "pre-up"];

/// The words of one command, without the hook that runs it, its folder, and what follows it on the line.
fn words(text: &str) -> Vec<&str> {
    let ends = |word: &&str| ["||", "&&", ";", "|"].contains(word);
    let text = text.split("; ").next().unwrap_or_default();
    let all = text.split_whitespace().take(64).take_while(|word| !ends(word));
    let mut words: Vec<&str> = all.skip_while(|word| HOOKS.contains(word)).collect();
    if let Some(first) = words.first_mut()
        && ["/sbin/ip", "/usr/sbin/ip", "/bin/ip"].contains(first)
    {
        *first = "ip";
    }
    words
}

fn has_variable(text: &str) -> bool {
    text.contains(['$', '<', '{'])
}

fn after_word<'t>(words: &[&'t str], word: &str) -> Option<&'t str> {
    let at = words.iter().position(|is| *is == word)?;
    words.get(at + 1).copied()
}

/// `ip link add link bond0 name bond0.70 type vlan id 70`; the name of a bond whose options may be on the next lines.
fn add(words: &[&str], model: &mut Model) -> Option<String> {
    let parent = after_word(words, "link").and_then(|parent| parent.parse::<IfName>().ok());
    let first = words.first().filter(|word| !["link", "name", "dev"].contains(word)).copied();
    let name = after_word(words, "name").or_else(|| after_word(words, "dev")).or(first)?;
    let kind = after_word(words, "type")?;
    let link = model.link(name)?;
    link.parent = parent.or(link.parent.take());
    match kind {
        "vlan" => {
            link.kind = Kind::Vlan;
            link.vlan_id = after_word(words, "id").and_then(|id| id.parse().ok());
            link.is_service_tag =
                after_word(words, "protocol").is_some_and(|is| is.eq_ignore_ascii_case("802.1ad"));
        }
        "ipvlan" | "macvlan" => {
            link.kind = if kind == "ipvlan" { Kind::Ipvlan } else { Kind::Macvlan };
            link.mode = after_word(words, "mode").map(str::to_owned);
        }
        "bridge" => link.kind = Kind::Bridge,
        "dummy" => link.kind = Kind::Dummy,
        "bond" => {
            link.kind = Kind::Bond;
            link.is_configuration = true;
            let at = words.iter().position(|word| *word == "bond").map_or(words.len(), |at| at + 1);
            continued(name, &words[at..], model);
            return Some(name.to_owned());
        }
        _ => {
            let at = words.iter().position(|word| *word == "type").map_or(words.len(), |at| at + 1);
            if !virtual_links::command(name, words[at..].iter().copied(), model)
                && let Some(link) = model.link(name)
            {
                link.kind = Kind::Other;
                kind.clone_into(&mut link.kind_word);
            }
        }
    }
    None
}

/// Options of a bond, on the command's own line or on those after it; whether there were any.
fn continued(bond: &str, words: &[&str], model: &mut Model) -> bool {
    let is_option = words.first().is_some_and(|name| options::spec(name).is_some());
    if is_option {
        for pair in words.chunks_exact(2).filter(|pair| options::spec(pair[0]).is_some()) {
            options::set(model, bond, pair[0], pair[1]);
        }
    }
    is_option || words.is_empty()
}

fn set(words: &[&str], model: &mut Model) {
    let words = if words.first() == Some(&"dev") { &words[1..] } else { words };
    let Some((name, rest)) = words.split_first() else { return };
    if let Some(controller) = after_word(rest, "master") {
        model.port(controller, name);
    }
    if let Some(mtu) = after_word(rest, "mtu").and_then(|mtu| mtu.parse().ok())
        && let Some(link) = model.link(name)
    {
        link.mtu = Some(mtu);
    }
    link_options::of_command(name, rest, model);
}

/// Which errno senders got.
const ERRNOS: [(&str, &str); 5] = [
    ("no buffer space available", "ENOBUFS"),
    ("network is down", "ENETDOWN"),
    ("network is unreachable", "ENETUNREACH"),
    ("no route to host", "EHOSTUNREACH"),
    ("message too long", "EMSGSIZE"),
];

fn errnos(line: &Line<'_>, ping: Option<&Ping>, model: &mut Model) {
    let lower = line.text.to_lowercase();
    for (words, errno) in ERRNOS {
        if lower.contains(words) && (lower.contains("send") || lower.contains("ping")) {
            model.found("errors of senders", line.number);
            let device = ping.and_then(|ping| ping.device.clone());
            let named = after(line.text, "dev").and_then(|dev| dev.parse().ok());
            model.saw(Seen::Errno(errno, device.or(named)));
        }
    }
}
