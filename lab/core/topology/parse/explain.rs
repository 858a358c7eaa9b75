//! serde's words about a wrong value, in those of somebody who writes a topology.

use toml::de::DeValue;

use crate::net::bond_option::OTHER_SPELLINGS;
use crate::topology::check::nearest;

/// A mistake in words, and what can be made of it.
#[derive(Debug, PartialEq, Eq)]
pub struct Explanation {
    /// A lowercase fragment.
    pub message: String,
    /// What to do about it.
    pub hint: String,
    /// The required key that is not there.
    pub missing: Option<String>,
    /// Whether a key is not known.
    pub unknown_key: bool,
    /// The known word that is probably meant.
    pub meant: Option<String>,
}

/// What a required key may look like.
const EXAMPLES: [(&str, &str); 20] = [
    ("about", "about = \"the parent's queue is full\""),
    ("cidr", "cidr = \"10.10.20.0/24\""),
    ("dev", "dev = \"bond0\""),
    ("device", "device = \"node:bond0\""),
    ("evidence", "a [[report.evidence]] table"),
    ("floods", "floods = [\"flood\"]"),
    ("frames", "frames = 1000"),
    ("from", "from = \"node:bond0\""),
    ("hook", "hook = \"egress\""),
    ("id", "id = 70"),
    ("inject", "inject = [\"queue-full\"]"),
    ("mode", "mode = \"active-backup\""),
    ("mtu", "mtu = 1280"),
    ("networks", "networks = [\"sriov0\", \"sriov1\", \"bond0\"]"),
    ("node", "node = \"node\""),
    ("parent", "parent = \"bond0\""),
    ("peer", "peer = \"switch:p1\""),
    ("pod", "pod = \"pod\""),
    ("steps", "steps = [{ down = \"node:bond0.70\" }, { up = \"node:bond0.70\" }]"),
    ("what", "what = \"lacpdu\""),
];

/// serde's names of kinds, and the writer's.
const KINDS: [(&str, &str); 14] = [
    ("struct ", "a table"),
    ("a map", "a table"),
    ("map", "a table"),
    ("a sequence", "an array"),
    ("sequence", "an array"),
    ("u8", "a whole number from 0 to 255"),
    ("u16", "a whole number from 0 to 65535"),
    ("u32", "a whole number from 0 to 4294967295"),
    ("u64", "a whole number, not negative"),
    ("usize", "a whole number, not negative"),
    ("i64", "a whole number"),
    ("a boolean", "true or false"),
    ("string or table", "a string"),
    ("a string", "a string"),
];

/// Explains a message of serde about `value`.
pub fn explain(message: &str, value: Option<&DeValue<'_>>) -> Explanation {
    let message = message.replace(|c: char| c.is_control(), " ");
    let message = message.trim();
    let plain = |message: String, hint: String| Explanation {
        message,
        hint,
        missing: None,
        unknown_key: false,
        meant: None,
    };
    if let Some(key) = message.strip_prefix("missing field `").and_then(|rest| rest.strip_suffix('`')) {
        let example = EXAMPLES.iter().find(|(known, _)| *known == key);
        let hint = match example {
            Some((_, example)) => format!("add it, for example: {example}"),
            None => "add it; this table cannot do without".into(),
        };
        return Explanation { missing: Some(key.into()), ..plain(format!("missing key `{key}`"), hint) };
    }
    if matches!(value, Some(DeValue::Datetime(_))) {
        return plain(
            "a date or a time is not expected here".into(),
            "put it in quotes if it is a name".into(),
        );
    }
    for (start, what) in [("unknown field `", "key"), ("unknown variant `", "word")] {
        if let Some(rest) = message.strip_prefix(start) {
            return unknown(what, rest);
        }
    }
    if let Some((got, expected)) = message
        .split_once(", expected ")
        .filter(|_| message.starts_with("invalid "))
        .or_else(|| message.strip_prefix("wanted ").map(|expected| ("invalid type", expected)))
    {
        return wrong_kind(got, expected, value, plain);
    }
    if message.ends_with("address syntax") {
        let hint = "write an address such as 192.0.2.1 or 2001:db8::1, without a prefix length";
        return plain(message.into(), hint.into());
    }
    // Errors of lab/link.rs carry their advice behind a colon.
    match message.rsplit_once(": ") {
        Some((message, hint)) => plain(message.into(), hint.into()),
        None => plain(message.into(), "give a value of the kind that is asked for".into()),
    }
}

fn unknown(what: &str, rest: &str) -> Explanation {
    let (written, expected) = rest
        .rsplit_once("`, expected ")
        .or_else(|| rest.rsplit_once("`, there are "))
        .unwrap_or((rest.trim_end_matches('`'), ""));
    let known: Vec<&str> = expected.split('`').skip(1).step_by(2).collect();
    let spelt = OTHER_SPELLINGS.iter().find(|(other, _)| *other == written).map(|(_, key)| *key);
    let spelt = spelt.filter(|key| known.contains(key));
    let meant = spelt.or_else(|| nearest(written, known.iter().copied()));
    let all = format!("known here: {}", known.join(", "));
    Explanation {
        message: format!("unknown {what} `{written}`"),
        hint: match meant {
            Some(word) => format!("did you mean `{word}`? {all}"),
            None => all,
        },
        missing: None,
        unknown_key: what == "key",
        meant: meant.map(str::to_owned),
    }
}

fn wrong_kind(
    got: &str,
    expected: &str,
    value: Option<&DeValue<'_>>,
    plain: impl Fn(String, String) -> Explanation,
) -> Explanation {
    let kind = KINDS
        .iter()
        .find(|(serde, _)| expected == *serde || serde.ends_with(' ') && expected.starts_with(serde));
    let expected = kind.map_or(expected, |(_, words)| words);
    let got = match (got, value) {
        (_, Some(DeValue::Array(_))) | ("invalid type: sequence", _) => "invalid type: array".to_owned(),
        ("invalid type: map", _) => "invalid type: table".to_owned(),
        ("invalid type", Some(value)) => format!("invalid type: {}", value.type_str()),
        _ => got.replace(" as i128", "").replace(" as u128", ""),
    };
    let hint = match expected {
        "a string" => "put it in quotes",
        "a table" => "give it a header of its own, or write { key = value }",
        "an array" => "put it in brackets: [ ... ]",
        "true or false" => "write true or false, without quotes",
        _ if got.starts_with("invalid value") => "give one that is allowed here",
        number if number.starts_with("a whole number") => "write it in digits, without quotes",
        _ => "give a value of the kind that is asked for",
    };
    plain(format!("{got}, expected {expected}"), hint.into())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn serde_speaks_plainly() {
        let cases = [
            ("invalid type: integer `5`, expected a string", "invalid type: integer `5`, expected a string"),
            ("invalid type: map, expected a string", "invalid type: table, expected a string"),
            ("invalid type: sequence, expected struct BondTable", "invalid type: array, expected a table"),
            (
                "invalid value: integer `-1`, expected u8",
                "invalid value: integer `-1`, expected a whole number from 0 to 255",
            ),
            ("missing field `id`", "missing key `id`"),
            ("unknown field `a\nb`, expected `c`", "unknown key `a b`"),
            ("vlan id 4095 is out of range: 0 to 4094", "vlan id 4095 is out of range"),
        ];
        for (serde, ours) in cases {
            assert_eq!(explain(serde, None).message, ours);
        }
    }

    #[test]
    fn a_near_word_is_offered_and_a_far_one_is_not() {
        let near = explain("unknown field `mimon`, expected one of `mode`, `miimon`", None);
        assert_eq!(near.meant.as_deref(), Some("miimon"));
        assert_eq!(near.hint, "did you mean `miimon`? known here: mode, miimon");
        let far = explain("unknown field `master`, expected `parent` or `id`", None);
        assert_eq!((far.meant, far.hint.as_str()), (None, "known here: parent, id"));
    }
}
