//! TCA_OPTIONS of each queueing discipline, as bytes and back: netlink-packet-route types few of them.
//!
//! Structures and numbers: keep in sync with include/uapi/linux/pkt_sched.h.

use netlink_packet_core::NlasIterator;

use bondlab_core::net::qdisc::{PlugAction, Qdisc};

const TCA_TBF_PARMS: u16 = 1;
const TCA_TBF_RATE64: u16 = 4;
const TCA_TBF_BURST: u16 = 6;
const TCA_NETEM_LATENCY64: u16 = 10;
const TCA_CODEL_LIMIT: u16 = 2;
const TCA_FQ_PLIMIT: u16 = 1;
const TCA_FQ_FLOW_PLIMIT: u16 = 2;
const TCA_FQ_CODEL_LIMIT: u16 = 2;
const TCA_CAKE_BASE_RATE64: u16 = 2;
const TCA_CAKE_MEMORY: u16 = 10;
const TCA_PIE_LIMIT: u16 = 2;
const TCA_RED_PARMS: u16 = 1;
const TCA_RED_STAB: u16 = 2;
const TCA_RED_MAX_P: u16 = 3;
const RED_STAB_BYTES: usize = 256;
const TCA_HTB_PARMS: u16 = 1;
const TCA_HTB_INIT: u16 = 2;
const TCA_HTB_RATE64: u16 = 6;
const TCA_HTB_CEIL64: u16 = 7;
const HTB_VERSION: u32 = 3;
const HTB_RATE_TO_QUANTUM: u32 = 10;
/// The class of all packets, by its number.
const DEFAULT_CLASS: u16 = 1;
const TCA_HFSC_FSC: u16 = 2;
const TCA_HFSC_USC: u16 = 3;
const PRIORITIES: usize = 16;
const TC_LINKLAYER_ETHERNET: u8 = 1;

/// A scheduler tick is 64 ns (PSCHED_SHIFT, include/net/pkt_sched.h).
const PSCHED_TICK_NS: u64 = 64;
const NS_PER_S: u64 = 1_000_000_000;
const NS_PER_US: i64 = 1_000;

/// One netlink attribute.
pub fn attribute(kind: u16, value: &[u8]) -> Vec<u8> {
    let len = u16::try_from(value.len() + 4).expect("the lab's attributes are tens of bytes");
    let mut bytes = [len.to_ne_bytes(), kind.to_ne_bytes()].concat();
    bytes.extend(value);
    bytes.resize(bytes.len().next_multiple_of(4), 0);
    bytes
}

/// What TCA_OPTIONS holds for this discipline; `None` where there are no options.
pub fn encode(qdisc: &Qdisc) -> Option<Vec<u8>> {
    let optional = |kind: u16, value: Option<u32>| {
        value.map(|value| attribute(kind, &value.to_ne_bytes())).unwrap_or_default()
    };
    let options = match qdisc {
        // struct tc_fifo_qopt
        Qdisc::Pfifo { limit } | Qdisc::Bfifo { limit } | Qdisc::PfifoHeadDrop { limit } => {
            limit.to_ne_bytes().into()
        }
        Qdisc::Plug { limit } => plug(PlugAction::Buffer, *limit),
        Qdisc::Tbf { rate, burst, limit, .. } => tbf(rate / 8, *burst, *limit),
        Qdisc::Netem { limit, delay_us, loss_percent } => netem(*limit, *delay_us, *loss_percent),
        // struct tc_sfq_qopt: quantum, perturb_period, limit, divisor, flows; 0 leaves the kernel's choice.
        Qdisc::Sfq { limit } => [0, 0, *limit, 0, 0].map(u32::to_ne_bytes).concat(),
        Qdisc::Codel { limit } => optional(TCA_CODEL_LIMIT, *limit),
        Qdisc::Fq { limit, flow_limit } => {
            [optional(TCA_FQ_PLIMIT, *limit), optional(TCA_FQ_FLOW_PLIMIT, *flow_limit)].concat()
        }
        Qdisc::FqCodel { limit } => optional(TCA_FQ_CODEL_LIMIT, *limit),
        Qdisc::Cake { rate, limit } => {
            let rate = rate.map(|rate| attribute(TCA_CAKE_BASE_RATE64, &(rate / 8).to_ne_bytes()));
            [rate.unwrap_or_default(), optional(TCA_CAKE_MEMORY, *limit)].concat()
        }
        Qdisc::Pie { limit } => optional(TCA_PIE_LIMIT, *limit),
        Qdisc::Red { limit, min, max, probability_percent } => {
            red([*limit, *min, *max], *probability_percent)
        }
        // struct tc_htb_glob: version, rate2quantum, defcls, debug, direct_pkts.
        Qdisc::Htb { .. } => {
            let glob = [HTB_VERSION, HTB_RATE_TO_QUANTUM, DEFAULT_CLASS.into(), 0, 0].map(u32::to_ne_bytes);
            attribute(TCA_HTB_INIT, &glob.concat())
        }
        // struct tc_hfsc_qopt
        Qdisc::Hfsc { .. } => DEFAULT_CLASS.to_ne_bytes().into(),
        // struct tc_multiq_qopt: the kernel writes both.
        Qdisc::Multiq => vec![0; 4],
        Qdisc::Mqprio { queues, priorities } => mqprio(queues, priorities),
        Qdisc::PfifoFast | Qdisc::Mq { .. } | Qdisc::Teql | Qdisc::Noqueue => Vec::new(),
    };
    Some(options).filter(|options| !options.is_empty())
}

/// TCA_OPTIONS of the class of all packets, of a discipline that needs one.
pub fn class(qdisc: &Qdisc) -> Option<Vec<u8>> {
    match qdisc {
        Qdisc::Htb { rate, ceil, burst, .. } => {
            let (rate, ceil) = (rate / 8, ceil.unwrap_or(*rate) / 8);
            // struct tc_htb_opt: rate, ceil, buffer, cbuffer, quantum, level, prio.
            let mut parms = rate_spec(rate);
            parms.extend(rate_spec(ceil));
            parms.extend(tbf_buffer(rate, *burst).to_ne_bytes());
            parms.extend(tbf_buffer(ceil, *burst).to_ne_bytes());
            parms.extend([0; 12]);
            let mut options = attribute(TCA_HTB_PARMS, &parms);
            for (kind, rate) in [(TCA_HTB_RATE64, rate), (TCA_HTB_CEIL64, ceil)] {
                if rate > u64::from(u32::MAX) {
                    options.extend(attribute(kind, &rate.to_ne_bytes()));
                }
            }
            Some(options)
        }
        Qdisc::Hfsc { rate, .. } => {
            // struct tc_service_curve: m1, d, m2, a straight line.
            let rate = u32::try_from(rate / 8).unwrap_or(u32::MAX);
            let curve = [0, 0, rate].map(u32::to_ne_bytes).concat();
            Some([attribute(TCA_HFSC_FSC, &curve), attribute(TCA_HFSC_USC, &curve)].concat())
        }
        _ => None,
    }
}

/// `struct tc_ratespec` in bytes per second. With a link layer named, no rate table is wanted.
fn rate_spec(rate: u64) -> Vec<u8> {
    let mut spec = vec![0, TC_LINKLAYER_ETHERNET, 0, 0, 0, 0, 0, 0];
    spec.extend(u32::try_from(rate).unwrap_or(u32::MAX).to_ne_bytes());
    spec
}

/// `struct tc_red_qopt`: limit, qth_min, qth_max, Wlog, Plog, Scell_log, flags. The average follows the queue at once
/// (Wlog 0), so that what is dropped does not depend on what was sent before.
fn red(lengths: [u32; 3], probability_percent: u32) -> Vec<u8> {
    let mut parms = lengths.map(u32::to_ne_bytes).concat();
    parms.extend([0; 4]);
    let mut options = attribute(TCA_RED_PARMS, &parms);
    options.extend(attribute(TCA_RED_STAB, &[0; RED_STAB_BYTES]));
    options.extend(attribute(TCA_RED_MAX_P, &netem_loss(probability_percent).to_ne_bytes()));
    options
}

/// `struct tc_mqprio_qopt`: num_tc, prio_tc_map, hw, count, offset.
fn mqprio(queues: &[u16], priorities: &[u8]) -> Vec<u8> {
    let mut options = vec![u8::try_from(queues.len()).unwrap_or(u8::MAX)];
    let mut map = [0; PRIORITIES];
    map.iter_mut().zip(priorities).for_each(|(class, asked)| *class = *asked);
    options.extend(map);
    options.push(0);
    let (mut counts, mut offsets) = ([0_u16; PRIORITIES], [0_u16; PRIORITIES]);
    let mut offset = 0;
    for (class, count) in queues.iter().take(PRIORITIES).enumerate() {
        (counts[class], offsets[class]) = (*count, offset);
        offset = u16::saturating_add(offset, *count);
    }
    options.extend(counts.into_iter().chain(offsets).flat_map(u16::to_ne_bytes));
    options
}

/// TCA_OPTIONS that ask a plug for something.
pub fn plug_action(action: PlugAction) -> Vec<u8> {
    plug(action, 0)
}

/// `struct tc_plug_qopt`.
fn plug(action: PlugAction, limit: u32) -> Vec<u8> {
    [action.value().to_ne_bytes(), limit.to_ne_bytes()].concat()
}

/// `rate` in bytes per second.
fn tbf(rate: u64, burst: u32, limit: u32) -> Vec<u8> {
    // struct tc_ratespec. With a link layer named, tbf_change() wants no rate table.
    let rate32 = u32::try_from(rate).unwrap_or(u32::MAX);
    let mut parms = vec![0, TC_LINKLAYER_ETHERNET, 0, 0, 0, 0, 0, 0];
    parms.extend(rate32.to_ne_bytes());
    parms.extend([0; 12]); // no peak rate
    parms.extend(limit.to_ne_bytes());
    parms.extend(tbf_buffer(rate, burst).to_ne_bytes());
    parms.extend([0; 4]); // mtu of the peak rate
    let mut options = attribute(TCA_TBF_PARMS, &parms);
    if rate > u64::from(u32::MAX) {
        options.extend(attribute(TCA_TBF_RATE64, &rate.to_ne_bytes()));
    }
    options.extend(attribute(TCA_TBF_BURST, &burst.to_ne_bytes()));
    options
}

/// A bucket of `burst` bytes in ticks at `rate`, as `psched_l2t_ns()` and PSCHED_NS2TICKS have it.
fn tbf_buffer(rate: u64, burst: u32) -> u32 {
    let ns = u64::from(burst) * NS_PER_S / rate.max(1);
    u32::try_from(ns / PSCHED_TICK_NS).unwrap_or(u32::MAX)
}

fn netem(limit: u32, delay_us: u32, loss_percent: u32) -> Vec<u8> {
    // struct tc_netem_qopt: latency, limit, loss, gap, duplicate, jitter.
    let mut options = [0, limit, netem_loss(loss_percent), 0, 0, 0].map(u32::to_ne_bytes).concat();
    let delay_ns = i64::from(delay_us) * NS_PER_US;
    options.extend(attribute(TCA_NETEM_LATENCY64, &delay_ns.to_ne_bytes()));
    options
}

/// netem compares a random 32-bit number with it: all ones lose every frame.
fn netem_loss(percent: u32) -> u32 {
    let share = u64::from(u32::MAX) * u64::from(percent) / 100;
    u32::try_from(share).unwrap_or(u32::MAX)
}

/// What differs in the options a kernel dumps. It dumps none of plug and noqueue, and of pfifo_fast only its map.
pub fn differences(asked: &Qdisc, got: &[u8]) -> Vec<String> {
    let mut out = Vec::new();
    let mut compare = |what: &str, asked: u64, is: Option<u64>| match is {
        Some(is) if is == asked => {}
        Some(is) => out.push(format!("qdisc {what} asked {asked}, is {is}")),
        None => out.push(format!("qdisc {what} asked {asked}, but the kernel does not show it")),
    };
    let named = |kind: u16| find(got, kind).and_then(|value| number(value, 0));
    let mut optional = |what: &str, asked: &Option<u32>, is: Option<u64>| {
        asked.iter().for_each(|asked| compare(what, u64::from(*asked), is));
    };
    match asked {
        // These the kernel does not show, or they have no options.
        Qdisc::Plug { .. } | Qdisc::PfifoFast | Qdisc::Noqueue => {}
        // Their classes are the kernel's to show, and it refuses what it cannot do.
        Qdisc::Htb { .. } | Qdisc::Hfsc { .. } | Qdisc::Multiq | Qdisc::Mq { .. } | Qdisc::Teql => {}
        Qdisc::Pie { limit } => optional("limit", limit, named(TCA_PIE_LIMIT)),
        Qdisc::Red { limit, min, max, .. } => {
            let parms = find(got, TCA_RED_PARMS).unwrap_or_default();
            compare("limit", u64::from(*limit), number(parms, 0));
            compare("min", u64::from(*min), number(parms, 4));
            compare("max", u64::from(*max), number(parms, 8));
        }
        Qdisc::Mqprio { queues, priorities } => {
            let asked = mqprio(queues, priorities);
            let classes = got.first().map(|classes| u64::from(*classes));
            compare("classes", queues.len() as u64, classes);
            if got.get(..asked.len()).is_some_and(|is| is != asked) {
                out.push("qdisc mqprio has other queues or priorities than asked".into());
            }
        }
        Qdisc::Pfifo { limit } | Qdisc::Bfifo { limit } | Qdisc::PfifoHeadDrop { limit } => {
            compare("limit", u64::from(*limit), number(got, 0));
        }
        Qdisc::Sfq { limit } => compare("limit", u64::from(*limit), number(got, 8)),
        Qdisc::Codel { limit } => optional("limit", limit, named(TCA_CODEL_LIMIT)),
        Qdisc::Fq { limit, flow_limit } => {
            optional("limit", limit, named(TCA_FQ_PLIMIT));
            optional("flow_limit", flow_limit, named(TCA_FQ_FLOW_PLIMIT));
        }
        Qdisc::FqCodel { limit } => optional("limit", limit, named(TCA_FQ_CODEL_LIMIT)),
        Qdisc::Cake { rate, limit } => {
            optional("limit", limit, named(TCA_CAKE_MEMORY));
            let is = find(got, TCA_CAKE_BASE_RATE64).and_then(long);
            rate.iter().for_each(|rate| compare("rate in byte/s", rate / 8, is));
        }
        Qdisc::Netem { limit, delay_us, loss_percent } => {
            compare("limit", u64::from(*limit), number(got, 4));
            compare("loss of 2^32", u64::from(netem_loss(*loss_percent)), number(got, 8));
            let latency = got.get(24..).and_then(|rest| find(rest, TCA_NETEM_LATENCY64));
            let is = latency.and_then(long);
            compare("delay in ns", u64::from(*delay_us) * 1_000, is);
        }
        Qdisc::Tbf { rate, burst, limit, .. } => {
            let parms = find(got, TCA_TBF_PARMS).unwrap_or_default();
            let rate64 = find(got, TCA_TBF_RATE64).and_then(long);
            compare("rate in byte/s", rate / 8, rate64.or_else(|| number(parms, 8)));
            compare("limit", u64::from(*limit), number(parms, 24));
            let (ticks, is) = (u64::from(tbf_buffer(rate / 8, *burst)), number(parms, 28));
            // The kernel multiplies by a rounded reciprocal of the rate (psched_ratecfg_precompute()).
            let close = is.filter(|is| is.abs_diff(ticks) <= 1 + ticks / 1_000_000).map(|_| ticks);
            compare("burst in ticks of 64 ns", ticks, close.or(is));
        }
    }
    out
}

fn find(options: &[u8], kind: u16) -> Option<&[u8]> {
    let mut at = 0;
    for nla in NlasIterator::new(options) {
        let (len, found) = nla.ok().map(|nla| (usize::from(nla.length()), nla.kind()))?;
        if found == kind {
            return options.get(at + 4..at + len);
        }
        at += len.next_multiple_of(4);
    }
    None
}

fn number(bytes: &[u8], at: usize) -> Option<u64> {
    Some(u32::from_ne_bytes(bytes.get(at..at + 4)?.try_into().ok()?).into())
}

fn long(bytes: &[u8]) -> Option<u64> {
    Some(u64::from_ne_bytes(bytes.get(..8)?.try_into().ok()?))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn options_are_the_kernels_structures() {
        for (qdisc, expected) in [
            (Qdisc::Pfifo { limit: 258 }, Some(vec![2, 1, 0, 0])),
            (Qdisc::Bfifo { limit: 1 }, Some(vec![1, 0, 0, 0])),
            (Qdisc::Plug { limit: 1514 }, Some(vec![0, 0, 0, 0, 0xea, 5, 0, 0])),
            (Qdisc::Noqueue, None),
            (Qdisc::FqCodel { limit: None }, None),
            (Qdisc::FqCodel { limit: Some(5) }, Some(vec![8, 0, 2, 0, 5, 0, 0, 0])),
            (Qdisc::PfifoFast, None),
            (Qdisc::Sfq { limit: 7 }, Some(vec![0, 0, 0, 0, 0, 0, 0, 0, 7, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0])),
            (
                Qdisc::Fq { limit: Some(5), flow_limit: Some(2) },
                Some(vec![8, 0, 1, 0, 5, 0, 0, 0, 8, 0, 2, 0, 2, 0, 0, 0]),
            ),
            (
                Qdisc::Cake { rate: Some(8_000), limit: None },
                Some(vec![12, 0, 2, 0, 0xe8, 3, 0, 0, 0, 0, 0, 0]),
            ),
            (
                Qdisc::Netem { limit: 3, delay_us: 2, loss_percent: 100 },
                Some(vec![
                    0, 0, 0, 0, 3, 0, 0, 0, 0xff, 0xff, 0xff, 0xff, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0,
                    0, // qopt
                    12, 0, 10, 0, 0xd0, 7, 0, 0, 0, 0, 0, 0, // 2000 ns
                ]),
            ),
            (
                Qdisc::Tbf { rate: 8_000_000, burst: 1600, limit: 3000, child: None },
                Some(vec![
                    40, 0, 1, 0, // TCA_TBF_PARMS
                    0, 1, 0, 0, 0, 0, 0, 0, 0x40, 0x42, 0x0f, 0, // 1000000 byte/s on Ethernet
                    0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, // no peak rate
                    0xb8, 0x0b, 0, 0, // limit
                    0xa8, 0x61, 0, 0, // 1.6 ms in ticks of 64 ns
                    0, 0, 0, 0, // mtu
                    8, 0, 6, 0, 0x40, 6, 0, 0, // TCA_TBF_BURST
                ]),
            ),
        ] {
            assert_eq!(encode(&qdisc), expected, "{qdisc:?}");
        }
        assert_eq!(plug_action(PlugAction::Release), [2, 0, 0, 0, 0, 0, 0, 0]);
        assert_eq!(plug_action(PlugAction::ReleaseOne), [1, 0, 0, 0, 0, 0, 0, 0]);
    }

    #[test]
    fn classes_of_queues_are_the_kernels_structure() {
        let options = encode(&Qdisc::Mqprio { queues: vec![1, 3], priorities: vec![0, 1] }).unwrap();
        assert_eq!(options.len(), 1 + 16 + 1 + 32 + 32);
        assert_eq!(&options[..4], [2, 0, 1, 0]);
        assert_eq!(&options[18..24], [1, 0, 3, 0, 0, 0]);
        assert_eq!(&options[50..56], [0, 0, 1, 0, 0, 0]);
        let asked = Qdisc::Mqprio { queues: vec![2, 2], priorities: vec![0, 1] };
        assert_eq!(differences(&asked, &options), ["qdisc mqprio has other queues or priorities than asked"]);
    }

    #[test]
    fn a_class_has_a_rate_and_a_bucket() {
        let htb = Qdisc::Htb { rate: 8_000_000, ceil: None, burst: 1600, child: None };
        let options = class(&htb).unwrap();
        let parms = find(&options, TCA_HTB_PARMS).unwrap();
        assert_eq!(
            (parms.len(), number(parms, 8), number(parms, 20)),
            (44, Some(1_000_000), Some(1_000_000))
        );
        assert_eq!(number(parms, 24), Some(25_000));
        let hfsc = class(&Qdisc::Hfsc { rate: 8_000, child: None }).unwrap();
        assert_eq!(find(&hfsc, TCA_HFSC_FSC).and_then(|curve| number(curve, 8)), Some(1_000));
        assert_eq!(class(&Qdisc::Pfifo { limit: 1 }), None);
    }

    #[test]
    fn rates_over_32_bits_have_an_attribute_of_their_own() {
        let options =
            encode(&Qdisc::Tbf { rate: 80_000_000_000, burst: 1600, limit: 3000, child: None }).unwrap();
        assert_eq!(find(&options, TCA_TBF_RATE64).and_then(long), Some(10_000_000_000));
    }

    #[test]
    fn what_was_sent_is_what_was_asked() {
        for qdisc in [
            Qdisc::Pfifo { limit: 7 },
            Qdisc::FqCodel { limit: Some(7) },
            Qdisc::PfifoHeadDrop { limit: 7 },
            Qdisc::Sfq { limit: 7 },
            Qdisc::Codel { limit: Some(7) },
            Qdisc::Pie { limit: Some(7) },
            Qdisc::Red { limit: 9000, min: 1000, max: 3000, probability_percent: 50 },
            Qdisc::Mqprio { queues: vec![1, 3], priorities: vec![1] },
            Qdisc::Fq { limit: Some(7), flow_limit: Some(3) },
            Qdisc::Cake { rate: Some(80_000_000_000), limit: Some(7) },
            Qdisc::Netem { limit: 7, delay_us: 5_000_000, loss_percent: 33 },
            Qdisc::Tbf { rate: 80_000_000_000, burst: 1600, limit: 7, child: None },
            Qdisc::Tbf { rate: 8_000, burst: 1600, limit: 7, child: None },
        ] {
            assert!(differences(&qdisc, &encode(&qdisc).unwrap()).is_empty(), "{qdisc:?}");
        }
    }

    #[test]
    fn differences_have_names() {
        for (asked, got, expected) in [
            (Qdisc::Pfifo { limit: 7 }, vec![8, 0, 0, 0], vec!["qdisc limit asked 7, is 8"]),
            (Qdisc::Bfifo { limit: 7 }, vec![], vec!["qdisc limit asked 7, but the kernel does not show it"]),
            (
                Qdisc::Netem { limit: 7, delay_us: 1, loss_percent: 0 },
                encode(&Qdisc::Netem { limit: 7, delay_us: 2, loss_percent: 0 }).unwrap(),
                vec!["qdisc delay in ns asked 1000, is 2000"],
            ),
            (
                Qdisc::Tbf { rate: 8_000_000, burst: 1600, limit: 7, child: None },
                encode(&Qdisc::Tbf { rate: 8_000_000, burst: 3200, limit: 8, child: None }).unwrap(),
                vec!["qdisc limit asked 7, is 8", "qdisc burst in ticks of 64 ns asked 25000, is 50000"],
            ),
        ] {
            assert_eq!(differences(&asked, &got), expected);
        }
    }
}
