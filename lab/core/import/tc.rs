//! `tc qdisc` and `tc filter` as text, with `-s` or without.

use crate::import::model::{Kind, Model, Queue};
use crate::import::text::{Line, after, command};

/// What is being read.
#[derive(Default)]
struct Reader {
    /// The device that the command names: `tc qdisc show dev eth0` leaves it out of its lines.
    asked: Option<String>,
    /// The hook that the command names.
    hook: Option<&'static str>,
    /// What the next statistics are of.
    of: Option<(String, Of)>,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Of {
    /// A root queueing discipline.
    Root,
    /// clsact or ingress.
    Hooks,
    /// The action of a filter that drops.
    Drop,
}

/// Reads all that is there.
pub fn read(lines: &[Line<'_>], model: &mut Model) {
    let mut reader = Reader::default();
    for line in lines {
        if line.begins {
            reader = Reader::default();
            if command(line.text).is_some() {
                if let Some((device, hook)) = asked(line.text) {
                    (reader.asked, reader.hook) = (device.map(str::to_owned), hook);
                }
                continue;
            }
        }
        let text = line.text.trim();
        if text.starts_with("qdisc ") {
            reader.qdisc(text, line.number, model);
        } else if text.starts_with("filter ") {
            reader.filter(text, line.number, model);
        } else if text.starts_with("action order ") {
            let is_drop = text.contains("gact action drop") || text.ends_with("action drop");
            reader.of = reader.of.take().filter(|(_, of)| is_drop && *of == Of::Drop);
        } else if let Some((packets, drops)) = statistics(text)
            && let Some((device, of)) = reader.of.take()
        {
            counted(&device, of, packets, drops, model);
        }
    }
}

/// `Sent 12 bytes 3 pkt (dropped 4, overlimits 0 requeues 0)`: packets and drops.
fn statistics(text: &str) -> Option<(u64, u64)> {
    let (_, rest) = text.strip_prefix("Sent ")?.split_once(" bytes ")?;
    let (packets, rest) = rest.split_once(" pkt")?;
    let (_, rest) = rest.split_once("(dropped ")?;
    let (drops, _) = rest.split_once(',')?;
    Some((packets.trim().parse().ok()?, drops.trim().parse().ok()?))
}

fn counted(device: &str, of: Of, packets: u64, drops: u64, model: &mut Model) {
    let Some(link) = model.link(device) else { return };
    match of {
        Of::Root => {
            if let Some(queue) = &mut link.queue {
                (queue.packets, queue.drops) = (Some(packets), Some(drops));
            }
        }
        Of::Hooks => link.filter_drops = Some(drops),
        Of::Drop => link.filter_drops = Some(link.filter_drops.unwrap_or(0).max(drops)),
    }
}

/// The device and the hook that a command of `tc` asks for: its output does not name them.
pub fn asked(text: &str) -> Option<(Option<&str>, Option<&'static str>)> {
    let is_tc = command(text).is_some_and(|words| words[0] == "tc");
    is_tc.then(|| (after(text, "dev"), hook(text)))
}

fn hook(text: &str) -> Option<&'static str> {
    ["egress", "ingress"].into_iter().find(|hook| text.split_whitespace().any(|word| word == *hook))
}

impl Reader {
    fn qdisc(&mut self, text: &str, number: usize, model: &mut Model) {
        self.of = None;
        let mut words = text.split_whitespace().skip(1);
        let Some(kind) = words.next() else { return };
        let Some(device) = after(text, "dev").map(str::to_owned).or_else(|| self.asked.clone()) else {
            return;
        };
        if device == "lo" || model.link(&device).is_none() {
            return;
        }
        model.found("tc qdisc", number);
        let limit = after(text, "limit").map(|limit| limit.trim_end_matches(['p', 'b']));
        let limit = limit.and_then(|limit| limit.parse().ok());
        if matches!(kind, "clsact" | "ingress") {
            self.of = Some((device, Of::Hooks));
        } else if words.any(|word| word == "root") {
            root(&device, kind, limit, model);
            self.of = Some((device, Of::Root));
        } else {
            leaf(&device, kind, limit, model);
        }
    }

    fn filter(&mut self, text: &str, number: usize, model: &mut Model) {
        self.of = None;
        let device = after(text, "dev").map(str::to_owned).or_else(|| self.asked.clone());
        model.found("tc filter", number);
        let hook = hook(text).or(self.hook).unwrap_or("a hook that the text does not name");
        let shown = device.clone().unwrap_or_else(|| "a device that the text does not name".into());
        // The line that only opens a list of filters has no handle.
        if after(text, "handle").is_some() && text.split_whitespace().any(|word| word == "bpf") {
            let name = program(text);
            program_seen(&shown, hook, name, model);
        } else if let Some(handle) = after(text, "handle").or_else(|| after(text, "fh")) {
            let kind = ["flower", "u32", "matchall", "basic", "fw", "flow"];
            let kind = kind.into_iter().find(|kind| text.split_whitespace().any(|word| word == *kind));
            filter_seen(&shown, hook, kind.unwrap_or("of another kind"), handle, model);
        }
        self.of = device.filter(|device| model.link(device).is_some()).map(|device| (device, Of::Drop));
    }
}

/// A root as it is, or of `mq` as its leaves will show it.
pub fn root(device: &str, kind: &str, limit: Option<u32>, model: &mut Model) {
    if let Some(link) = model.link(device) {
        // A queue makes no device a bond; a NIC without a driver's multiple queues has no mq.
        if kind == "mq" {
            link.kind = link.kind.max(Kind::Nic);
        }
        link.queue = Some(Queue { kind: kind.to_owned(), limit, packets: None, drops: None });
    }
}

/// What a leaf of `mq` is. Classes of others are not carried over.
pub fn leaf(device: &str, kind: &str, limit: Option<u32>, model: &mut Model) {
    let Some(queue) = model.link(device).and_then(|link| link.queue.as_mut()) else { return };
    if queue.kind == "mq" {
        (queue.kind, queue.limit) = (kind.to_owned(), limit);
    }
}

/// The name of a BPF program: the word behind its handle that is none of the options.
fn program(text: &str) -> &str {
    let mut words = text.split_whitespace().skip_while(|word| *word != "handle").skip(2);
    words.next().filter(|word| *word != "flowid" && *word != "direct-action").unwrap_or("without a name")
}

/// A BPF program: its code is not in the text.
pub fn program_seen(device: &str, hook: &str, name: &str, model: &mut Model) {
    model.note(format!(
        "BPF program {name} at {hook} of {device}: its code is not in the text; where frames are lost, the catalogue's \
         filters stand for it"
    ));
}

/// Any other filter.
pub fn filter_seen(device: &str, hook: &str, kind: &str, handle: &str, model: &mut Model) {
    model.note(format!(
        "filter {kind} {handle} at {hook} of {device}: topologies have filters as faults only; where frames are lost, the \
         catalogue's stand for it"
    ));
}
