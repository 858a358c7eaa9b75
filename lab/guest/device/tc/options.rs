//! TCA_OPTIONS of each queueing discipline, as bytes and back: netlink-packet-route types few of them.
//!
//! Structures and numbers: keep in sync with include/uapi/linux/pkt_sched.h.

use netlink_packet_core::NlasIterator;

use bondlab_core::net::qdisc::Qdisc;

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
const TC_LINKLAYER_ETHERNET: u8 = 1;
const TCQ_PLUG_BUFFER: i32 = 0;
const TCQ_PLUG_RELEASE_INDEFINITE: i32 = 2;

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
        Qdisc::Plug { limit } => plug(TCQ_PLUG_BUFFER, *limit),
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
        Qdisc::PfifoFast | Qdisc::Noqueue => Vec::new(),
    };
    Some(options).filter(|options| !options.is_empty())
}

/// TCA_OPTIONS that let a plug go for good.
pub fn plug_release() -> Vec<u8> {
    plug(TCQ_PLUG_RELEASE_INDEFINITE, 0)
}

/// `struct tc_plug_qopt`.
fn plug(action: i32, limit: u32) -> Vec<u8> {
    [action.to_ne_bytes(), limit.to_ne_bytes()].concat()
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
        assert_eq!(plug_release(), [2, 0, 0, 0, 0, 0, 0, 0]);
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
