//! What `ip -d link` prints of links that have nothing but options, a parent and ports: `*_print_opt()` of iproute2.

use bondlab_core::net::link::{Link, Virtual};
use bondlab_core::net::link_option::rows_of;

/// An option as it is asked for, in words.
fn asked(link: &Link, kind: &str, key: &str) -> Option<String> {
    let all = link.extras.options.rows(rows_of(kind));
    all.into_iter().find(|(row, _)| row.key == key).map(|(row, value)| row.wire.shown(&value))
}

/// VXLAN's own words, behind those of its ends.
fn vxlan(link: &Link, ends: &str, [tos, ttl]: [&str; 2]) -> String {
    let get = |key: &str| asked(link, "vxlan", key);
    let is = |key: &str, default: bool| get(key).map_or(default, |value| value == "true");
    let number = |key: &str, default: &str| get(key).unwrap_or_else(|| default.into());
    let word = |key: &str| if is(key, false) { format!(" {key}") } else { String::new() };
    let valued = |word: &str, key: &str| get(key).map_or(String::new(), |value| format!(" {word} {value}"));
    let learning = if is("learning", true) { "" } else { " nolearning" };
    let checksum = if is("udpcsum", true) { "udpcsum" } else { "noudpcsum" };
    let zero = if is("udp6zerocsumtx", false) { "udp6zerocsumtx" } else { "noudp6zerocsumtx" };
    let flags: String = ["proxy", "rsc", "l2miss", "l3miss"].into_iter().map(word).collect();
    format!(
        "vxlan id {}{ends} srcport 0 0 dstport {}{learning}{flags}{tos} ttl {ttl}{} ageing {}{} {checksum} {zero} noudp6zerocsumrx",
        number("id", "0"),
        number("dstport", "8472"),
        valued("df", "df"),
        number("ageing", "300"),
        valued("maxaddr", "maxaddress"),
    )
}

/// The line of its kind, without what every link has.
pub fn line(link: &Link, of: &Virtual) -> String {
    let kind = of.kind.word();
    let get = |key: &str| asked(link, kind, key);
    let is = |key: &str, default: bool| get(key).map_or(default, |value| value == "true");
    let number = |key: &str, default: &str| get(key).unwrap_or_else(|| default.into());
    let on = |key: &str, default: bool| if is(key, default) { "on" } else { "off" };
    let dev = of.parent.as_ref().map_or(String::new(), |parent| format!(" dev {}", parent.name));
    let ends = |any: &str| {
        let end = |word: &str| match get(word).or_else(|| get(&format!("{word}6"))) {
            Some(address) if word == "remote" && address.starts_with("239.") => format!(" group {address}"),
            Some(address) => format!(" {word} {address}"),
            None => format!("{any}{word}{}", if any.is_empty() { "" } else { " any" }),
        };
        let all = [end("remote"), end("local")];
        all.into_iter().filter(|end| end.starts_with(' ')).collect::<String>()
    };
    let tos = match get("tos").as_deref() {
        None | Some("0") => String::new(),
        Some("1") => " tos inherit".into(),
        Some(tos) => format!(" tos {:#x}", tos.parse::<u32>().expect("a number")),
    };
    let ttl = |zero: &str| number("ttl", "0").replace('0', if get("ttl").is_none() { zero } else { "0" });
    match kind {
        "vrf" => format!("vrf table {}", number("table", "0")),
        "vxlan" => vxlan(link, &format!("{}{dev}", ends("")), [&tos, &ttl("auto")]),
        "geneve" => format!(
            "geneve id {}{} ttl {}{tos} dstport {} {}",
            number("id", "0"),
            ends(""),
            ttl("auto"),
            number("dstport", "6081"),
            // geneve_fill_info() has the checksum of the remote end's family; geneve_nl2info() wants it for IPv6.
            match (get("remote6"), is("udpcsum", false)) {
                (Some(_), _) => "noudp6zerocsumtx noudp6zerocsumrx",
                (None, true) => "udpcsum udp6zerocsumrx",
                (None, false) => "noudpcsum udp6zerocsumrx",
            },
        ),
        "gre" | "gretap" => {
            let discovery = if is("pmtudisc", true) { "" } else { " nopmtudisc" };
            let ignore = if is("ignore_df", false) { " ignore-df" } else { "" };
            let key = get("key").map(|key| std::net::Ipv4Addr::from(key.parse::<u32>().expect("a number")));
            let keys = key.map_or(String::new(), |key| format!(" ikey {key} okey {key}"));
            format!("{kind}{}{dev} ttl {}{tos}{discovery}{ignore}{keys}", ends(" "), ttl("inherit"))
        }
        "macsec" => {
            let window = get("window").map_or(String::new(), |frames| format!(" window {frames}"));
            format!(
                "macsec sci 52540000aabb{:04x} protect {} cipher {} icvlen {} encodingsa {} validate {} offload off encrypt {} \
                 send_sci {} end_station {} scb {} replay {}{window}",
                number("port", "1").parse::<u16>().expect("a port"),
                on("protect", true),
                number("cipher", "gcm-aes-128").to_uppercase(),
                number("icvlen", "16"),
                number("encodingsa", "0"),
                number("validate", "strict"),
                on("encrypt", false),
                on("send_sci", true),
                on("end_station", false),
                on("scb", false),
                on("replay", false),
            )
        }
        other => other.to_owned(),
    }
}
