//! What `tc -s qdisc` shows of some queueing disciplines beside the counters that all have (TCA_STATS_APP): where it is in the
//! kernel's structure.

/// A number: its word, and its place and length in bytes.
pub type Field = (&'static str, usize, usize);

/// By kind. The structures are of include/uapi/linux/pkt_sched.h.
pub static XSTATS: &[(&str, &[Field])] = &[
    // struct tc_red_xstats
    ("red", &[("early", 0, 4), ("pdrop", 4, 4), ("other", 8, 4), ("marked", 12, 4)]),
    // struct tc_codel_xstats
    (
        "codel",
        &[
            ("maxpacket", 0, 4),
            ("count", 4, 4),
            ("lastcount", 8, 4),
            ("ldelay", 12, 4),
            ("drop_overlimit", 20, 4),
            ("ecn_mark", 24, 4),
            ("dropping", 28, 4),
            ("ce_mark", 32, 4),
        ],
    ),
    // struct tc_fq_codel_xstats: a type, and struct tc_fq_codel_qd_stats
    (
        "fq_codel",
        &[
            ("maxpacket", 4, 4),
            ("drop_overlimit", 8, 4),
            ("ecn_mark", 12, 4),
            ("new_flow_count", 16, 4),
            ("new_flows_len", 20, 4),
            ("old_flows_len", 24, 4),
            ("ce_mark", 28, 4),
            ("memory_used", 32, 4),
            ("drop_overmemory", 36, 4),
        ],
    ),
    // struct tc_pie_xstats
    (
        "pie",
        &[
            ("delay", 8, 4),
            ("pkts_in", 20, 4),
            ("dropped", 24, 4),
            ("overlimit", 28, 4),
            ("maxq", 32, 4),
            ("ecn_mark", 36, 4),
        ],
    ),
    // struct tc_fq_qd_stats
    (
        "fq",
        &[
            ("gc", 0, 8),
            ("highprio", 8, 8),
            ("retrans", 16, 8),
            ("throttled", 24, 8),
            ("flows_plimit", 32, 8),
            ("too_long_pkts", 40, 8),
            ("alloc_errors", 48, 8),
            ("flows", 64, 4),
            ("inactive", 68, 4),
            ("throttled_flows", 72, 4),
        ],
    ),
    // struct tc_sfq_xstats
    ("sfq", &[("allot", 0, 4)]),
];

/// The number of a word in what the kernel sent of a discipline; none where this kind does not have it.
pub fn value(kind: &str, word: &str, bytes: &[u8]) -> Option<u64> {
    let (_, fields) = XSTATS.iter().find(|(known, _)| *known == kind)?;
    let (_, place, len) = fields.iter().find(|(known, ..)| *known == word)?;
    let field = bytes.get(*place..place + len)?;
    Some(match field {
        [a, b, c, d] => u32::from_ne_bytes([*a, *b, *c, *d]).into(),
        _ => u64::from_ne_bytes(field.try_into().ok()?),
    })
}

/// All words.
pub fn words() -> impl Iterator<Item = &'static str> {
    XSTATS.iter().flat_map(|(_, fields)| fields.iter()).map(|(word, ..)| *word)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_number_is_read_at_its_place() {
        let bytes: Vec<u8> = (1_u32..=10).flat_map(u32::to_ne_bytes).collect();
        assert_eq!(value("red", "marked", &bytes), Some(4));
        assert_eq!(value("fq_codel", "ecn_mark", &bytes), Some(4));
        assert_eq!(value("codel", "drop_overlimit", &bytes), Some(6));
        assert_eq!(value("fq", "highprio", &7_u64.to_ne_bytes().repeat(2)), Some(7));
        assert_eq!(value("pfifo", "marked", &bytes), None);
        assert_eq!(value("red", "marked", &bytes[..15]), None, "an answer that is cut");
    }
}
