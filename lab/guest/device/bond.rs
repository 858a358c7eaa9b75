//! Options of a bond and of its ports as netlink attributes, and whether what is read back is what was asked for.

use std::net::{Ipv4Addr, Ipv6Addr};

use netlink_packet_core::{DefaultNla, Nla, NlasIterator};
use netlink_packet_route::RouteNetlinkMessage;
use netlink_packet_route::link::{
    InfoBond, InfoBondPort, InfoData, InfoKind, InfoPortData, InfoPortKind, LinkAttribute, LinkInfo,
    LinkMessage,
};

use crate::agent::testbed::Testbed;
use bondlab_core::net::address::Mac;
use bondlab_core::net::bond::BondChange;
use bondlab_core::net::name::{DeviceRef, NsName};
use bondlab_core::net::option::{OptionRow, Value, Wire};
use bondlab_core::plan::record::OpError;

/// What is asked of a bond or port.
pub type Asked = (&'static OptionRow, Value);

/// The attributes that a bond is made with. Its active port is set when ports have joined; `primary` need not have
/// joined: `bond_option_primary_set()` keeps its name.
///
/// # Errors
/// A port is not there.
pub async fn attributes(bed: &Testbed, ns: &NsName, asked: &[Asked]) -> Result<Vec<InfoBond>, OpError> {
    let made = |(row, _): &&Asked| row.attribute != "IFLA_BOND_ACTIVE_SLAVE";
    let asked: Vec<Asked> = asked.iter().filter(made).cloned().collect();
    Ok(encoded(bed, ns, &asked).await?.into_iter().map(InfoBond::Other).collect())
}

async fn encoded(bed: &Testbed, ns: &NsName, asked: &[Asked]) -> Result<Vec<DefaultNla>, OpError> {
    let mut all = Vec::new();
    for (row, value) in asked {
        let index = match value {
            Value::Port(name) => bed.index(&DeviceRef::new(ns, name)).await?,
            _ => 0,
        };
        all.push(DefaultNla::new(row.number, bytes(row.wire, value, index)));
    }
    Ok(all)
}

/// What is done, in the words of `ip link`.
fn words(device: &DeviceRef, asked: &[Asked]) -> String {
    let shown: Vec<String> =
        asked.iter().map(|(row, value)| format!("{} {}", row.key, row.wire.shown(value))).collect();
    format!("set {} of {device}", shown.join(" "))
}

/// Changes options of a bond or port.
///
/// # Errors
/// The kernel's refusal.
pub async fn change(bed: &Testbed, device: &DeviceRef, change: &BondChange) -> Result<(), OpError> {
    let asked = change.values();
    let what = words(device, &asked);
    let mut message = LinkMessage::default();
    message.header.index = bed.index(device).await?;
    message.attributes.push(LinkAttribute::LinkInfo(infos_of(bed, device, change).await?));
    let changed = bed.rtnl(&device.ns)?.change(RouteNetlinkMessage::NewLink(message), 0).await;
    changed.map_err(|error| refused(bed, &asked, error.during(&what)))
}

/// A refusal, noted as one by a kernel that does not know a word of an option if it says so.
pub fn refused(bed: &Testbed, asked: &[Asked], error: OpError) -> OpError {
    bed.is_unsupported.set(is_unknown_word(asked, &error));
    error
}

/// A value that is in no table of the option (`bond_opt_parse()`, `__bond_opt_set()`). Words of an option were checked before; a number
/// may be out of range.
fn is_unknown_word(asked: &[Asked], error: &OpError) -> bool {
    let text = error.text.as_deref().unwrap_or_default();
    let is_meant = |(row, _): &Asked| {
        matches!(row.wire, Wire::Word8(_)) && text.ends_with(&format!(" {})", row.attribute))
    };
    text.starts_with("invalid option value") && asked.iter().any(is_meant)
}

/// Changed options of a bond or port, as IFLA_LINKINFO has them.
///
/// # Errors
/// A port is not there.
pub async fn infos_of(
    bed: &Testbed,
    device: &DeviceRef,
    change: &BondChange,
) -> Result<Vec<LinkInfo>, OpError> {
    let attributes = encoded(bed, &device.ns, &change.values()).await?;
    Ok(match change {
        BondChange::Bond { .. } => {
            let data = attributes.into_iter().map(InfoBond::Other).collect();
            vec![LinkInfo::Kind(InfoKind::Bond), LinkInfo::Data(InfoData::Bond(data))]
        }
        BondChange::Port(_) => {
            let data = attributes.into_iter().map(InfoBondPort::Other).collect();
            vec![LinkInfo::PortKind(InfoPortKind::Bond), LinkInfo::PortData(InfoPortData::BondPort(data))]
        }
    })
}

/// Compares what is there with what was asked for.
///
/// # Errors
/// What is not as asked, or no complete answer.
pub async fn read_back(bed: &Testbed, device: &DeviceRef, change: &BondChange) -> Result<(), OpError> {
    let asked = change.values();
    let what = format!("read back {}", words(device, &asked));
    let links = bed.rtnl(&device.ns)?.links().await.map_err(|error| error.during(&what))?;
    let is = links.iter().find(|link| name_of(link) == Some(device.name.as_str()));
    let name_of_index = |index: u32| {
        let found = links.iter().find(|link| link.header.index == index).and_then(name_of);
        found.map_or_else(|| format!("device {index}"), str::to_owned)
    };
    let wrong = match (change, is) {
        (BondChange::Bond { .. }, Some(link)) => differences(&asked, bond_data(link), name_of_index),
        (BondChange::Port(_), Some(link)) => differences(&asked, port_data(link), name_of_index),
        (_, None) => vec!["the device is not there".into()],
    };
    if wrong.is_empty() {
        return Ok(());
    }
    bed.is_unsupported.set(wrong.iter().all(|text| is_unknown(text)));
    let text = format!("{device}: {}", wrong.join("; "));
    Err(OpError { what, errno: None, text: Some(text) })
}

fn name_of(link: &LinkMessage) -> Option<&str> {
    link.attributes.iter().find_map(|attribute| match attribute {
        LinkAttribute::IfName(name) => Some(name.as_str()),
        _ => None,
    })
}

fn infos(link: &LinkMessage) -> impl Iterator<Item = &LinkInfo> {
    let infos = link.attributes.iter().filter_map(|attribute| match attribute {
        LinkAttribute::LinkInfo(infos) => Some(infos),
        _ => None,
    });
    infos.flatten()
}

/// What the kernel shows of a bond.
pub fn bond_data(link: &LinkMessage) -> &[InfoBond] {
    let data = infos(link).find_map(|info| match info {
        LinkInfo::Data(InfoData::Bond(data)) => Some(data.as_slice()),
        _ => None,
    });
    data.unwrap_or_default()
}

/// What the kernel shows of a bond's port.
pub fn port_data(link: &LinkMessage) -> &[InfoBondPort] {
    let data = infos(link).find_map(|info| match info {
        LinkInfo::PortData(InfoPortData::BondPort(data)) => Some(data.as_slice()),
        _ => None,
    });
    data.unwrap_or_default()
}

/// Ends the line of an attribute that the kernel does not show.
const UNKNOWN: &str = ", but this kernel does not know it";

/// Whether a line of [`differences`] says that the kernel does not know the option.
pub fn is_unknown(difference: &str) -> bool {
    difference.ends_with(UNKNOWN)
}

/// One line for each attribute that does not stand in `got` as asked. Kernels take attributes they do not know
/// without a word (`bond_policy` ends where they do), so one that is not there is a difference too.
pub fn differences(asked: &[Asked], got: &[impl Nla], name_of: impl Fn(u32) -> String) -> Vec<String> {
    let mut out = Vec::new();
    for (row, value) in asked {
        let (word, wanted) = (row.key, row.wire.shown(value));
        match got.iter().find(|attribute| attribute.kind() == row.number) {
            Some(have) => {
                let mut bytes = vec![0; have.value_len()];
                have.emit_value(&mut bytes);
                let is = shown(row.wire, &bytes, &name_of);
                if is != wanted {
                    out.push(format!("{word} asked {wanted}, is {is}"));
                }
            }
            None if row.wire == Wire::Port => out.push(format!("{word} asked {wanted}, is none")),
            None => out.push(format!("{word} asked {wanted}{UNKNOWN}")),
        }
    }
    out
}

/// A value as it is sent; `index` is a port's number.
pub(crate) fn bytes(wire: Wire, value: &Value, index: u32) -> Vec<u8> {
    // Checked: a number is in the range of its type.
    let number = match value {
        Value::Number(number) => *number,
        _ => index.into(),
    };
    let [one, two, three, four, ..] = number.to_le_bytes();
    match (value, wire) {
        (Value::Ipv4s(all), _) => nested(all.iter().map(|address| address.octets().to_vec())),
        (Value::Ipv6s(all), _) => nested(all.iter().map(|address| address.octets().to_vec())),
        (Value::Mac(mac), _) => mac.0.to_vec(),
        (_, Wire::Flag | Wire::U8 | Wire::Word8(_)) => vec![one],
        (_, Wire::U16) => u16::from_le_bytes([one, two]).to_ne_bytes().to_vec(),
        _ => u32::from_le_bytes([one, two, three, four]).to_ne_bytes().to_vec(),
    }
}

fn nested(items: impl Iterator<Item = Vec<u8>>) -> Vec<u8> {
    let mut all = Vec::new();
    for (place, item) in (0_u16..).zip(items) {
        let len = u16::try_from(item.len() + 4).expect("an address has 16 bytes at the most");
        all.extend(len.to_ne_bytes());
        all.extend(place.to_ne_bytes());
        all.extend(item);
    }
    all
}

/// What a kernel sent, in words.
pub fn shown(wire: Wire, bytes: &[u8], name_of: impl Fn(u32) -> String) -> String {
    let value = match (wire, bytes) {
        (Wire::Flag | Wire::U8 | Wire::Word8(_), [one]) => Value::Number((*one).into()),
        (Wire::U16, [one, two]) => Value::Number(u16::from_ne_bytes([*one, *two]).into()),
        (Wire::I32, [a, b, c, d]) => Value::Number(i32::from_ne_bytes([*a, *b, *c, *d]).into()),
        (Wire::U32 | Wire::Word32(_), [a, b, c, d]) => {
            Value::Number(u32::from_ne_bytes([*a, *b, *c, *d]).into())
        }
        (Wire::Port, [a, b, c, d]) => return name_of(u32::from_ne_bytes([*a, *b, *c, *d])),
        (Wire::Mac, [a, b, c, d, e, f]) => Value::Mac(Mac([*a, *b, *c, *d, *e, *f])),
        (Wire::Ipv4s, _) => Value::Ipv4s(addresses(bytes, Ipv4Addr::from)),
        (Wire::Ipv6s, _) => Value::Ipv6s(addresses(bytes, Ipv6Addr::from)),
        _ => return format!("{} bytes", bytes.len()),
    };
    wire.shown(&value)
}

fn addresses<A, const LEN: usize>(bytes: &[u8], make: fn([u8; LEN]) -> A) -> Vec<A> {
    let items = NlasIterator::new(bytes).filter_map(Result::ok);
    items.filter_map(|item| <[u8; LEN]>::try_from(item.value()).ok()).map(make).collect()
}

#[cfg(test)]
mod tests {
    use netlink_packet_route::link::{BondLacpRate, BondMode};

    use super::*;
    use bondlab_core::net::bond::Bond;
    use bondlab_core::net::bond_option::{BOND_OPTIONS, BondOptions, PORT_OPTIONS};
    use bondlab_core::net::mode;

    fn bond() -> Bond {
        let options = BondOptions {
            miimon: Some(100),
            lacp_rate: Some(mode::LacpRate::Fast),
            lacp_active: Some(false),
            ..BondOptions::default()
        };
        Bond { options, ..Bond::new(mode::BondMode::Ieee8023Ad, Vec::new()) }
    }

    #[test]
    fn a_word_that_the_kernel_does_not_know_is_told_from_a_number_out_of_range() {
        let asked = bond().values();
        for (text, is_unknown) in [
            ("invalid option value (at IFLA_LINKINFO IFLA_INFO_DATA IFLA_BOND_AD_LACP_RATE)", true),
            ("invalid option value (at IFLA_LINKINFO IFLA_INFO_DATA IFLA_BOND_MIIMON)", false),
            ("invalid option value (at IFLA_LINKINFO IFLA_INFO_DATA IFLA_BOND_AD_SELECT)", false),
            ("unable to set option because of its mode (at IFLA_BOND_AD_LACP_RATE)", false),
        ] {
            let error = OpError { what: "x".into(), errno: Some("EINVAL".into()), text: Some(text.into()) };
            assert_eq!(is_unknown_word(&asked, &error), is_unknown, "{text}");
        }
    }

    #[test]
    fn each_value_has_the_length_of_its_attribute() {
        for row in BOND_OPTIONS.iter().chain(PORT_OPTIONS) {
            let (value, len) = match row.wire {
                Wire::Flag | Wire::U8 | Wire::Word8(_) => (Value::Number(1), 1),
                Wire::U16 => (Value::Number(258), 2),
                Wire::I32 => (Value::Number(-2), 4),
                Wire::U32 => (Value::Number(0x0102_0304), 4),
                Wire::Word32(_) => (Value::Number(1), 4),
                Wire::Port => (Value::Port("p0".parse().unwrap()), 4),
                Wire::Mac => (Value::Mac(Mac([2, 0, 0, 0, 0, 1])), 6),
                Wire::Ipv4s => (Value::Ipv4s(vec![Ipv4Addr::LOCALHOST, Ipv4Addr::BROADCAST]), 16),
                Wire::Ipv6s => (Value::Ipv6s(vec![Ipv6Addr::LOCALHOST, Ipv6Addr::UNSPECIFIED]), 40),
                other => unreachable!("no option of a bond is sent as {other:?}"),
            };
            let sent = bytes(row.wire, &value, 7);
            assert_eq!(sent.len(), len, "{}", row.key);
            let name_of = |index| format!("p{}", index - 7);
            assert_eq!(shown(row.wire, &sent, name_of), row.wire.shown(&value), "{}", row.key);
        }
    }

    #[test]
    fn every_difference_has_a_name() {
        let mut bond = bond();
        bond.options.primary = Some("d0".parse().unwrap());
        let got = [
            InfoBond::Mode(BondMode::Ieee8023Ad),
            InfoBond::MiiMon(0),
            InfoBond::MinLinks(3),
            InfoBond::AdLacpRate(BondLacpRate::Slow),
        ];
        let name_of = |index| format!("d{}", index - 7);
        assert_eq!(
            differences(&bond.values(), &got, name_of),
            [
                "miimon asked 100, is 0",
                "primary asked d0, is none",
                "lacp_rate asked fast, is slow",
                "lacp_active asked false, but this kernel does not know it",
            ]
        );
        let as_asked = [
            InfoBond::Mode(BondMode::Ieee8023Ad),
            InfoBond::MiiMon(100),
            InfoBond::Primary(7),
            InfoBond::AdLacpRate(BondLacpRate::Fast),
            InfoBond::AdLacpActive(false),
        ];
        assert!(differences(&bond.values(), &as_asked, name_of).is_empty());
    }
}
