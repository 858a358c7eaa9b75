//! The drop observer: who dropped which frame, on which device, for what reason, in which kernel function.
//!
//! BPF programs at the tracepoint `skb:kfree_skb` copy what is known of each frame into a ring buffer. They see
//! every frame the kernel frees as dropped, in every network namespace, so most of what they report is not the
//! lab's: which frames count is the caller's decision, by the bytes of [`DropEvent::head`].
//!
//! One frame can make several events: a clone (to a packet socket, a bond's other ports) is a frame of its own to
//! the kernel, with an address of its own in [`DropEvent::skb`].
//!
//! Not seen: frames freed with `consume_skb`, which is how the kernel frees what it has delivered, and frames a
//! driver takes and loses without `kfree_skb`. Of those an XDP program drops in a NIC's driver, where a page is freed and
//! no frame, the program itself tells: [`DropObserver::xdp_program`].

pub(crate) mod layout;
pub(crate) mod program;
pub(crate) mod xdp;

use std::collections::BTreeMap;
use std::mem::offset_of;
use std::os::fd::{AsFd, OwnedFd};
use std::sync::Arc;

use crate::observe::drops::layout::Layout;
use crate::observe::drops::program::{
    Counter, HEAD_BYTES, Maps, NAME_BYTES, NO_MAC_HEADER, Raw, Record, Role, STACK_DEPTH,
};
use crate::syscall::bpf;
use crate::syscall::bpf::btf::{Btf, BtfError};
use crate::syscall::bpf::ksyms::{Symbols, SymbolsError};
use crate::syscall::bpf::ringbuf::Ringbuf;
use crate::syscall::bpf::{BpfError, MapType, ProgramType};

pub use crate::syscall::bpf::ksyms::Symbol;

/// Reads the drops of the running kernel. Everything is held by file descriptors: nothing stays when it is
/// dropped or the process dies.
pub struct DropObserver {
    layout: Layout,
    reasons: BTreeMap<u32, String>,
    symbols: Symbols,
    /// Where frames were dropped so far; a flood has few such places.
    sites: BTreeMap<Box<[u8]>, Site>,
    ring: Ringbuf,
    counters: OwnedFd,
    /// The program whose misses the relief makes good.
    first: OwnedFd,
    _tracepoints: [OwnedFd; 2],
    lost: u64,
}

/// A place in the kernel where frames are dropped, and the way that led there.
struct Site {
    location: Symbol,
    stack: Arc<[Symbol]>,
}

/// One frame that the kernel freed as dropped.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DropEvent {
    /// Address of the frame's `struct sk_buff`: tells events of one frame from those of two, for a short time.
    /// The kernel uses an address again.
    pub skb: u64,
    /// Inode number of the network namespace the device is in, as in `/proc/self/ns/net`; 0 without a device.
    pub netns: u32,
    /// Number of the device in its namespace; 0 without a device. A UDP socket's receive queue takes the device
    /// away from a frame (`udp_set_dev_scratch()`).
    pub ifindex: u32,
    /// Name of the device at that moment; empty without a device. A veth has given the frame to its peer already
    /// when the peer's ring is full (`veth_xmit()`, in `veth_forward_skb()`): then it is the peer.
    pub device: String,
    /// Kind of the root qdisc of the transmit queue chosen for the frame, at that moment: `noop` where the device
    /// has no carrier, `noqueue` where it has no queue. It says nothing about a frame on its way in.
    pub qdisc: Option<String>,
    /// Name of the reason: the core's without `SKB_DROP_REASON_`, a subsystem's in full (`QDISC_DROP_OVERLIMIT`).
    /// `None` where the kernel has no reasons (before 5.17), or has no name for this one in its own type
    /// information (reasons of modules: mac80211, openvswitch).
    pub reason: Option<String>,
    /// Number of the reason in this kernel; `None` where the kernel has no reasons. For debugging only: numbers
    /// move between releases.
    pub reason_number: Option<u32>,
    /// The function that called the one that freed the frame, as the kernel passes it to the tracepoint.
    pub location: Symbol,
    /// The functions that led to it, innermost first, without the tracepoint's own; at most a dozen.
    pub stack: Arc<[Symbol]>,
    /// The VLAN tag carried beside the frame (`skb_vlan_tag_present()`); a tag in band is in `head`.
    pub vlan_tci: Option<u16>,
    /// `skb->protocol`, in host byte order.
    pub protocol: u16,
    /// `skb->len`, in bytes; without the MAC header where the stack has already taken it off.
    pub len: u32,
    /// The first bytes, 128 at most and only of the linear part.
    pub head: Vec<u8>,
    /// Whether `head` starts at the MAC header; otherwise the frame has none yet, and it starts at `skb->data`.
    pub head_has_mac: bool,
}

impl DropEvent {
    /// Whether the mark is among the first bytes of the frame: how a caller tells its own frames from the
    /// kernel's. A tag in band or a header more moves it, so it is looked for at every place.
    pub fn carries(&self, mark: &[u8]) -> bool {
        !mark.is_empty() && self.head.windows(mark.len()).any(|bytes| bytes == mark)
    }
}

/// Why the drop tracepoint is not read. The caller can go on with counters alone.
#[derive(Debug, thiserror::Error)]
#[expect(missing_docs, reason = "each variant's message says what it is")]
pub enum ObserveError {
    #[error("reading {BTF_PATH}: {0}; needs a mounted sysfs and CONFIG_DEBUG_INFO_BTF")]
    NoBtf(#[source] std::io::Error),
    #[error("{BTF_PATH}: {0}")]
    Btf(#[from] BtfError),
    #[error("the kernel has no BPF ring buffer, which came with Linux 5.8: {0}")]
    NoRingbuf(#[source] BpfError),
    #[error("struct sk_buff of {0} bytes does not fit on a BPF program's stack")]
    FrameTooLarge(u32),
    #[error(transparent)]
    Bpf(#[from] BpfError),
    #[error(transparent)]
    Symbols(#[from] SymbolsError),
}

const BTF_PATH: &str = "/sys/kernel/btf/vmlinux";

/// Room for 20,000 drops between two calls of [`DropObserver::drain`], at 400 bytes each.
const RING_BYTES: u32 = 8 << 20;

/// How many functions of a stack are worth telling.
const STACK_FUNCTIONS_MAX: usize = 12;

impl DropObserver {
    /// Starts to observe: what is dropped from here on is reported by [`DropObserver::drain`].
    ///
    /// # Errors
    /// Whatever the running kernel lacks or refuses, by name.
    pub fn start() -> Result<Self, ObserveError> {
        let btf = Btf::parse(&std::fs::read(BTF_PATH).map_err(ObserveError::NoBtf)?)?;
        let layout = Layout::resolve(&btf)?;
        let reasons = layout::reasons(btf.enums_ending_in("drop_reason"));
        bpf::with_locked_memory(|| Self::attach(layout, reasons))
    }

    fn attach(layout: Layout, reasons: BTreeMap<u32, String>) -> Result<Self, ObserveError> {
        let ring = Ringbuf::new(RING_BYTES).map_err(|e| match e.source.raw_os_error() {
            Some(libc::EINVAL) => ObserveError::NoRingbuf(e),
            _ => ObserveError::Bpf(e),
        })?;
        let counters = bpf::create_map(MapType::Array, 8, program::COUNTERS)?;
        let seen = bpf::create_map(MapType::Array, 8, program::SEEN)?;
        let maps = Maps { ring: ring.map().as_fd(), counters: counters.as_fd(), seen: seen.as_fd() };
        let load = |role| {
            let code = program::write(&layout, role, maps).map_err(|e| ObserveError::FrameTooLarge(e.0))?;
            Ok::<_, ObserveError>(bpf::load(ProgramType::RawTracepoint, &code)?)
        };
        let (first, relief) = (load(Role::First)?, load(Role::Relief)?);
        // Programs of one tracepoint run in the order in which they came to it (func_add(), kernel/tracepoint.c).
        let attach = |program: &OwnedFd| bpf::open_raw_tracepoint(c"kfree_skb", program.as_fd());
        let tracepoints = [attach(&first)?, attach(&relief)?];
        Ok(Self {
            layout,
            reasons,
            symbols: Symbols::default(),
            sites: BTreeMap::new(),
            ring,
            counters,
            first,
            _tracepoints: tracepoints,
            lost: 0,
        })
    }

    /// Loads an XDP program that drops each frame of a device, and tells of it as the tracepoint does of others. `netns` is
    /// the inode number of the device's network namespace.
    ///
    /// # Errors
    /// The kernel's refusal.
    pub fn xdp_program(&self, netns: u32, device: &str) -> Result<OwnedFd, BpfError> {
        let code = xdp::write(netns, device, self.ring.map().as_fd(), self.counters.as_fd());
        bpf::with_locked_memory(|| bpf::load(ProgramType::Xdp, &code))
    }

    /// Takes what was dropped since the last call, in the order it was dropped.
    ///
    /// # Errors
    /// If the counters or the kernel's symbols cannot be read.
    pub fn drain(&mut self) -> Result<Vec<DropEvent>, ObserveError> {
        let mut records: Vec<Vec<u8>> = Vec::new();
        self.ring.drain(|bytes| records.push(bytes.to_vec()));
        let counter = |counter| bpf::read_counter(self.counters.as_fd(), counter as u32);
        // In this order: what is missed and taken between two reads is not held for lost.
        let missed = bpf::recursion_misses(self.first.as_fd())?;
        let relieved = counter(Counter::Relieved)?;
        self.lost = counter(Counter::Lost)? + missed.saturating_sub(relieved);
        records.iter().map(|bytes| self.event(&Raw(bytes))).collect()
    }

    /// Reads the kernel's symbols now and not when the first drop has to be named: what is done before a machine
    /// is saved need not be done again in each of its copies.
    ///
    /// # Errors
    /// If the kernel does not show its symbols.
    pub fn load_symbols(&mut self) -> Result<(), ObserveError> {
        Ok(self.symbols.refresh()?)
    }

    /// How many drops were not reported, as of the last [`DropObserver::drain`]: there was no room for them, or
    /// both programs were running already. With any lost, the account of frames is not complete.
    pub fn lost(&self) -> u64 {
        self.lost
    }

    fn event(&mut self, raw: &Raw<'_>) -> Result<DropEvent, ObserveError> {
        let (location, stack) = self.site(raw)?;
        let reason_number = self.layout.has_reason.then(|| raw.u32(offset_of!(Record, reason)));
        let device: [u8; NAME_BYTES] = raw.at(offset_of!(Record, device));
        // Negative for a frame whose MAC header lies behind its data.
        let linear = raw.u32(offset_of!(Record, linear)) as i32;
        let linear = usize::try_from(linear).unwrap_or(0);
        let head: [u8; HEAD_BYTES] = raw.at(offset_of!(Record, head));
        Ok(DropEvent {
            skb: raw.u64(offset_of!(Record, skb)),
            netns: raw.u32(offset_of!(Record, netns)),
            ifindex: raw.u32(offset_of!(Record, ifindex)),
            device: until_nul(&device),
            qdisc: qdisc(raw),
            reason: reason_number.and_then(|n| self.reasons.get(&n).cloned()),
            reason_number,
            location,
            stack,
            vlan_tci: self.vlan_tci(raw),
            protocol: u16::from_be(raw.u16(offset_of!(Record, protocol))),
            len: raw.u32(offset_of!(Record, len)),
            head: head[..linear.min(HEAD_BYTES)].to_vec(),
            head_has_mac: raw.u16(offset_of!(Record, mac_header)) != NO_MAC_HEADER,
        })
    }

    fn vlan_tci(&self, raw: &Raw<'_>) -> Option<u16> {
        let presence = raw.u32(offset_of!(Record, vlan_presence));
        let present = self.layout.vlan_presence.holds(presence);
        present.then(|| raw.u16(offset_of!(Record, vlan_tci)))
    }

    /// Names the place a frame was dropped at, from what is known or from the kernel's symbols.
    fn site(&mut self, raw: &Raw<'_>) -> Result<(Symbol, Arc<[Symbol]>), ObserveError> {
        let key = raw.site();
        if !self.sites.contains_key(key) {
            self.symbols.refresh()?;
            let location = match raw.u64(offset_of!(Record, location)) {
                xdp::LOCATION => Symbol { function: xdp::FUNCTION.into(), module: None },
                address => self.symbols.get(address),
            };
            let site = Site { location, stack: self.stack(raw) };
            self.sites.insert(key.into(), site);
        }
        let site = &self.sites[key];
        Ok((site.location.clone(), site.stack.clone()))
    }

    fn stack(&self, raw: &Raw<'_>) -> Arc<[Symbol]> {
        let functions: Vec<Symbol> = return_addresses(raw).map(|address| self.symbols.get(address)).collect();
        without_tracing(&functions).iter().take(STACK_FUNCTIONS_MAX).cloned().collect()
    }
}

/// The stack's return addresses, each moved into the call: a call that never returns can be the last instruction
/// of its function.
fn return_addresses<'a>(raw: &'a Raw<'_>) -> impl Iterator<Item = u64> + 'a {
    let bytes = raw.u32(offset_of!(Record, stack_bytes)) as i32;
    let depth = usize::try_from(bytes).unwrap_or(0) / 8;
    (0..depth.min(STACK_DEPTH)).map(|i| raw.u64(offset_of!(Record, stack) + i * 8).saturating_sub(1))
}

/// The way the frame took, without the tracepoint's own way to the program, which comes first.
fn without_tracing(functions: &[Symbol]) -> &[Symbol] {
    const TRACING: [&str; 7] = [
        "___bpf_prog_run",
        "bpf_prog_",
        "bpf_trace_run",
        "bpf_get_stack",
        "__bpf_prog_run",
        "__bpf_trace_",
        "__traceiter_",
    ];
    // No further than the tracepoint goes: a BPF program of tc can be on the frame's own way.
    const TRACING_DEPTH_MAX: usize = 5;
    let is_tracing = |s: &Symbol| TRACING.iter().any(|prefix| s.function.starts_with(prefix));
    let own = functions[..functions.len().min(TRACING_DEPTH_MAX)]
        .iter()
        .rposition(is_tracing)
        .map_or(0, |last| last + 1);
    &functions[own..]
}

fn qdisc(raw: &Raw<'_>) -> Option<String> {
    let queue = u32::from(raw.u16(offset_of!(Record, queue)));
    // Behind the last queue of the array there is anything at all.
    let is_queue = queue < raw.u32(offset_of!(Record, queues));
    let kind: [u8; NAME_BYTES] = raw.at(offset_of!(Record, qdisc));
    Some(until_nul(&kind)).filter(|kind| is_queue && !kind.is_empty())
}

fn until_nul(name: &[u8]) -> String {
    let end = name.iter().position(|b| *b == 0).unwrap_or(name.len());
    String::from_utf8_lossy(&name[..end]).into_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_tracepoints_own_functions_are_left_out() {
        // Shaped as bpf_get_stack() returns it; the name of a program carries its hash.
        for (all, expected) in [
            (
                "bpf_prog_d1f1a1d1c1b1a111 bpf_trace_run4 __traceiter_kfree_skb sk_skb_reason_drop bond_start_xmit",
                "sk_skb_reason_drop bond_start_xmit",
            ),
            ("kfree_skb ip_rcv_core", "kfree_skb ip_rcv_core"),
            ("bpf_trace_run3", ""),
            (
                "bpf_prog_d1f1a1d1c1b1a111 bpf_trace_run3 __bpf_trace_kfree_skb kfree_skb a b bpf_prog_0 c",
                "kfree_skb a b bpf_prog_0 c",
            ),
        ] {
            let symbol = |name: &str| Symbol { function: name.into(), module: None };
            let functions: Vec<Symbol> = all.split(' ').map(symbol).collect();
            let left: Vec<&str> = without_tracing(&functions).iter().map(|s| &*s.function).collect();
            assert_eq!(left.join(" "), expected);
        }
    }

    #[test]
    fn a_name_ends_at_its_nul() {
        assert_eq!(until_nul(b"bond0.70\0\0\0\0\0\0\0\0"), "bond0.70");
        assert_eq!(until_nul(b"fifteen-letters\0"), "fifteen-letters");
    }
}
