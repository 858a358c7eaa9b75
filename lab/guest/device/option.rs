//! Options of links by their rows: as netlink attributes, and whether what is read back is what was asked for.

use std::collections::BTreeMap;
use std::net::{Ipv4Addr, Ipv6Addr};

use netlink_packet_core::{DefaultNla, Nla, NlasIterator};

use crate::device::bond::{self, Asked};
use crate::device::tc::options::attribute;
use bondlab_core::net::address::Mac;
use bondlab_core::net::link_option::NOT_SHOWN;
use bondlab_core::net::option::{OptionRow, Value, Wire};
use bondlab_core::net::priority_map::PriorityMap;

/// Attributes by number, as bytes.
pub type Attributes = Vec<(u16, Vec<u8>)>;

// Keep in sync with include/uapi/linux/if_link.h, if_tunnel.h.
const IFLA_VLAN_QOS_MAPPING: u16 = 1;
const IFLA_MACVLAN_MACADDR_MODE: u16 = 3;
const IFLA_MACVLAN_MACADDR: u16 = 4;
const MACVLAN_MACADDR_SET: u32 = 3;
const IFLA_GRE_IFLAGS: u16 = 2;
const IFLA_GRE_OFLAGS: u16 = 3;
const IFLA_GRE_OKEY: u16 = 5;
const GRE_KEY: u16 = 0x2000;

/// The attributes of what is asked for; options that are bits of one attribute make one.
pub fn encode(asked: &[Asked]) -> Attributes {
    let mut all: BTreeMap<u16, Vec<u8>> = BTreeMap::new();
    for (row, value) in asked.iter().filter(|(row, _)| row.wire.is_of_message()) {
        let number = match value {
            Value::Number(number) => *number,
            _ => 0,
        };
        let on = number != 0;
        match (row.wire, value) {
            (Wire::VlanFlag(bit) | Wire::BoolOption(bit), _) => {
                // struct ifla_vlan_flags, struct br_boolopt_multi: values, and which of them are meant.
                let words = all.entry(row.number).or_insert_with(|| vec![0; 8]);
                set_bits(&mut words[..4], if on { bit } else { 0 });
                set_bits(&mut words[4..], bit);
            }
            (Wire::Bit16(bit), _) => {
                let word = all.entry(row.number).or_insert_with(|| vec![0; 2]);
                let bits = u16::from_ne_bytes([word[0], word[1]]) | if on { bit } else { 0 };
                word.copy_from_slice(&bits.to_ne_bytes());
            }
            (Wire::Macs, Value::Macs(macs)) => {
                all.insert(IFLA_MACVLAN_MACADDR_MODE, MACVLAN_MACADDR_SET.to_ne_bytes().into());
                let each = macs.iter().flat_map(|mac| attribute(IFLA_MACVLAN_MACADDR, &mac.0));
                all.insert(row.number, each.collect());
            }
            (Wire::GreKey, _) => {
                let key = u32::try_from(number).unwrap_or(0).to_be_bytes().to_vec();
                for flags in [IFLA_GRE_IFLAGS, IFLA_GRE_OFLAGS] {
                    set_flag_be(all.entry(flags).or_insert_with(|| vec![0; 2]), GRE_KEY);
                }
                all.insert(IFLA_GRE_OKEY, key.clone());
                all.insert(row.number, key);
            }
            (Wire::GreFlag(bit), _) => {
                set_flag_be(all.entry(row.number).or_insert_with(|| vec![0; 2]), if on { bit } else { 0 });
            }
            (Wire::Present, _) => {
                all.extend(on.then(|| (row.number, Vec::new())));
            }
            _ => {
                all.insert(row.number, bytes(row.wire, value, number));
            }
        }
    }
    all.into_iter().collect()
}

fn set_flag_be(word: &mut [u8], bit: u16) {
    let is = word.try_into().map_or(0, u16::from_be_bytes);
    word.copy_from_slice(&(is | bit).to_be_bytes());
}

fn set_bits(word: &mut [u8], bits: u32) {
    let is = word.try_into().map_or(0, u32::from_ne_bytes);
    word.copy_from_slice(&(is | bits).to_ne_bytes());
}

fn bytes(wire: Wire, value: &Value, number: i64) -> Vec<u8> {
    let half = u16::try_from(number).unwrap_or(u16::MAX);
    match (wire, value) {
        (Wire::Flag32, _) => u32::from(number != 0).to_ne_bytes().into(),
        (Wire::U16Be | Wire::Word16Be(_), _) => half.to_be_bytes().into(),
        (Wire::U32Be | Wire::PortRange, _) => u32::try_from(number).unwrap_or(u32::MAX).to_be_bytes().into(),
        (Wire::Word16(_), _) => half.to_ne_bytes().into(),
        (Wire::U64 | Wire::Word64(_), _) => number.to_ne_bytes().into(),
        (Wire::Ipv4, Value::Ipv4s(all)) => all.first().map(|ip| ip.octets().to_vec()).unwrap_or_default(),
        (Wire::Ipv6, Value::Ipv6s(all)) => all.first().map(|ip| ip.octets().to_vec()).unwrap_or_default(),
        (_, Value::PriorityMap(map)) => {
            let pair = |(from, to): (&u32, &u32)| {
                attribute(IFLA_VLAN_QOS_MAPPING, &[from.to_ne_bytes(), to.to_ne_bytes()].concat())
            };
            map.0.iter().flat_map(pair).collect()
        }
        _ => bond::bytes(wire, value, 0),
    }
}

/// As attributes of a message.
pub fn nlas(attributes: Attributes) -> impl Iterator<Item = DefaultNla> {
    attributes.into_iter().map(|(number, bytes)| DefaultNla::new(number, bytes))
}

/// As bytes of a nested attribute.
pub fn nested(attributes: &Attributes) -> Vec<u8> {
    attributes.iter().flat_map(|(number, bytes)| attribute(*number, bytes)).collect()
}

/// Attributes of a message of the kernel, those that `rows` speak of.
pub fn of_message(got: &[impl Nla], rows: &[OptionRow]) -> Attributes {
    let known = |number: u16| rows.iter().any(|row| row.number == number);
    let value = |nla: &_| {
        let mut bytes = vec![0; Nla::value_len(nla)];
        Nla::emit_value(nla, &mut bytes);
        (Nla::kind(nla) & NUMBER, bytes)
    };
    got.iter().filter(|nla| known(nla.kind() & NUMBER)).map(value).collect()
}

/// Attributes inside another one.
pub fn of_bytes(bytes: &[u8]) -> Attributes {
    let all = NlasIterator::new(bytes).filter_map(Result::ok);
    all.map(|nla| (nla.kind() & NUMBER, nla.value().to_vec())).collect()
}

/// Without NLA_F_NESTED and NLA_F_NET_BYTEORDER.
const NUMBER: u16 = 0x3fff;

/// One line for each option that is not in `got` as asked. Kernels take attributes they do not know without a word, so one
/// that is not there is a difference too.
pub fn differences(asked: &[Asked], got: &Attributes) -> Vec<String> {
    let mut out = Vec::new();
    let compared = |(row, _): &&Asked| row.wire.is_of_message() && !NOT_SHOWN.contains(&row.attribute);
    for (row, value) in asked.iter().filter(compared) {
        let wanted = row.wire.shown(&sorted(value.clone()));
        let word = row.key;
        // vlan_fill_info() leaves the flags away where none is set.
        let no_flags = matches!(row.wire, Wire::VlanFlag(_)).then_some(&[0; 4][..]);
        let found = got.iter().find(|(number, _)| *number == row.number);
        let is_absent = row.wire == Wire::Present && found.is_none() && wanted == "false";
        match found.map(|(_, bytes)| bytes.as_slice()).or(no_flags) {
            _ if is_absent => {}
            Some(bytes) => {
                let is = shown(row.wire, bytes);
                if is != wanted {
                    out.push(format!("{word} asked {wanted}, is {is}"));
                }
            }
            None => out.push(format!("{word} asked {wanted}, but this kernel does not know it")),
        }
    }
    out
}

/// Addresses in an order of their own: the kernel has them in that of its hash.
fn sorted(value: Value) -> Value {
    match value {
        Value::Macs(mut all) => {
            all.sort();
            all.dedup();
            Value::Macs(all)
        }
        other => other,
    }
}

/// What a kernel sent, in words.
pub fn shown(wire: Wire, bytes: &[u8]) -> String {
    let flag = |on: bool| Value::Number(on.into());
    let inside = || NlasIterator::new(bytes).filter_map(Result::ok);
    let value = match (wire, bytes) {
        (Wire::Flag32, [a, b, c, d]) => flag(u32::from_ne_bytes([*a, *b, *c, *d]) != 0),
        (Wire::VlanFlag(bit) | Wire::BoolOption(bit), [a, b, c, d, ..]) => {
            flag(u32::from_ne_bytes([*a, *b, *c, *d]) & bit != 0)
        }
        (Wire::Bit16(bit), [a, b]) => flag(u16::from_ne_bytes([*a, *b]) & bit != 0),
        (Wire::U16Be | Wire::Word16Be(_), [a, b]) => Value::Number(u16::from_be_bytes([*a, *b]).into()),
        (Wire::Word16(_), [a, b]) => Value::Number(u16::from_ne_bytes([*a, *b]).into()),
        (Wire::GreFlag(bit), [a, b]) => flag(u16::from_be_bytes([*a, *b]) & bit != 0),
        (Wire::Present, _) => flag(true),
        (Wire::GreKey | Wire::U32Be | Wire::PortRange, [a, b, c, d]) => {
            Value::Number(u32::from_be_bytes([*a, *b, *c, *d]).into())
        }
        (Wire::U64 | Wire::Word64(_), _) if bytes.len() == 8 => {
            Value::Number(bytes.try_into().map_or(-1, i64::from_ne_bytes))
        }
        (Wire::Ipv4, [a, b, c, d]) => Value::Ipv4s(vec![Ipv4Addr::new(*a, *b, *c, *d)]),
        (Wire::Ipv6, _) if bytes.len() == 16 => {
            let octets: [u8; 16] = bytes.try_into().unwrap_or_default();
            Value::Ipv6s(vec![Ipv6Addr::from(octets)])
        }
        (Wire::PriorityMap, _) => {
            let pair = |value: &[u8]| {
                let number = |at: usize| Some(u32::from_ne_bytes(value.get(at..at + 4)?.try_into().ok()?));
                Some((number(0)?, number(4)?))
            };
            Value::PriorityMap(PriorityMap(inside().filter_map(|nla| pair(nla.value())).collect()))
        }
        (Wire::Macs, _) => {
            let macs = inside().filter_map(|nla| <[u8; 6]>::try_from(nla.value()).ok()).map(Mac);
            sorted(Value::Macs(macs.collect()))
        }
        _ => return bond::shown(wire, bytes, |index| format!("device {index}")),
    };
    wire.shown(&value)
}

#[cfg(test)]
mod tests {
    use super::*;
    use bondlab_core::net::link_option::{LINK_OPTIONS, Settings, VLAN_OPTIONS, rows_of, tables};

    fn example(wire: Wire) -> Value {
        match wire {
            Wire::Mac => Value::Mac(Mac([2, 0, 0, 0, 0, 9])),
            Wire::Macs => Value::Macs(vec![Mac([2, 0, 0, 0, 0, 9]), Mac([2, 0, 0, 0, 0, 1])]),
            Wire::PriorityMap => Value::PriorityMap(PriorityMap([(0, 1), (5, 7)].into())),
            Wire::Ipv4 => Value::Ipv4s(vec![Ipv4Addr::new(192, 0, 2, 1)]),
            Wire::Ipv6 => Value::Ipv6s(vec![Ipv6Addr::LOCALHOST]),
            Wire::Word64(words) => Value::Number(i64::try_from(words[0].0).unwrap()),
            Wire::Word16Be(words) => Value::Number(words[0].0.into()),
            Wire::I32 => Value::Number(-1),
            _ => Value::Number(1),
        }
    }

    #[test]
    fn what_is_sent_is_read_back_as_asked() {
        for (what, rows) in tables() {
            let asked: Vec<Asked> = rows.iter().map(|row| (row, example(row.wire))).collect();
            let sent = encode(&asked);
            assert_eq!(differences(&asked, &sent), [""; 0], "{what}");
            assert_eq!(of_bytes(&nested(&sent)), sent, "{what}");
        }
    }

    #[test]
    fn flags_of_one_attribute_are_one_message() {
        let flags = |all: &[(&str, i64)]| {
            Settings(all.iter().map(|(key, on)| ((*key).to_owned(), Value::Number(*on))).collect())
                .rows(VLAN_OPTIONS)
        };
        let asked = flags(&[("reorder_hdr", 0), ("loose_binding", 1), ("bridge_binding", 1)]);
        assert_eq!(encode(&asked), [(2, [20, 0, 0, 0, 21, 0, 0, 0].to_vec())]);
        let got = vec![(2, [5, 0, 0, 0, 255, 255, 255, 255].to_vec())];
        assert_eq!(
            differences(&asked, &got),
            ["reorder_hdr asked false, is true", "bridge_binding asked true, is false"]
        );
    }

    #[test]
    fn flags_of_a_vlan_that_has_none_are_not_shown() {
        let row = VLAN_OPTIONS.iter().find(|row| row.key == "reorder_hdr").unwrap();
        assert_eq!(differences(&[(row, Value::Number(0))], &Vec::new()), [""; 0]);
        let off = differences(&[(row, Value::Number(1))], &Vec::new());
        assert_eq!(off, ["reorder_hdr asked true, is false"]);
    }

    #[test]
    fn an_attribute_that_a_kernel_does_not_show_is_a_difference() {
        let row = LINK_OPTIONS.iter().find(|row| row.key == "gro_ipv4_max_size").unwrap();
        let asked = vec![(row, Value::Number(1000))];
        assert_eq!(
            differences(&asked, &Vec::new()),
            ["gro_ipv4_max_size asked 1000, but this kernel does not know it"]
        );
    }

    #[test]
    fn a_key_of_gre_is_said_for_both_directions() {
        let row = rows_of("gre").iter().find(|row| row.key == "key").unwrap();
        let sent = encode(&[(row, Value::Number(258))]);
        assert_eq!(sent.iter().map(|(number, _)| *number).collect::<Vec<_>>(), [2, 3, 4, 5]);
        assert_eq!(sent[2].1, [0, 0, 1, 2]);
    }
}
