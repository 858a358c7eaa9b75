//! Reads the text of a snapshot into a [`Behaviour`]. The only place that does.
//!
//! Every text has one: a line that no version of the lab writes is kept as a name with words.

use crate::report::behaviour::value::{Behaviour, Item, Label, Line};

/// Follows the name of what is not compared.
const NOT_COMPARED: &str = "not compared";

impl Behaviour {
    /// Reads a text, as `Display` writes it. How far a line is indented says what it belongs to.
    pub fn parse(text: &str) -> Self {
        // The lines that are not closed yet, from the outermost inwards.
        let mut open: Vec<Line> = Vec::new();
        let mut behaviour = Self::default();
        for line in text.lines().map(str::trim_end).filter(|line| !line.is_empty()) {
            let content = line.trim_start();
            let depth = (line.len() - content.len()) / 2;
            while open.len() > depth {
                close(&mut open, &mut behaviour);
            }
            let (label, value) = content.split_once(": ").unwrap_or((content, ""));
            let label = label_of(label, &open);
            open.push(Line::new(label, items(value)));
        }
        while !open.is_empty() {
            close(&mut open, &mut behaviour);
        }
        behaviour
    }
}

/// Puts the innermost open line into the one around it.
fn close(open: &mut Vec<Line>, behaviour: &mut Behaviour) {
    let Some(line) = open.pop() else { return };
    match open.last_mut() {
        Some(around) => around.below.push(line),
        None => behaviour.lines.push(line),
    }
}

fn label_of(text: &str, around: &[Line]) -> Label {
    let name = || Label::Name(text.to_owned());
    match around.iter().map(|line| &line.label).collect::<Vec<_>>()[..] {
        [] => of_run(text).unwrap_or_else(name),
        [Label::Trial(_)] => of_trial(text),
        [Label::Trial(_), Label::Flow { .. }] => of_flow(text).unwrap_or_else(name),
        _ => name(),
    }
}

fn of_run(text: &str) -> Option<Label> {
    let named = |word| text.strip_prefix(word).map(str::to_owned);
    let label = match text {
        "outcome" => Label::Outcome,
        "form" => Label::Form,
        "reason" => Label::Reason,
        "substitute" => Label::Substitute,
        "state" => Label::State,
        "hypotheses" => Label::Hypotheses,
        "kernel log" => Label::KernelLog,
        "features" => Label::Features,
        _ => return named("check ").map(Label::Check).or_else(|| named("trial ").map(Label::Trial)),
    };
    Some(label)
}

/// A label that has a name.
type Named = fn(String) -> Label;

fn of_trial(text: &str) -> Label {
    if text == "refused" {
        return Label::Refused;
    }
    let named: [(&str, Named); 4] = [
        ("capture ", Label::Capture),
        ("link ", Label::Link),
        ("lacp ", Label::Lacp),
        ("acknowledged with ", Label::Acknowledged),
    ];
    for (word, label) in named {
        if let Some(name) = text.strip_prefix(word) {
            return label(name.to_owned());
        }
    }
    let flow = || {
        let (name, socket) = text.strip_prefix("flow ")?.rsplit_once(" (")?;
        Some(Label::Flow { name: name.to_owned(), socket: socket.strip_suffix(')')?.to_owned() })
    };
    let queue = || {
        let (kind, device) = text.split_once(" of ")?;
        let (kind, is_replaced) = (kind.to_owned(), device.strip_suffix(", replaced"));
        Some(match is_replaced {
            Some(device) => Label::Replaced { kind, device: device.to_owned() },
            None => Label::Queue { kind, device: device.to_owned() },
        })
    };
    flow().or_else(queue).unwrap_or_else(|| Label::Device(text.to_owned()))
}

fn of_flow(text: &str) -> Option<Label> {
    let (layer, device) = text.strip_prefix("lost at ")?.split_once(" of ")?;
    Some(Label::LostAt { layer: layer.to_owned(), device: device.to_owned() })
}

/// The items of a value. A text of a check may have commas of its own: each part is an item then.
pub(crate) fn items(value: &str) -> Vec<Item> {
    if value.is_empty() { Vec::new() } else { value.split(", ").map(item).collect() }
}

fn item(text: &str) -> Item {
    if let Some((name, why)) = text.split_once(NOT_COMPARED)
        && let Some(why) = why.strip_prefix(": ")
        && (name.is_empty() || name.ends_with(' '))
    {
        return Item::NotCompared { name: name.trim_end().to_owned(), why: why.to_owned() };
    }
    if let Some((number, of)) = text.split_once(' ')
        && let Some(number) = number_of(number)
    {
        return Item::Count(number, of.to_owned());
    }
    match text.rsplit_once(' ') {
        Some((name, number)) if number_of(number).is_some() => {
            Item::Counter(name.to_owned(), number_of(number).unwrap_or_default())
        }
        _ => Item::Words(text.to_owned()),
    }
}

/// A number as `Display` writes it.
fn number_of(text: &str) -> Option<u64> {
    text.parse().ok().filter(|number: &u64| number.to_string() == text)
}

#[cfg(test)]
mod tests {
    use super::*;

    const TEXT: &str = "outcome: fail\nform: 2\ncheck all arrive: fail, expected 9, observed 2\n\
                        state: node:p0 mii_status: 0\n\ntrial main\n  \
                        flow f (packet): 9 asked, 2 sent, 7 ENOBUFS, 0 delivered\n    \
                        lost at qdisc of node:p0: 2 BACKLOG, 7 QDISC_DROP\n  \
                        node:p0: tx_dropped 7, tx_errors not compared: why\n  pfifo of node:p0: drops 7\n  \
                        plug of node:p1, replaced: drops 3\n  capture garps: some\n  \
                        link node:p0: operstate UP, flags UP SLAVE, link failures 1\n  \
                        lacp node:p0: actor none\n  acknowledged with a word: 1 requests\n\ntrial h\n  \
                        refused: make a device: EBUSY\n\nhypotheses\n  h: does not fit\n    \
                        bond0 counts none: no\n\nkernel log: not compared: it was not read\n\nfeatures\n  \
                        veth: gro, tso\n";

    #[test]
    fn a_text_is_read_and_written_without_a_difference() {
        assert_eq!(Behaviour::parse(TEXT).to_string(), TEXT);
    }

    #[test]
    fn lines_are_read_by_what_they_are_about() {
        let behaviour = Behaviour::parse(TEXT);
        let trial = behaviour.trial("main").expect("it is there");
        let flow = &trial[0];
        assert_eq!(flow.label, Label::Flow { name: "f".into(), socket: "packet".into() });
        assert_eq!((flow.count("sent"), flow.count("delivered")), (2, 0));
        let lost = Label::LostAt { layer: "qdisc".into(), device: "node:p0".into() };
        assert_eq!(flow.below[0].label, lost);
        assert_eq!(flow.below[0].counts().collect::<Vec<_>>(), [(2, "BACKLOG"), (7, "QDISC_DROP")]);
        assert_eq!(trial[1].counters().collect::<Vec<_>>(), [("tx_dropped", 7)]);
        let left_out = Item::NotCompared { name: "tx_errors".into(), why: "why".into() };
        assert_eq!(trial[1].items[1], left_out);
        assert_eq!(trial[3].label, Label::Replaced { kind: "plug".into(), device: "node:p1".into() });
        let (rest, features) = behaviour.clone().split_features();
        assert_eq!(features.as_ref().map(ToString::to_string).as_deref(), Some("veth: gro, tso\n"));
        assert_eq!(rest.with_features(features.as_ref()), behaviour);
    }

    /// No version writes these; what is accepted may have been edited.
    #[rstest::rstest]
    #[case("x\n")]
    #[case("x: 007, 7 y 8\n")]
    #[case("trial t\n  flow f: 1 sent\n    lost at y: 3\n")]
    fn every_text_is_a_behaviour(#[case] text: &str) {
        assert_eq!(Behaviour::parse(text).to_string().trim_start(), text);
    }
}
