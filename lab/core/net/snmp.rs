//! SNMP counters of a namespace, as `nstat -az` names them: /proc/net/snmp, netstat and snmp6.

/// The files below /proc/net that have them.
pub const SNMP_FILES: [&str; 3] = ["snmp", "netstat", "snmp6"];

/// A counter out of one of these files. snmp and netstat have pairs of lines, names and values behind the same word
/// (`snmp_seq_show_ipstats()`); snmp6 has a counter in each line (`snmp6_seq_show_item()`). Without IPv6 there is no snmp6.
pub fn counter(text: &str, name: &str) -> Option<u64> {
    let mut names: Option<(&str, &str)> = None;
    for line in text.lines() {
        match line.split_once(": ") {
            Some((group, rest)) => match names.take() {
                Some((named, words)) if named == group => {
                    let rest_of_name = name.strip_prefix(group).unwrap_or_default();
                    let at = words.split_whitespace().position(|word| word == rest_of_name);
                    if let Some(at) = at.filter(|_| name.starts_with(group)) {
                        // A gauge such as TcpMaxConn may be below zero.
                        return rest.split_whitespace().nth(at)?.parse().ok();
                    }
                }
                _ => names = Some((group, rest)),
            },
            None => {
                let mut words = line.split_whitespace();
                if words.next() == Some(name) {
                    return words.next()?.parse().ok();
                }
            }
        }
    }
    None
}

/// Whether a text can be the name of a counter.
pub fn is_name(text: &str) -> bool {
    text.starts_with(|c: char| c.is_ascii_uppercase())
        && text.bytes().all(|byte| byte.is_ascii_alphanumeric())
}

#[cfg(test)]
mod tests {
    use super::*;

    const SNMP: &str = "Ip: Forwarding DefaultTTL InReceives OutDiscards\nIp: 2 64 17 3\n\
                        Tcp: RtoAlgorithm MaxConn RetransSegs\nTcp: 1 -1 5\n";
    const NETSTAT: &str = "TcpExt: SyncookiesSent TCPLostRetransmit\nTcpExt: 0 4\n\
                           IpExt: InNoRoutes InTruncatedPkts\nIpExt: 8 9\n";
    const SNMP6: &str = "Ip6InReceives                   \t12\nIp6OutDiscards                  \t1\n";

    #[test]
    fn counters_are_found_by_the_names_of_nstat() {
        for (text, name, expected) in [
            (SNMP, "IpOutDiscards", Some(3)),
            (SNMP, "TcpRetransSegs", Some(5)),
            (SNMP, "TcpMaxConn", None),
            (SNMP, "IpNone", None),
            (SNMP, "OutDiscards", None),
            (NETSTAT, "TcpExtTCPLostRetransmit", Some(4)),
            (NETSTAT, "IpExtInNoRoutes", Some(8)),
            (SNMP6, "Ip6OutDiscards", Some(1)),
            (SNMP6, "Ip6", None),
        ] {
            assert_eq!(counter(text, name), expected, "{name}");
        }
    }

    #[test]
    fn a_name_has_letters_and_digits() {
        assert!(is_name("Ip6OutDiscards"));
        assert!(!is_name("ip_discards") && !is_name("") && !is_name("Ip OutDiscards"));
    }
}
