//! The two programs that run at `skb:kfree_skb`, and the record they write for each frame.
//!
//! The kernel does not run a program again on a processor where it is running already (`__bpf_trace_run()`). A frame
//! dropped in an interrupt meanwhile would be missed, and so would one of a task that preempted the program: newer
//! kernels let handlers of tracepoints be preempted ("tracing: Guard __DECLARE_TRACE() use of __DO_TRACE_CALL() with
//! SRCU-fast"), and 7.3.4 with an igb lost up to 132 events in a run of 1200 frames. So a second program stands behind
//! the first, and takes the frames the first was not run for.

use std::mem::offset_of;
use std::os::fd::{AsRawFd, BorrowedFd};

use crate::observe::drops::layout::{Layout, Presence};
use crate::syscall::bpf::asm::{Assembler, Helper, Reg, Width};

/// What the program writes: laid out here, read back by [`Raw::at`].
#[repr(C)]
pub(crate) struct Record {
    pub skb: u64,
    pub reason: u32,
    pub netns: u32,
    pub ifindex: u32,
    pub len: u32,
    /// Bytes from the start of `head` to the end of the frame's linear part.
    pub linear: u32,
    /// The byte or word that says whether there is a tag.
    pub vlan_presence: u32,
    pub vlan_tci: u16,
    /// As on the wire, big-endian.
    pub protocol: u16,
    pub mac_header: u16,
    /// The transmit queue that was chosen, or on the way in the receive queue plus one.
    pub queue: u16,
    /// Transmit queues of the device.
    pub queues: u32,
    /// Bytes of `stack` that were filled; negative is an error number.
    pub stack_bytes: i32,
    // The site: location and stack are compared as one run of bytes.
    pub location: u64,
    pub stack: [u64; STACK_DEPTH],
    pub device: [u8; NAME_BYTES],
    /// Kind of the qdisc of the transmit queue.
    pub qdisc: [u8; NAME_BYTES],
    pub head: [u8; HEAD_BYTES],
}

/// Return addresses kept for a drop. The first five or so are the tracepoint's own.
pub(crate) const STACK_DEPTH: usize = 20;
/// IFNAMSIZ: of a device's name and of a qdisc's kind.
pub(crate) const NAME_BYTES: usize = 16;
/// Enough for Ethernet, a tag in band, IPv6, UDP and a probe's magic.
pub(crate) const HEAD_BYTES: usize = 128;

/// `mac_header` of a frame that has none yet: `(typeof(skb->mac_header))~0U`.
pub(crate) const NO_MAC_HEADER: u16 = u16::MAX;

/// Which counter of the counters map counts what.
#[derive(Clone, Copy)]
pub(crate) enum Counter {
    /// Events there was no room for.
    Lost = 0,
    /// Events the relief took because the first program had not been run for them.
    Relieved = 1,
}

/// How many counters there are.
pub(crate) const COUNTERS: u32 = 2;

/// Which of the two programs it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Role {
    /// Takes every frame it is run for, and says so in the map of frames seen.
    First,
    /// Attached after the first: takes a frame only where the first has not said so.
    Relief,
}

/// The descriptors of what both programs share.
#[derive(Clone, Copy)]
pub(crate) struct Maps<'a> {
    pub ring: BorrowedFd<'a>,
    pub counters: BorrowedFd<'a>,
    /// An array of `SEEN` addresses: the frame the first program has seen last at each place.
    pub seen: BorrowedFd<'a>,
}

/// Places in the map of frames seen. A frame's place is its address in units of 64 bytes: the second half of a cloned
/// pair (`struct sk_buff_fclones`) has another than the first. Two frames half a megabyte apart share one; should they
/// meet between the two programs, an event is reported twice.
pub(crate) const SEEN: u32 = 8192;

/// What the BPF stack holds: a scratch word on top, the copy of the frame's `struct sk_buff` below.
const SCRATCH: i16 = -8;
const BPF_STACK_BYTES: u32 = 512;

/// `struct sk_buff` is larger than a BPF program's stack can hold.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct FrameTooLarge(pub u32);

/// Writes the program for this kernel.
///
/// Every read goes through `bpf_probe_read_kernel`, which leaves zeros where an address is not valid: a frame
/// without a device has ifindex 0 and no name, and no branch is needed for it.
pub(crate) fn write(layout: &Layout, role: Role, maps: Maps<'_>) -> Result<Vec<[u8; 8]>, FrameTooLarge> {
    let copy_bytes = layout.sk_buff_bytes.next_multiple_of(8);
    if copy_bytes + 8 > BPF_STACK_BYTES {
        return Err(FrameTooLarge(layout.sk_buff_bytes));
    }
    let mut program = Program { asm: Assembler::default(), frame: SCRATCH - copy_bytes as i16 };
    let no_room = program.asm.label();
    // r6 = ctx, r7 = skb, r8 = the record
    program.asm.mov(Reg::R6, Reg::R1);
    program.asm.load(Width::U64, Reg::R7, Reg::R6, 0);
    program.take_turns(role, maps);
    let asm = &mut program.asm;
    asm.load_map(Reg::R1, maps.ring.as_raw_fd());
    asm.mov_imm(Reg::R2, size_of::<Record>() as i32);
    asm.mov_imm(Reg::R3, 0);
    asm.call(Helper::RingbufReserve);
    asm.jump_if_eq(Reg::R0, 0, no_room);
    asm.mov(Reg::R8, Reg::R0);
    program.arguments(layout);
    program.frame(layout);
    program.device(layout);
    program.qdisc(layout);
    program.head(layout);
    program.stack();
    program.submit();
    program.asm.place(no_room);
    count(&mut program.asm, Counter::Lost, maps.counters);
    program.end();
    Ok(program.asm.finish())
}

struct Program {
    asm: Assembler,
    /// Where the copy of the frame starts, from the frame pointer.
    frame: i16,
}

impl Program {
    /// The first program leaves the frame's address; the relief ends where it finds it, and takes it away.
    fn take_turns(&mut self, role: Role, maps: Maps<'_>) {
        let take = self.asm.label();
        self.asm.mov(Reg::R1, Reg::R7);
        self.asm.shift_right_imm(Reg::R1, 6);
        self.asm.and_imm(Reg::R1, SEEN as i32 - 1);
        self.asm.store(Width::U32, Reg::R10, SCRATCH, Reg::R1);
        look_up(&mut self.asm, maps.seen);
        self.asm.jump_if_eq(Reg::R0, 0, take);
        match role {
            Role::First => self.asm.store(Width::U64, Reg::R0, 0, Reg::R7),
            Role::Relief => {
                let relieve = self.asm.label();
                self.asm.load(Width::U64, Reg::R1, Reg::R0, 0);
                self.asm.jump_if_not_equal(Reg::R1, Reg::R7, relieve);
                self.asm.store_imm(Width::U64, Reg::R0, 0, 0);
                self.end();
                self.asm.place(relieve);
                count(&mut self.asm, Counter::Relieved, maps.counters);
            }
        }
        self.asm.place(take);
    }

    /// The tracepoint's own arguments.
    fn arguments(&mut self, layout: &Layout) {
        let asm = &mut self.asm;
        asm.store(Width::U64, Reg::R8, offset_of!(Record, skb) as i16, Reg::R7);
        asm.load(Width::U64, Reg::R1, Reg::R6, 8);
        asm.store(Width::U64, Reg::R8, offset_of!(Record, location) as i16, Reg::R1);
        if layout.has_reason {
            asm.load(Width::U64, Reg::R1, Reg::R6, 16);
        } else {
            asm.mov_imm(Reg::R1, 0);
        }
        asm.store(Width::U32, Reg::R8, offset_of!(Record, reason) as i16, Reg::R1);
    }

    /// Copies `struct sk_buff` to the stack, and from there what is reported as it stands.
    fn frame(&mut self, layout: &Layout) {
        self.asm.mov(Reg::R1, Reg::R10);
        self.asm.add_imm(Reg::R1, self.frame.into());
        self.asm.mov_imm(Reg::R2, layout.sk_buff_bytes as i32);
        self.asm.mov(Reg::R3, Reg::R7);
        self.asm.call(Helper::ProbeReadKernel);
        let (presence, width) = match layout.vlan_presence {
            Presence::Bit { offset, .. } => (offset, Width::U8),
            Presence::NotZero { offset } => (offset, Width::U32),
        };
        self.report(width, presence, Width::U32, offset_of!(Record, vlan_presence));
        let u16_fields = [
            (layout.vlan_tci, offset_of!(Record, vlan_tci)),
            (layout.protocol, offset_of!(Record, protocol)),
            (layout.mac_header, offset_of!(Record, mac_header)),
            (layout.queue_mapping, offset_of!(Record, queue)),
        ];
        for (from, to) in u16_fields {
            self.report(Width::U16, from, Width::U16, to);
        }
        self.report(Width::U32, layout.len, Width::U32, offset_of!(Record, len));
    }

    /// Copies one member of the frame into the record.
    fn report(&mut self, load: Width, from: u32, store: Width, to: usize) {
        self.load(load, Reg::R1, from);
        self.asm.store(store, Reg::R8, to as i16, Reg::R1);
    }

    /// Loads a member of the frame's copy.
    fn load(&mut self, width: Width, dst: Reg, member: u32) {
        self.asm.load(width, dst, Reg::R10, self.frame + member as i16);
    }

    /// Reads `bytes` from `r3 + offset` into the record.
    fn probe_read(&mut self, to: usize, bytes: usize, offset: u32) {
        self.asm.add_imm(Reg::R3, offset as i32);
        self.asm.mov(Reg::R1, Reg::R8);
        self.asm.add_imm(Reg::R1, to as i32);
        self.asm.mov_imm(Reg::R2, bytes as i32);
        self.asm.call(Helper::ProbeReadKernel);
    }

    /// The device's number and name, and the inode number of the network namespace it is in.
    fn device(&mut self, layout: &Layout) {
        self.load(Width::U64, Reg::R3, layout.dev);
        self.probe_read(offset_of!(Record, ifindex), 4, layout.dev_ifindex);
        self.load(Width::U64, Reg::R3, layout.dev);
        self.probe_read(offset_of!(Record, device), NAME_BYTES, layout.dev_name);
        self.load(Width::U64, Reg::R3, layout.dev);
        self.follow(layout.dev_net);
        self.probe_read(offset_of!(Record, netns), 4, layout.net_inum);
    }

    /// `r3 = *(u64 *)(r3 + offset)`, for a pointer in kernel memory.
    fn follow(&mut self, offset: u32) {
        self.asm.add_imm(Reg::R3, offset as i32);
        self.asm.mov(Reg::R1, Reg::R10);
        self.asm.add_imm(Reg::R1, SCRATCH.into());
        self.asm.mov_imm(Reg::R2, 8);
        self.asm.call(Helper::ProbeReadKernel);
        self.asm.load(Width::U64, Reg::R3, Reg::R10, SCRATCH);
    }

    /// The kind of the qdisc the frame met or would have met: `dev->_tx[queue_mapping].qdisc->ops->id`.
    ///
    /// It tells the `noop` of a device without carrier from a full queue, on every kernel; the tracepoint
    /// `qdisc:qdisc_drop`, which names it too, exists from 7.1.
    fn qdisc(&mut self, layout: &Layout) {
        self.load(Width::U64, Reg::R3, layout.dev);
        self.probe_read(offset_of!(Record, queues), 4, layout.dev_tx_queues_count);
        self.load(Width::U64, Reg::R3, layout.dev);
        self.follow(layout.dev_tx_queues);
        self.load(Width::U16, Reg::R1, layout.queue_mapping);
        self.asm.mul_imm(Reg::R1, layout.tx_queue_bytes as i32);
        self.asm.add(Reg::R3, Reg::R1);
        self.follow(layout.tx_queue_qdisc);
        self.follow(layout.qdisc_ops);
        self.probe_read(offset_of!(Record, qdisc), NAME_BYTES, layout.qdisc_ops_id);
    }

    /// The first bytes of the frame: from the MAC header, or from `data` where that is not set.
    fn head(&mut self, layout: &Layout) {
        let (from_data, copy) = (self.asm.label(), self.asm.label());
        // r3 = where to read from
        self.load(Width::U16, Reg::R1, layout.mac_header);
        self.asm.jump_if_eq(Reg::R1, NO_MAC_HEADER.into(), from_data);
        self.load(Width::U64, Reg::R3, layout.head);
        self.asm.add(Reg::R3, Reg::R1);
        self.asm.jump(copy);
        self.asm.place(from_data);
        self.load(Width::U64, Reg::R3, layout.data);
        self.asm.place(copy);
        // linear = head + tail - r3; tail is an offset on 64-bit (NET_SKBUFF_DATA_USES_OFFSET).
        self.load(Width::U64, Reg::R1, layout.head);
        self.load(Width::U32, Reg::R2, layout.tail);
        self.asm.add(Reg::R1, Reg::R2);
        self.asm.sub(Reg::R1, Reg::R3);
        self.asm.store(Width::U32, Reg::R8, offset_of!(Record, linear) as i16, Reg::R1);
        self.probe_read(offset_of!(Record, head), HEAD_BYTES, 0);
    }

    fn stack(&mut self) {
        self.asm.mov(Reg::R1, Reg::R6);
        self.asm.mov(Reg::R2, Reg::R8);
        self.asm.add_imm(Reg::R2, offset_of!(Record, stack) as i32);
        self.asm.mov_imm(Reg::R3, (STACK_DEPTH * 8) as i32);
        self.asm.mov_imm(Reg::R4, 0);
        self.asm.call(Helper::GetStack);
        self.asm.store(Width::U32, Reg::R8, offset_of!(Record, stack_bytes) as i16, Reg::R0);
    }

    fn submit(&mut self) {
        /// The reader polls: waking it for every frame would only cost time.
        const BPF_RB_NO_WAKEUP: i32 = 1;
        self.asm.mov(Reg::R1, Reg::R8);
        self.asm.mov_imm(Reg::R2, BPF_RB_NO_WAKEUP);
        self.asm.call(Helper::RingbufSubmit);
        self.end();
    }

    fn end(&mut self) {
        self.asm.mov_imm(Reg::R0, 0);
        self.asm.exit();
    }
}

/// Adds one to a counter.
pub(crate) fn count(asm: &mut Assembler, counter: Counter, counters: BorrowedFd<'_>) {
    let counted = asm.label();
    asm.store_imm(Width::U32, Reg::R10, SCRATCH, counter as i32);
    look_up(asm, counters);
    asm.jump_if_eq(Reg::R0, 0, counted);
    asm.mov_imm(Reg::R1, 1);
    asm.atomic_add(Reg::R0, 0, Reg::R1);
    asm.place(counted);
}

/// `r0` = the element of an array whose number is in the scratch word.
fn look_up(asm: &mut Assembler, map: BorrowedFd<'_>) {
    asm.load_map(Reg::R1, map.as_raw_fd());
    asm.mov(Reg::R2, Reg::R10);
    asm.add_imm(Reg::R2, SCRATCH.into());
    asm.call(Helper::MapLookupElem);
}

/// A record as bytes of the ring buffer.
pub(crate) struct Raw<'a>(pub &'a [u8]);

impl Raw<'_> {
    /// `N` bytes at an offset taken from [`Record`]; zeros if the record were shorter than the program writes it.
    pub fn at<const N: usize>(&self, offset: usize) -> [u8; N] {
        self.0.get(offset..offset + N).and_then(|bytes| bytes.try_into().ok()).unwrap_or([0; N])
    }

    /// Location and stack as bytes: equal for frames that were dropped at one place in one way.
    pub fn site(&self) -> &[u8] {
        let start = offset_of!(Record, location);
        let end = offset_of!(Record, device);
        self.0.get(start..end).unwrap_or_default()
    }

    pub fn u16(&self, offset: usize) -> u16 {
        u16::from_ne_bytes(self.at(offset))
    }

    pub fn u32(&self, offset: usize) -> u32 {
        u32::from_ne_bytes(self.at(offset))
    }

    pub fn u64(&self, offset: usize) -> u64 {
        u64::from_ne_bytes(self.at(offset))
    }
}

#[cfg(test)]
mod tests {
    use std::os::fd::AsFd;

    use super::*;

    fn layout(sk_buff_bytes: u32, has_reason: bool) -> Layout {
        Layout {
            has_reason,
            sk_buff_bytes,
            dev: 16,
            len: 112,
            head: 200,
            data: 208,
            tail: 188,
            mac_header: 186,
            protocol: 180,
            queue_mapping: 124,
            vlan_tci: 158,
            vlan_presence: Presence::NotZero { offset: 156 },
            dev_ifindex: 224,
            dev_name: 304,
            dev_net: 280,
            net_inum: 144,
            dev_tx_queues: 24,
            dev_tx_queues_count: 1000,
            tx_queue_bytes: 320,
            tx_queue_qdisc: 8,
            qdisc_ops: 24,
            qdisc_ops_id: 24,
        }
    }

    fn write_for(layout: &Layout) -> Result<Vec<[u8; 8]>, FrameTooLarge> {
        // The numbers of the maps only have to be numbers here.
        let stdin = std::io::stdin();
        let fd = stdin.as_fd();
        write(layout, Role::First, Maps { ring: fd, counters: fd, seen: fd })
    }

    /// Where no reason is passed, reading one would have the program refused when it is attached.
    #[test]
    fn the_third_argument_is_read_only_where_there_is_one() {
        const LOAD_THIRD_ARGUMENT: [u8; 8] = [0x79, 0x61, 16, 0, 0, 0, 0, 0];
        for has_reason in [false, true] {
            let code = write_for(&layout(232, has_reason)).expect("it fits");
            assert_eq!(code.contains(&LOAD_THIRD_ARGUMENT), has_reason);
        }
    }

    #[test]
    fn a_frame_that_does_not_fit_on_the_stack_is_refused() {
        assert!(write_for(&layout(500, true)).is_ok());
        assert_eq!(write_for(&layout(520, true)), Err(FrameTooLarge(520)));
    }

    #[test]
    fn twenty_thousand_records_fit_into_the_ring() {
        const HEADER_BYTES: usize = 8;
        let each = (size_of::<Record>() + HEADER_BYTES).next_multiple_of(8);
        assert!(20_000 * each < crate::observe::drops::RING_BYTES as usize);
    }
}
