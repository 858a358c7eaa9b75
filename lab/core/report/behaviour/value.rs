//! What a topology did on a kernel, as a value: labelled lines with items, and lines below them.
//!
//! A result is made into one (see `snapshot`), and an accepted text is read into one, once, by `parse`. Everything that compares,
//! groups or shows behaviour works on this value; `Display` writes the text of snapshots.

use std::fmt::{self, Display, Formatter};

use serde::{Deserialize, Deserializer, Serialize, Serializer};

/// What a topology did on a kernel.
#[derive(Debug, Clone, Default, PartialEq, Eq, PartialOrd, Ord)]
pub struct Behaviour {
    /// In the order of the text.
    pub lines: Vec<Line>,
}

/// A line: a label, its items, and the lines below it.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct Line {
    /// What it is about.
    pub label: Label,
    /// What it says of that; nothing for a heading.
    pub items: Vec<Item>,
    /// Lines that belong to it.
    pub below: Vec<Line>,
}

/// What a line is about.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub enum Label {
    /// The verdict.
    Outcome,
    /// Which lines a text of its age has.
    Form,
    /// What ended the run early.
    Reason,
    /// What is in the place of a NIC.
    Substitute,
    /// A check that does not hold, by its name.
    Check(String),
    /// A state that the topology asks for.
    State,
    /// A trial, by its name.
    Trial(String),
    /// The explanations of a report.
    Hypotheses,
    /// What the kernel logged.
    KernelLog,
    /// What devices can offload.
    Features,
    /// Of a trial: what the kernel refused.
    Refused,
    /// Of a trial: a flow, and its kind of socket.
    Flow {
        /// Its name.
        name: String,
        /// Its kind of socket.
        socket: String,
    },
    /// Of a flow: where frames were lost.
    LostAt {
        /// The layer.
        layer: String,
        /// The device, or `no device`.
        device: String,
    },
    /// Of a trial: counters of a device.
    Device(String),
    /// Of a trial: counters of a queueing discipline or clsact.
    Queue {
        /// Its kind.
        kind: String,
        /// The device.
        device: String,
    },
    /// Of a trial: counters of a queueing discipline that was replaced.
    Replaced {
        /// Its kind.
        kind: String,
        /// The device.
        device: String,
    },
    /// Of a trial: frames that a capture counted.
    Capture(String),
    /// Of a trial: the state of a link.
    Link(String),
    /// Of a trial: LACP's bits of a port.
    Lacp(String),
    /// Of a trial: requests that the kernel carried out with a word about them.
    Acknowledged(String),
    /// Another name: an explanation, a piece of evidence, a line of the log, a kind of device.
    Name(String),
}

/// One item of a line.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub enum Item {
    /// `989 QDISC_DROP`.
    Count(u64, String),
    /// `tx_dropped 3`.
    Counter(String, u64),
    /// `tx_dropped not compared: why`; without a name the whole line is not compared.
    NotCompared {
        /// The counter's name.
        name: String,
        /// Why.
        why: String,
    },
    /// Anything else.
    Words(String),
}

impl Behaviour {
    /// The first line with this label.
    pub fn line(&self, label: &Label) -> Option<&Line> {
        self.lines.iter().find(|line| line.label == *label)
    }

    /// What is said under a label, as text.
    pub fn value(&self, label: &Label) -> Option<String> {
        self.line(label).map(Line::value)
    }

    /// The lines of a trial; `None` where there is none of this name.
    pub fn trial(&self, name: &str) -> Option<&[Line]> {
        let is_it = |line: &&Line| matches!(&line.label, Label::Trial(of) if of == name);
        self.lines.iter().find(is_it).map(|trial| trial.below.as_slice())
    }

    /// All lines, from the top down.
    pub fn all(&self) -> impl Iterator<Item = &Line> {
        let mut open: Vec<&Line> = self.lines.iter().rev().collect();
        std::iter::from_fn(move || {
            let line = open.pop()?;
            open.extend(line.below.iter().rev());
            Some(line)
        })
    }

    /// Without the features of devices, and these. Features change with nearly every series and behaviour with few.
    pub fn split_features(mut self) -> (Self, Option<Self>) {
        let place = self.lines.iter().position(|line| line.label == Label::Features);
        let features = place.map(|place| Self { lines: self.lines.remove(place).below });
        (self, features)
    }

    /// Puts together what `split_features` parted.
    #[must_use]
    pub fn with_features(mut self, features: Option<&Self>) -> Self {
        if let Some(features) = features {
            self.lines.push(Line::heading(Label::Features, features.lines.clone()));
        }
        self
    }
}

impl Line {
    /// A line with items.
    pub fn new(label: Label, items: Vec<Item>) -> Self {
        Self { label, items, below: Vec::new() }
    }

    /// A line without any.
    pub fn heading(label: Label, below: Vec<Self>) -> Self {
        Self { label, items: Vec::new(), below }
    }

    /// A line that is not compared.
    pub fn not_compared(label: Label, why: &str) -> Self {
        Self::new(label, vec![Item::NotCompared { name: String::new(), why: why.to_owned() }])
    }

    /// Its items as text.
    pub fn value(&self) -> String {
        let items: Vec<String> = self.items.iter().map(ToString::to_string).collect();
        items.join(", ")
    }

    /// Numbers before words, as of frames: `(989, "QDISC_DROP")`.
    pub fn counts(&self) -> impl Iterator<Item = (u64, &str)> {
        self.items.iter().filter_map(|item| match item {
            Item::Count(number, of) => Some((*number, of.as_str())),
            _ => None,
        })
    }

    /// Numbers after words, as of counters: `("tx_dropped", 3)`.
    pub fn counters(&self) -> impl Iterator<Item = (&str, u64)> {
        self.items.iter().filter_map(|item| match item {
            Item::Counter(name, number) => Some((name.as_str(), *number)),
            _ => None,
        })
    }

    /// The number before a word; 0 where it is not there.
    pub fn count(&self, of: &str) -> u64 {
        self.counts().find(|(_, word)| *word == of).map_or(0, |(number, _)| number)
    }
}

impl Label {
    /// Whether a blank line comes before it.
    fn is_section(&self) -> bool {
        matches!(self, Self::Trial(_) | Self::Hypotheses | Self::KernelLog | Self::Features)
    }
}

impl Display for Label {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        match self {
            Self::Outcome => f.write_str("outcome"),
            Self::Form => f.write_str("form"),
            Self::Reason => f.write_str("reason"),
            Self::Substitute => f.write_str("substitute"),
            Self::Check(name) => write!(f, "check {name}"),
            Self::State => f.write_str("state"),
            Self::Trial(name) => write!(f, "trial {name}"),
            Self::Hypotheses => f.write_str("hypotheses"),
            Self::KernelLog => f.write_str("kernel log"),
            Self::Features => f.write_str("features"),
            Self::Refused => f.write_str("refused"),
            Self::Flow { name, socket } => write!(f, "flow {name} ({socket})"),
            Self::LostAt { layer, device } => write!(f, "lost at {layer} of {device}"),
            Self::Device(device) => f.write_str(device),
            Self::Queue { kind, device } => write!(f, "{kind} of {device}"),
            Self::Replaced { kind, device } => write!(f, "{kind} of {device}, replaced"),
            Self::Capture(name) => write!(f, "capture {name}"),
            Self::Link(device) => write!(f, "link {device}"),
            Self::Lacp(device) => write!(f, "lacp {device}"),
            Self::Acknowledged(with) => write!(f, "acknowledged with {with}"),
            Self::Name(name) => f.write_str(name),
        }
    }
}

impl Display for Item {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        match self {
            Self::Count(number, of) => write!(f, "{number} {of}"),
            Self::Counter(name, number) => write!(f, "{name} {number}"),
            Self::NotCompared { name, why } if name.is_empty() => write!(f, "not compared: {why}"),
            Self::NotCompared { name, why } => write!(f, "{name} not compared: {why}"),
            Self::Words(words) => f.write_str(words),
        }
    }
}

/// The text of a snapshot. Each line ends with a line feed.
impl Display for Behaviour {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        self.lines.iter().try_for_each(|line| write_line(f, line, 0))
    }
}

fn write_line(f: &mut Formatter<'_>, line: &Line, depth: usize) -> fmt::Result {
    if depth == 0 && line.label.is_section() {
        writeln!(f)?;
    }
    write!(f, "{:1$}{2}", "", 2 * depth, line.label)?;
    if !line.items.is_empty() {
        f.write_str(": ")?;
    }
    for (number, item) in line.items.iter().enumerate() {
        write!(f, "{}{item}", if number == 0 { "" } else { ", " })?;
    }
    writeln!(f)?;
    line.below.iter().try_for_each(|line| write_line(f, line, depth + 1))
}

/// In a result of `lab matrix` it is its text.
impl Serialize for Behaviour {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for Behaviour {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        Ok(Self::parse(&String::deserialize(deserializer)?))
    }
}
