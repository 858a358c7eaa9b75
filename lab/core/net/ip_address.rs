//! What `ip address` prints of a namespace's devices: read from a pasted text, and compared with what is there.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use crate::net::address::Cidr;

/// IFF_* by the names ip(8) prints, include/uapi/linux/if.h. `NO-CARRIER` and `M-DOWN` are made up by ip from others.
const FLAGS: [(&str, u32); 11] = [
    ("UP", 0x1),
    ("BROADCAST", 0x2),
    ("LOOPBACK", 0x8),
    ("POINTOPOINT", 0x10),
    ("NOARP", 0x80),
    ("PROMISC", 0x100),
    ("ALLMULTI", 0x200),
    ("MASTER", 0x400),
    ("SLAVE", 0x800),
    ("MULTICAST", 0x1000),
    ("LOWER_UP", 0x10000),
];

/// One device as it is printed. Numbers of devices, lifetimes, scopes, broadcast addresses and IPv6 are left out.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct IpAddrOutput {
    /// Its name.
    pub name: String,
    /// What stands behind `@`: a device of this namespace, or `if` for one of another.
    pub on: Option<String>,
    /// IFF_*, of those that are printed.
    pub flags: u32,
    /// In bytes.
    pub mtu: u32,
    /// Kind of the root queueing discipline.
    pub qdisc: String,
    /// The bond or bridge it is a port of.
    pub controller: Option<String>,
    /// IFLA_OPERSTATE.
    pub state: String,
    /// IFLA_TXQLEN.
    pub qlen: Option<u32>,
    /// As text. Addresses differ from run to run: which are equal is compared.
    pub mac: String,
    /// IPv4 addresses.
    pub inet: Vec<Cidr>,
}

/// What stands for devices that a text leaves out.
const MORE: &str = "...";

/// The flags that are printed, out of all that a device has.
pub fn printed_flags(flags: u32) -> u32 {
    flags & FLAGS.iter().fold(0, |all, (_, bit)| all | bit)
}

/// Reads a text as ip(8) or busybox prints it; or the lines that are no such text. A line `...` stands for more devices.
///
/// # Errors
/// Lines that cannot be read.
pub fn read(text: &str) -> Result<Vec<IpAddrOutput>, Vec<String>> {
    let mut found: Vec<IpAddrOutput> = Vec::new();
    let mut wrong = Vec::new();
    for line in text.lines().map(str::trim).filter(|line| !line.is_empty()) {
        let words: Vec<&str> = line.split_whitespace().collect();
        let is_device = words[0].strip_suffix(':').is_some_and(|number| number.parse::<u32>().is_ok());
        let understood = match (is_device, found.last_mut(), &words[..]) {
            (_, _, [MORE]) => {
                found.push(IpAddrOutput { name: MORE.into(), ..IpAddrOutput::default() });
                Some(())
            }
            (true, _, words) => device(words).map(|device| found.push(device)),
            (false, Some(device), ["link/ether" | "link/loopback", mac, ..]) => {
                device.mac = mac.to_ascii_lowercase();
                Some(())
            }
            (false, Some(device), ["inet", address, ..]) => {
                address.parse().ok().map(|address| device.inet.push(address))
            }
            (false, Some(_), ["inet6" | "valid_lft" | "altname" | "permaddr", ..]) => Some(()),
            _ => None,
        };
        if understood.is_none() {
            wrong.push(line.to_owned());
        }
    }
    if wrong.is_empty() { Ok(found) } else { Err(wrong) }
}

/// `4: bond0: <BROADCAST,MULTICAST,UP,LOWER_UP400> mtu 1500 qdisc noqueue state UP qlen 1000`.
fn device(words: &[&str]) -> Option<IpAddrOutput> {
    let [_, name, flag_words, rest @ ..] = words else { return None };
    let name = name.strip_suffix(':')?;
    let (name, on) = name.split_once('@').map_or((name, None), |(name, on)| (name, Some(on)));
    let on = on.map(|on| if is_number_of_a_device(on) { "if".to_owned() } else { on.to_owned() });
    let mut shown =
        IpAddrOutput { name: name.into(), on, flags: flags(flag_words)?, ..IpAddrOutput::default() };
    for pair in rest.chunks(2) {
        let &[key, value] = pair else { return None };
        match key {
            "mtu" => shown.mtu = value.parse().ok()?,
            "qdisc" => shown.qdisc = value.into(),
            "master" => shown.controller = Some(value.into()),
            "state" => shown.state = value.into(),
            "qlen" => shown.qlen = Some(value.parse().ok()?),
            "group" => {}
            _ => return None,
        }
    }
    Some(shown)
}

fn is_number_of_a_device(on: &str) -> bool {
    on.strip_prefix("if")
        .is_some_and(|number| !number.is_empty() && number.bytes().all(|b| b.is_ascii_digit()))
}

/// busybox knows neither MASTER nor SLAVE, and prints what is left as a number behind the last name: `LOWER_UP400`.
fn flags(words: &str) -> Option<u32> {
    let words = words.strip_prefix('<')?.strip_suffix('>')?;
    let mut all = 0;
    for word in words.split(',').filter(|word| !["NO-CARRIER", "M-DOWN", ""].contains(word)) {
        let known = FLAGS.iter().filter(|(name, _)| word.starts_with(name));
        let (name, bit) = known.max_by_key(|(name, _)| name.len())?;
        let left = &word[name.len()..];
        all |= bit;
        if !left.is_empty() {
            all |= u32::from_str_radix(left, 16).ok()?;
        }
    }
    Some(all)
}

fn flag_names(flags: u32) -> String {
    let names = FLAGS.iter().filter(|(_, bit)| flags & bit != 0).map(|(name, _)| *name);
    names.collect::<Vec<_>>().join(",")
}

/// How what is there differs from what was pasted. A queue's length counts where the text has one, its discipline where that
/// is not `*`: which one a device has by itself is the distribution's and the number of its queues.
pub fn differences(wanted: &[IpAddrOutput], there: &[IpAddrOutput]) -> Vec<String> {
    let mut out = Vec::new();
    let is_part = wanted.iter().any(|device| device.name == MORE);
    for device in wanted.iter().filter(|device| device.name != MORE) {
        match there.iter().find(|other| other.name == device.name) {
            Some(is) => out.extend(device_differences(device, is)),
            None => out.push(format!("no {}", device.name)),
        }
    }
    let is_more = |device: &&IpAddrOutput| !is_part && wanted.iter().all(|other| other.name != device.name);
    let more = there.iter().filter(is_more);
    out.extend(more.map(|device| format!("also {}", device.name)));
    out.extend(mac_differences(wanted, there));
    out
}

fn device_differences(wanted: &IpAddrOutput, is: &IpAddrOutput) -> Vec<String> {
    let text = |value: &Option<String>| value.clone().unwrap_or_else(|| "none".into());
    let inet = |shown: &IpAddrOutput| {
        let all: Vec<String> = shown.inet.iter().map(ToString::to_string).collect();
        if all.is_empty() { "none".to_owned() } else { all.join(" ") }
    };
    let qlen =
        |shown: &IpAddrOutput| wanted.qlen.and(shown.qlen).map_or_else(String::new, |len| len.to_string());
    let pairs = [
        ("@", text(&wanted.on), text(&is.on)),
        ("flags", flag_names(wanted.flags), flag_names(is.flags)),
        ("mtu", wanted.mtu.to_string(), is.mtu.to_string()),
        ("qdisc", wanted.qdisc.clone(), if wanted.qdisc == "*" { "*" } else { &is.qdisc }.to_owned()),
        ("master", text(&wanted.controller), text(&is.controller)),
        ("state", wanted.state.clone(), is.state.clone()),
        ("qlen", qlen(wanted), qlen(is)),
        ("inet", inet(wanted), inet(is)),
    ];
    let differ = pairs.into_iter().filter(|(_, wanted, is)| wanted != is);
    let name = &is.name;
    differ.map(|(what, wanted, is)| format!("{name} {what} is {is}, not {wanted}")).collect()
}

/// Devices with one address in the text that have several, and the other way round.
fn mac_differences(wanted: &[IpAddrOutput], there: &[IpAddrOutput]) -> Vec<String> {
    let is: BTreeMap<&str, &str> =
        there.iter().map(|device| (device.name.as_str(), device.mac.as_str())).collect();
    let mut out = Vec::new();
    for (place, one) in wanted.iter().enumerate() {
        for other in &wanted[place + 1..] {
            let (Some(here), Some(there)) = (is.get(one.name.as_str()), is.get(other.name.as_str())) else {
                continue;
            };
            match (one.mac == other.mac, here == there) {
                (true, false) => {
                    out.push(format!("{} and {} have different addresses", one.name, other.name))
                }
                (false, true) => out.push(format!("{} and {} have the same address", one.name, other.name)),
                _ => {}
            }
        }
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    const GUIDE: &str = "
1: lo: <LOOPBACK,UP,LOWER_UP> mtu 65536 qdisc noqueue state UNKNOWN qlen 1000
    link/loopback 00:00:00:00:00:00 brd 00:00:00:00:00:00
    inet 127.0.0.1/8 scope host lo
       valid_lft forever preferred_lft forever
3: eth0@if155: <BROADCAST,MULTICAST,UP,LOWER_UP,M-DOWN> mtu 1450 qdisc noqueue state UP
    link/ether 42:be:17:a8:86:48 brd ff:ff:ff:ff:ff:ff
4: bond0: <BROADCAST,MULTICAST,UP,LOWER_UP400> mtu 1500 qdisc noqueue state UP qlen 1000
    link/ether e2:c7:95:85:be:89 brd ff:ff:ff:ff:ff:ff
    inet 10.56.217.2/24 scope global bond0
149: net2: <BROADCAST,MULTICAST,UP,LOWER_UP800> mtu 1500 qdisc mq master bond0 state UP qlen 1000
    link/ether e2:c7:95:85:be:89 brd ff:ff:ff:ff:ff:ff
";

    #[test]
    fn a_guides_picture_is_read() {
        let shown = read(GUIDE).unwrap();
        let [lo, eth0, bond0, net2] = &shown[..] else { panic!("{shown:?}") };
        assert_eq!((lo.flags, lo.state.as_str(), lo.inet.len()), (0x10009, "UNKNOWN", 1));
        assert_eq!((eth0.on.as_deref(), eth0.qlen, eth0.mtu), (Some("if"), None, 1450));
        assert_eq!(flag_names(bond0.flags), "UP,BROADCAST,MASTER,MULTICAST,LOWER_UP");
        assert_eq!(flag_names(net2.flags), "UP,BROADCAST,SLAVE,MULTICAST,LOWER_UP");
        assert_eq!((net2.controller.as_deref(), net2.qdisc.as_str()), (Some("bond0"), "mq"));
        assert_eq!(differences(&shown, &shown), Vec::<String>::new());
    }

    #[test]
    fn iproute_prints_the_same_device() {
        let ip = read(
            "7: net2: <BROADCAST,MULTICAST,SLAVE,UP,LOWER_UP> mtu 1500 qdisc mq master bond0 state UP group default qlen 1000",
        );
        assert_eq!(ip.unwrap()[0].flags, read(GUIDE).unwrap()[3].flags);
    }

    #[test]
    fn addresses_are_compared_by_who_shares_one() {
        let wanted = read(GUIDE).unwrap();
        let mut there = wanted.clone();
        there.iter_mut().for_each(|device| device.mac = device.mac.replace("e2", "02"));
        assert_eq!(differences(&wanted, &there), Vec::<String>::new());
        there[3].mac = "02:00:00:00:00:01".into();
        assert_eq!(differences(&wanted, &there), ["bond0 and net2 have different addresses"]);
    }

    #[test]
    fn each_difference_is_reported() {
        let mut wanted = read(GUIDE).unwrap();
        let mut there = wanted.clone();
        there[3].qdisc = "pfifo_fast".into();
        there[2].inet.clear();
        there[1].qlen = Some(1000);
        there[2].qdisc = "pfifo".into();
        wanted[2].qdisc = "*".into();
        there[0].name = "lo1".into();
        let expected = [
            "no lo",
            "bond0 inet is none, not 10.56.217.2/24",
            "net2 qdisc is pfifo_fast, not mq",
            "also lo1",
        ];
        assert_eq!(differences(&wanted, &there), expected);
    }

    #[test]
    fn a_part_of_a_picture_says_nothing_of_the_rest() {
        let part: String = GUIDE.lines().skip(5).take(2).chain(["..."]).collect::<Vec<_>>().join("\n");
        let there = read(GUIDE).unwrap();
        assert_eq!(differences(&read(&part).unwrap(), &there), Vec::<String>::new());
        assert_eq!(differences(&read(&part).unwrap(), &there[..1]), ["no eth0"]);
    }

    #[test]
    fn what_is_no_such_text_is_reported() {
        assert_eq!(read("hello\n2: x: <UP,FOO> mtu 1\n").unwrap_err(), ["hello", "2: x: <UP,FOO> mtu 1"]);
    }
}
