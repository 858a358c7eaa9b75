//! Mutated topologies, the same in each run: other bytes, tokens, lines, keys and numbers, and parts of one file in another.

use std::collections::{BTreeMap, BTreeSet};

use crate::random::Generator;

/// What breaks readers.
const PIECES: [&str; 32] = [
    "\"",
    "'",
    "[",
    "]",
    "{",
    "}",
    "=",
    ".",
    ",",
    "#",
    "\n",
    "\t",
    "\0",
    "\u{202e}",
    "ä",
    "\u{fffd}",
    "\"\"\"",
    "[[",
    "]]",
    "${",
    "}",
    "${a.b}",
    "true",
    "1979-05-27",
    "inf",
    "0x",
    "none",
    "*",
    "..",
    ":",
    "/0",
    "\\u0000",
];

/// Numbers at bounds of what keys and the kernel take.
const NUMBERS: [&str; 24] = [
    "0",
    "1",
    "2",
    "-1",
    "15",
    "16",
    "63",
    "67",
    "68",
    "127",
    "128",
    "255",
    "256",
    "1500",
    "4094",
    "4095",
    "65535",
    "65536",
    "1000000",
    "2147483647",
    "2147483648",
    "4294967295",
    "4294967296",
    "9223372036854775807",
];

/// Bytes of one text at the most: what is inserted doubles.
const BYTES_MAX: usize = 24 * 1024;
/// Changes of one text at the most.
const CHANGES_MAX: usize = 5;

/// Words of all seeds: a wrong value is most telling where it is right elsewhere.
pub struct Vocabulary {
    keys: Vec<String>,
    /// By key, what is written after it somewhere.
    values: BTreeMap<String, Vec<String>>,
    headers: Vec<String>,
    quoted: Vec<String>,
}

impl Vocabulary {
    /// Words of these texts, in the order of the alphabet.
    pub fn of(texts: &[String]) -> Self {
        let mut values: BTreeMap<String, BTreeSet<String>> = BTreeMap::new();
        let (mut headers, mut quoted) = (BTreeSet::new(), BTreeSet::new());
        for line in texts.iter().flat_map(|text| text.lines()) {
            if line.starts_with('[') {
                headers.insert(line.to_owned());
            } else if let Some((key, value)) = line.split_once(" = ").filter(|_| !line.starts_with('#')) {
                values.entry(key.trim().to_owned()).or_default().insert(value.to_owned());
            }
            quoted.extend(line.split('"').skip(1).step_by(2).map(str::to_owned));
        }
        let values: BTreeMap<String, Vec<String>> =
            values.into_iter().map(|(key, values)| (key, values.into_iter().collect())).collect();
        Self {
            keys: values.keys().cloned().collect(),
            values,
            headers: headers.into_iter().collect(),
            quoted: quoted.into_iter().collect(),
        }
    }
}

/// A text with one change or a few; `others` are what parts are taken from.
pub fn mutated(text: &str, others: &[String], vocabulary: &Vocabulary, random: &mut Generator) -> String {
    let mut text = text.to_owned();
    // Half of all have one change: the more there are, the sooner a reader is done with them.
    let changes = if random.next(2) == 0 { 1 } else { 1 + random.next(CHANGES_MAX) };
    for _ in 0..changes {
        text = match random.next(16) {
            0 => with_other_bytes(&text, random),
            1 => with_a_piece(text, random),
            2..=4 => with_another_number(&text, random),
            5..=6 => with_another_text(&text, vocabulary, random),
            7..=9 => with_other_lines(&text, random),
            10..=12 => with_another_value(&text, vocabulary, random),
            13 => with_another_key(&text, vocabulary, random),
            14 => with_another_header(&text, vocabulary, random),
            _ => spliced(&text, others, random),
        };
        if text.len() > BYTES_MAX {
            text.truncate(text.floor_char_boundary(BYTES_MAX));
        }
    }
    text
}

fn with_other_bytes(text: &str, random: &mut Generator) -> String {
    let mut bytes = text.as_bytes().to_vec();
    for _ in 0..=random.next(3) {
        let at = random.next(bytes.len());
        match random.next(3) {
            0 if at < bytes.len() => bytes[at] ^= 1 << random.next(8),
            1 if at < bytes.len() => drop(bytes.drain(at..bytes.len().min(at + 1 + random.next(20)))),
            _ => bytes.insert(at, u8::try_from(random.next(256)).unwrap_or(0)),
        }
    }
    String::from_utf8_lossy(&bytes).into_owned()
}

fn with_a_piece(mut text: String, random: &mut Generator) -> String {
    let at = text.floor_char_boundary(random.next(text.len() + 1));
    text.insert_str(at, random.of(&PIECES).expect("there are some"));
    text
}

/// One of the places that `is` finds, as ranges of bytes.
fn replaced(text: &str, places: &[(usize, usize)], with: &str, random: &mut Generator) -> String {
    let Some(&(start, end)) = random.of(places) else { return text.to_owned() };
    [&text[..start], with, &text[end..]].concat()
}

fn with_another_number(text: &str, random: &mut Generator) -> String {
    let bytes = text.as_bytes();
    let (mut places, mut at) = (Vec::new(), 0);
    while at < bytes.len() {
        let len = bytes[at..].iter().take_while(|byte| byte.is_ascii_digit()).count();
        if len > 0 {
            places.push((at, at + len));
        }
        at += len.max(1);
    }
    let with = random.of(&NUMBERS).expect("there are some");
    replaced(text, &places, with, random)
}

/// A text in quotes becomes one that is somewhere else: a device of another kind, a word of another key.
fn with_another_text(text: &str, vocabulary: &Vocabulary, random: &mut Generator) -> String {
    let quotes: Vec<usize> = text.match_indices('"').map(|(at, _)| at + 1).collect();
    let own: Vec<(usize, usize)> = quotes
        .chunks_exact(2)
        .map(|pair| (pair[0], pair[1] - 1))
        .filter(|(start, end)| start <= end)
        .collect();
    let with = match random.next(2) {
        // A word of the same file is more often one that means something.
        0 => random.of(&own).map(|&(start, end)| text[start..end].to_owned()),
        _ => random.of(&vocabulary.quoted).cloned(),
    };
    replaced(text, &own, &with.unwrap_or_default(), random)
}

fn with_other_lines(text: &str, random: &mut Generator) -> String {
    let mut lines: Vec<&str> = text.lines().collect();
    if lines.is_empty() {
        return text.to_owned();
    }
    let (from, to) = (random.next(lines.len()), random.next(lines.len()));
    match random.next(4) {
        0 => lines.swap(from, to),
        1 => lines.insert(to, lines[from]),
        2 => drop(lines.drain(from..lines.len().min(from + 1 + random.next(6)))),
        _ => drop(lines.remove(from)),
    }
    lines.join("\n")
}

/// Puts a line in the place of one of those that `is` says, or after it.
fn with_line(
    text: &str,
    is: impl Fn(&str) -> bool,
    line: impl Fn(&str) -> String,
    random: &mut Generator,
) -> String {
    let mut lines: Vec<String> = text.lines().map(str::to_owned).collect();
    let places: Vec<usize> = (0..lines.len()).filter(|at| is(&lines[*at])).collect();
    let Some(&at) = random.of(&places) else { return text.to_owned() };
    let new = line(&lines[at]);
    match random.next(2) {
        0 => lines[at] = new,
        _ => lines.insert(at + 1, new),
    }
    lines.join("\n")
}

/// A key's value becomes one that the key has in some file.
fn with_another_value(text: &str, vocabulary: &Vocabulary, random: &mut Generator) -> String {
    let choice = random.next(1 << 16);
    let has_key = |line: &str| line.contains(" = ") && !line.starts_with('#');
    let line = |line: &str| {
        let key = line.split(" = ").next().unwrap_or_default();
        let values = vocabulary.values.get(key.trim()).map_or(&[][..], Vec::as_slice);
        let value = values.get(choice % values.len().max(1)).map_or("1", String::as_str);
        format!("{key} = {value}")
    };
    with_line(text, has_key, line, random)
}

/// A line with a key of another table.
fn with_another_key(text: &str, vocabulary: &Vocabulary, random: &mut Generator) -> String {
    let key = random.of(&vocabulary.keys).cloned().unwrap_or_default();
    let value = vocabulary.values.get(&key).and_then(|values| random.of(values)).cloned().unwrap_or_default();
    with_line(text, |line| !line.starts_with('#'), |_| format!("{key} = {value}"), random)
}

fn with_another_header(text: &str, vocabulary: &Vocabulary, random: &mut Generator) -> String {
    let header = random.of(&vocabulary.headers).cloned().unwrap_or_default();
    with_line(text, |line| line.starts_with('['), |_| header.clone(), random)
}

/// The tables of one file up to some place, and those of another from some place on; or one table of the other.
fn spliced(text: &str, others: &[String], random: &mut Generator) -> String {
    let Some(other) = random.of(others) else { return text.to_owned() };
    let starts = |text: &str| -> Vec<usize> {
        let headers = text.match_indices("\n[").map(|(at, _)| at + 1);
        [0].into_iter().chain(headers).chain([text.len()]).collect()
    };
    let (own, its) = (starts(text), starts(other));
    let (cut, at) = (own[random.next(own.len())], random.next(its.len() - 1));
    let table = &other[its[at]..its[at + 1]];
    match random.next(3) {
        0 => [&text[..cut], &other[its[at]..]].concat(),
        _ => [&text[..cut], "\n", table, "\n", &text[cut..]].concat(),
    }
}
