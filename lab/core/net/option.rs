//! Options of links as rows of a table: the word of `ip link`, the netlink attribute, and what values it takes.

use std::net::{Ipv4Addr, Ipv6Addr};

use serde::{Deserialize, Serialize};

use crate::net::address::Mac;
use crate::net::mode::{
    AdSelect, ArpAllTargets, ArpValidate, BondMode, FailOverMac, LacpRate, PrimaryReselect, VlanProtocol,
    XmitHashPolicy,
};
use crate::net::name::IfName;
use crate::net::port_range::PortRange;
use crate::net::priority_map::PriorityMap;

/// One option of a kind of link.
#[derive(Debug)]
pub struct OptionRow {
    /// Its word in `ip link`, which is the key of the file.
    pub key: &'static str,
    /// Its name in include/uapi/linux/if_link.h.
    pub attribute: &'static str,
    /// Its number there.
    pub number: u16,
    /// How its value is sent and read.
    pub wire: Wire,
    /// Smallest and largest value, where the kernel takes fewer than its type holds.
    pub range: Option<(i64, i64)>,
    /// The modes of a bond in which the kernel takes it; all of them when empty.
    pub modes: &'static [BondMode],
    /// What the kernel gives a bond that is not asked for anything.
    pub default: &'static str,
    /// What it does, with its unit.
    pub about: &'static [&'static str],
}

/// How a value is sent, and how it is read in a message of the kernel. Numbers are in the machine's byte order.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Wire {
    /// One byte, 0 or 1.
    Flag,
    /// One byte.
    U8,
    /// Two bytes.
    U16,
    /// Four bytes.
    U32,
    /// Four bytes with a sign.
    I32,
    /// One byte that stands for a word.
    Word8(&'static [(u32, &'static str)]),
    /// Four bytes that stand for a word.
    Word32(&'static [(u32, &'static str)]),
    /// Nested: one address each.
    Ipv4s,
    /// Nested: one address each.
    Ipv6s,
    /// The number of a device that is a port, in four bytes.
    Port,
    /// Six bytes.
    Mac,
    /// Eight bytes.
    U64,
    /// Two bytes in the order of the network.
    U16Be,
    /// Two bytes in the order of the network that stand for a word.
    Word16Be(&'static [(u32, &'static str)]),
    /// Two bytes that stand for a word.
    Word16(&'static [(u32, &'static str)]),
    /// Four bytes of an IPv4 address.
    Ipv4,
    /// Sixteen bytes of an IPv6 address.
    Ipv6,
    /// One bit of `struct ifla_vlan_flags`: flags and a mask of those that are meant.
    VlanFlag(u32),
    /// One bit of two bytes, beside the mode in `IFLA_IPVLAN_FLAGS` or `IFLA_MACVLAN_FLAGS`.
    Bit16(u16),
    /// One option of `struct br_boolopt_multi`: values and a mask of those that are meant.
    BoolOption(u32),
    /// Nested `struct ifla_vlan_qos_mapping`.
    PriorityMap,
    /// The addresses of a macvlan in source mode, set as a whole (MACVLAN_MACADDR_SET).
    Macs,
    /// A key for both directions, each with the flag that there is one (GRE_KEY).
    GreKey,
    /// A bit of GRE's flags, in the order of the network, beside GRE_KEY.
    GreFlag(u16),
    /// An attribute without content, which is there or not (NLA_FLAG).
    Present,
    /// Four bytes in the order of the network.
    U32Be,
    /// Two ports in the order of the network: `struct ifla_vxlan_port_range`.
    PortRange,
    /// Four bytes, 0 or 1.
    Flag32,
    /// A flag of the device (IFF_*) in the header of the message; `inverted` where the flag says that something is off.
    Interface {
        /// The flag.
        flag: u32,
        /// Whether it means the contrary of the key.
        inverted: bool,
    },
    /// A file of the device below /sys/class/net that holds 0 or 1.
    SysFile(&'static str),
    /// In Mbit/s, by `ETHTOOL_SLINKSETTINGS`.
    Speed,
    /// A cipher suite by its number in eight bytes.
    Word64(&'static [(u64, &'static str)]),
}

/// A value as it is asked for.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Value {
    /// A number, a flag or what stands for a word.
    Number(i64),
    /// Addresses.
    Ipv4s(Vec<Ipv4Addr>),
    /// Addresses.
    Ipv6s(Vec<Ipv6Addr>),
    /// A port.
    Port(IfName),
    /// An Ethernet address.
    Mac(Mac),
    /// Ethernet addresses.
    Macs(Vec<Mac>),
    /// Priorities, from and to.
    PriorityMap(PriorityMap),
}

/// A type of the file that is a value of an option.
pub trait OptionType {
    /// How it is sent.
    const WIRE: Wire;
    /// The value.
    fn value(&self) -> Value;
}

macro_rules! option_types {
    ($($type:ty => $wire:expr, |$value:ident| $make:expr;)+) => {
        $(impl OptionType for $type {
            const WIRE: Wire = $wire;
            fn value(&self) -> Value {
                let $value = self;
                $make
            }
        })+
    };
}

option_types! {
    bool => Wire::Flag, |on| Value::Number((*on).into());
    u8 => Wire::U8, |number| Value::Number((*number).into());
    u16 => Wire::U16, |number| Value::Number((*number).into());
    u32 => Wire::U32, |number| Value::Number((*number).into());
    i32 => Wire::I32, |number| Value::Number((*number).into());
    BondMode => Wire::Word8(Self::WORDS), |word| Value::Number(word.number().into());
    XmitHashPolicy => Wire::Word8(Self::WORDS), |word| Value::Number(word.number().into());
    FailOverMac => Wire::Word8(Self::WORDS), |word| Value::Number(word.number().into());
    LacpRate => Wire::Word8(Self::WORDS), |word| Value::Number(word.number().into());
    AdSelect => Wire::Word8(Self::WORDS), |word| Value::Number(word.number().into());
    PrimaryReselect => Wire::Word8(Self::WORDS), |word| Value::Number(word.number().into());
    ArpValidate => Wire::Word32(Self::WORDS), |word| Value::Number(word.number().into());
    ArpAllTargets => Wire::Word32(Self::WORDS), |word| Value::Number(word.number().into());
    Vec<Ipv4Addr> => Wire::Ipv4s, |all| Value::Ipv4s(all.clone());
    Vec<Ipv6Addr> => Wire::Ipv6s, |all| Value::Ipv6s(all.clone());
    IfName => Wire::Port, |name| Value::Port(name.clone());
    Mac => Wire::Mac, |mac| Value::Mac(*mac);
    PortRange => Wire::PortRange, |range| Value::Number(range.number());
    VlanProtocol => Wire::Word16Be(Self::WORDS), |word| Value::Number(word.number().into());
    PriorityMap => Wire::PriorityMap, |map| Value::PriorityMap(map.clone());
    Vec<Mac> => Wire::Macs, |all| Value::Macs(all.clone());
    Ipv4Addr => Wire::Ipv4, |address| Value::Ipv4s(vec![*address]);
    Ipv6Addr => Wire::Ipv6, |address| Value::Ipv6s(vec![*address]);
    u64 => Wire::U64, |number| Value::Number((*number).try_into().unwrap_or(i64::MAX));
}

impl Wire {
    /// A value in the words of `ip link`; a flag as `true` or `false`.
    pub fn shown(self, value: &Value) -> String {
        let joined = |all: Vec<String>| all.join(", ");
        match (value, self) {
            (
                Value::Number(number),
                Self::Flag
                | Self::Flag32
                | Self::VlanFlag(_)
                | Self::Bit16(_)
                | Self::BoolOption(_)
                | Self::GreFlag(_)
                | Self::Present
                | Self::Interface { .. }
                | Self::SysFile(_),
            ) => (*number != 0).to_string(),
            (
                Value::Number(number),
                Self::Word8(words) | Self::Word16(words) | Self::Word16Be(words) | Self::Word32(words),
            ) => {
                let word = words.iter().find(|(known, _)| i64::from(*known) == *number);
                word.map_or_else(|| number.to_string(), |(_, word)| (*word).to_owned())
            }
            (Value::Number(number), Self::Word64(words)) => {
                let word = words.iter().find(|(known, _)| i64::try_from(*known) == Ok(*number));
                word.map_or_else(|| format!("{number:#x}"), |(_, word)| (*word).to_owned())
            }
            (Value::Number(number), Self::PortRange) => PortRange::of_number(*number).to_string(),
            (Value::Number(number), _) => number.to_string(),
            (Value::Ipv4s(all), _) => joined(all.iter().map(ToString::to_string).collect()),
            (Value::Ipv6s(all), _) => joined(all.iter().map(ToString::to_string).collect()),
            (Value::Port(name), _) => name.to_string(),
            (Value::Mac(mac), _) => mac.to_string(),
            (Value::Macs(all), _) => joined(all.iter().map(ToString::to_string).collect()),
            (Value::PriorityMap(map), _) => map.to_string(),
        }
    }

    /// Whether it is an attribute of the message that makes a link, and not set in another way.
    pub fn is_of_message(self) -> bool {
        !matches!(self, Self::Interface { .. } | Self::SysFile(_) | Self::Speed)
    }

    /// What may be written, in words.
    pub fn values(self) -> String {
        match self {
            Self::Flag
            | Self::Flag32
            | Self::VlanFlag(_)
            | Self::Bit16(_)
            | Self::BoolOption(_)
            | Self::GreFlag(_)
            | Self::Present
            | Self::Interface { .. }
            | Self::SysFile(_) => "true or false".into(),
            Self::U8 => "0 to 255".into(),
            Self::U16 | Self::U16Be => "0 to 65535".into(),
            Self::U32 | Self::U32Be | Self::GreKey | Self::Speed => "0 to 4294967295".into(),
            Self::U64 => "0 to 9223372036854775807".into(),
            Self::I32 => "-2147483648 to 2147483647".into(),
            Self::Word8(words) | Self::Word16(words) | Self::Word16Be(words) | Self::Word32(words) => {
                words.iter().map(|(_, word)| *word).collect::<Vec<_>>().join(", ")
            }
            Self::Ipv4s => "IPv4 addresses".into(),
            Self::Ipv6s => "IPv6 addresses".into(),
            Self::Port => "a port's name".into(),
            Self::Mac => "an Ethernet address".into(),
            Self::Macs => "Ethernet addresses".into(),
            Self::Ipv4 => "an IPv4 address".into(),
            Self::Ipv6 => "an IPv6 address".into(),
            Self::PortRange => "ports, `low-high`".into(),
            Self::PriorityMap => "priorities by priority".into(),
            Self::Word64(words) => words.iter().map(|(_, word)| *word).collect::<Vec<_>>().join(", "),
        }
    }
}

impl OptionRow {
    /// What may be written, in words.
    pub fn values(&self) -> String {
        self.range.map_or_else(|| self.wire.values(), |(low, high)| format!("{low} to {high}"))
    }
}
