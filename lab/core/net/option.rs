//! Options of links as rows of a table: the word of `ip link`, the netlink attribute, and what values it takes.

use std::net::{Ipv4Addr, Ipv6Addr};

use crate::net::address::Mac;
use crate::net::mode::{
    AdSelect, ArpAllTargets, ArpValidate, BondMode, FailOverMac, LacpRate, PrimaryReselect, XmitHashPolicy,
};
use crate::net::name::IfName;

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
}

/// A value as it is asked for.
#[derive(Debug, Clone, PartialEq, Eq)]
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
}

impl Wire {
    /// A value in the words of `ip link`; a flag as `true` or `false`.
    pub fn shown(self, value: &Value) -> String {
        let joined = |all: Vec<String>| all.join(", ");
        match (value, self) {
            (Value::Number(number), Self::Flag) => (*number != 0).to_string(),
            (Value::Number(number), Self::Word8(words) | Self::Word32(words)) => {
                let word = words.iter().find(|(known, _)| i64::from(*known) == *number);
                word.map_or_else(|| number.to_string(), |(_, word)| (*word).to_owned())
            }
            (Value::Number(number), _) => number.to_string(),
            (Value::Ipv4s(all), _) => joined(all.iter().map(ToString::to_string).collect()),
            (Value::Ipv6s(all), _) => joined(all.iter().map(ToString::to_string).collect()),
            (Value::Port(name), _) => name.to_string(),
            (Value::Mac(mac), _) => mac.to_string(),
        }
    }

    /// What may be written, in words.
    pub fn values(self) -> String {
        match self {
            Self::Flag => "true or false".into(),
            Self::U8 => "0 to 255".into(),
            Self::U16 => "0 to 65535".into(),
            Self::U32 => "0 to 4294967295".into(),
            Self::I32 => "-2147483648 to 2147483647".into(),
            Self::Word8(words) | Self::Word32(words) => {
                words.iter().map(|(_, word)| *word).collect::<Vec<_>>().join(", ")
            }
            Self::Ipv4s => "IPv4 addresses".into(),
            Self::Ipv6s => "IPv6 addresses".into(),
            Self::Port => "a port's name".into(),
            Self::Mac => "an Ethernet address".into(),
        }
    }
}

impl OptionRow {
    /// What may be written, in words.
    pub fn values(&self) -> String {
        self.range.map_or_else(|| self.wire.values(), |(low, high)| format!("{low} to {high}"))
    }
}
