//! What `ping` and `arping` say: lines of answers, and how many of how many came.

use std::net::IpAddr;

use crate::import::model::{Link, Model, Seen};
use crate::net::address::Cidr;
use crate::net::name::IfName;

/// Bytes of payload that `ping` sends by default (`DEFDATALEN` of iputils).
const PAYLOAD: u32 = 56;

/// What a ping is about.
#[derive(Debug, Clone, Default)]
pub struct Ping {
    /// By which device, if that is known.
    pub device: Option<IfName>,
    /// Bytes of payload, where they were chosen.
    payload: Option<u32>,
    /// Whether the target is in no network of the device: only a route leads there.
    is_far: bool,
    /// Whether a line of an answer was there, and none yet that counts them.
    is_answered: bool,
    /// Requests that arping says it has sent, a line before it counts the answers.
    probes: Option<u32>,
}

impl Ping {
    /// Of the words behind the command; `given` are addresses that commands above it gave to devices.
    pub fn asked(words: &[&str], given: &[(Cidr, IfName)], model: &Model) -> Self {
        let payload = value_of(words, "-s").and_then(|payload| payload.parse().ok());
        let near = device(words, given, model);
        let device = near.clone().or_else(|| by_route(words, model));
        Self { is_far: near.is_none(), device, payload, ..Self::default() }
    }

    /// `PING 192.0.2.1 (192.0.2.1) from 192.0.2.10 bond0: 56(84) bytes of data.`, where no command stands above it.
    pub fn heading(words: &[&str], given: &[(Cidr, IfName)], model: &Model) -> Option<Self> {
        let at = words.iter().position(|word| *word == "bytes" || *word == "data")?;
        let mut named = words[..at].iter().filter_map(|word| word.strip_suffix(':')?.parse::<IfName>().ok());
        let named = named.rfind(|name| model.links.contains_key(name));
        let payload = words[..at].last()?.split('(').next()?.parse().ok();
        Some(match named {
            Some(_) => Self { device: named, payload, ..Self::default() },
            None => Self { payload, ..Self::asked(&words[..at], given, model) },
        })
    }

    /// What it shows when nothing is answered.
    fn silent(&self, device: IfName) -> Seen {
        match self.payload.filter(|payload| *payload > PAYLOAD) {
            Some(payload) => Seen::LargeSilent(device, payload),
            None => Seen::Silent(device),
        }
    }

    /// `# 5/5 success` behind the command.
    pub fn comment(&self, text: &str, model: &mut Model) {
        let Some((_, comment)) = text.split_once('#') else { return };
        let counted = comment.split_whitespace().find_map(|word| {
            let (got, sent) = word.split_once('/')?;
            Some((got.parse::<u32>().ok()?, sent.parse::<u32>().ok()?))
        });
        if let Some((got, sent)) = counted {
            self.counted(got, sent, model);
        }
    }

    /// A line below the command.
    pub fn line(&mut self, text: &str, model: &mut Model) {
        let is_reply = (text.contains(" bytes from ") && text.contains("time"))
            || text.starts_with("Unicast reply from ")
            || text.starts_with("rtt min/avg/max");
        if is_reply {
            self.is_answered = true;
            model.found("ping", 0);
        } else if let Some(probes) = probes(text) {
            self.probes = Some(probes);
        } else if let Some((got, sent)) = statistics(text) {
            self.is_answered = false;
            model.found("ping", 0);
            let sent = u32::max(sent, self.probes.take().unwrap_or(0));
            self.counted(got, sent, model);
        }
    }

    fn counted(&self, got: u32, sent: u32, model: &mut Model) {
        let Some(device) = self.device.clone().filter(|_| sent > 0) else { return };
        match got {
            0 if self.is_far => model.note(format!(
                "a ping by {device} to a machine behind a router got no answer: where it was lost may be beyond what a topology has"
            )),
            0 => model.saw(self.silent(device)),
            got if got >= sent => model.saw(Seen::Works(device)),
            got => model.note(format!(
                "{device}: {got} of {sent} pings got an answer; no flow can stand for a part of them"
            )),
        }
    }

    /// The end of what it said: answers that nothing counted.
    pub fn close(self, model: &mut Model) {
        if let Some(device) = self.device.filter(|_| self.is_answered) {
            model.saw(Seen::Works(device));
        }
    }
}

fn value_of<'t>(words: &[&'t str], word: &str) -> Option<&'t str> {
    let at = words.iter().position(|is| *is == word)?;
    words.get(at + 1).copied()
}

/// The device a ping leaves by: `-I`, or the one that has, or was given, an address of the target's network.
fn device(words: &[&str], given: &[(Cidr, IfName)], model: &Model) -> Option<IfName> {
    if let Some(device) = value_of(words, "-I").and_then(|device| device.parse::<IfName>().ok()) {
        return Some(device);
    }
    let target: IpAddr = words.iter().find_map(|word| word.parse().ok())?;
    let is_near = |(cidr, _): &&(Cidr, IfName)| cidr.contains(target);
    let made = given.iter().rev().find(is_near).map(|(_, device)| device.clone());
    let has_near = |link: &Link| link.addresses.iter().any(|cidr| cidr.contains(target));
    made.or_else(|| model.links.iter().find(|(_, link)| has_near(link)).map(|(name, _)| name.clone()))
}

/// The device of the route to the target: the one of a network that has it, else the default route.
fn by_route(words: &[&str], model: &Model) -> Option<IfName> {
    let target: IpAddr = words.iter().find_map(|word| word.trim_matches(['(', ')']).parse().ok())?;
    let leads = |to: &Option<Cidr>| to.is_some_and(|to| to.contains(target));
    let of_family = || model.routes.iter().filter(|route| route.is_ipv6 == target.is_ipv6());
    let route = of_family().find(|route| leads(&route.to));
    route.or_else(|| of_family().find(|route| route.to.is_none()))?.dev.clone()
}

/// `Sent 3 probes (1 broadcast(s))`.
fn probes(text: &str) -> Option<u32> {
    text.strip_prefix("Sent ")?.split_once(" probe")?.0.parse().ok()
}

/// `5 packets transmitted, 5 received, 0% packet loss`, of BusyBox `5 packets received`, of arping
/// `Received 3 response(s)`: answers and requests, at least.
fn statistics(text: &str) -> Option<(u32, u32)> {
    if let Some((sent, rest)) = text.split_once(" packets transmitted, ") {
        let got = rest.split_whitespace().next()?.parse().ok()?;
        // Duplicates are answers to one request.
        return Some((got, sent.split_whitespace().last()?.parse().ok()?));
    }
    let got = text.strip_prefix("Received ")?.split_once(" response")?.0.parse().ok()?;
    Some((got, u32::max(got, 1)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_arping_that_got_a_part_of_its_answers_does_not_work() {
        let seen = |received: u32| {
            let mut model = Model::default();
            let mut ping = Ping { device: "bond0".parse().ok(), ..Ping::default() };
            ping.line("Sent 3 probes (1 broadcast(s))", &mut model);
            ping.line(&format!("Received {received} response(s)"), &mut model);
            (model.seen.len(), model.notes.len())
        };
        assert_eq!([seen(3), seen(2), seen(0)], [(1, 0), (0, 1), (1, 0)]);
    }

    #[rstest::rstest]
    #[case("5 packets transmitted, 5 received, 0% packet loss, time 4005ms", Some((5, 5)))]
    #[case("3 packets transmitted, 0 packets received, 100% packet loss", Some((0, 3)))]
    #[case("4 packets transmitted, 1 received, +3 errors, 75% packet loss, time 3058ms", Some((1, 4)))]
    #[case("Received 3 response(s)", Some((3, 3)))]
    #[case("Received 0 response(s)", Some((0, 1)))]
    #[case("Received fewer frames than before", None)]
    fn counts_of_answers_are_read(#[case] text: &str, #[case] counts: Option<(u32, u32)>) {
        assert_eq!(statistics(text), counts);
    }
}
