//! The XDP program that drops each frame of a NIC and tells of it. A driver that runs such a program has no
//! `struct sk_buff` yet, so `skb:kfree_skb` does not happen.

use std::mem::offset_of;
use std::os::fd::{AsRawFd, BorrowedFd};

use crate::observe::drops::program::{Counter, HEAD_BYTES, NAME_BYTES, Record, count};
use crate::syscall::bpf::asm::{Assembler, Helper, Reg, Width};

/// What is in the place of a kernel address.
pub(crate) const LOCATION: u64 = 0;
/// What runs the program (include/linux/filter.h), inlined in each driver.
pub(crate) const FUNCTION: &str = "bpf_prog_run_xdp";

/// Where members of `struct xdp_md` are, include/uapi/linux/bpf.h.
const DATA: i16 = 0;
const DATA_END: i16 = 4;
const INGRESS_IFINDEX: i16 = 12;

/// A reason no kernel has: the driver gives none, and 0 would be one.
const NO_REASON: i32 = -1;
const XDP_DROP: i32 = 1;

/// Writes the program for a device. A frame there is no room for is counted as lost, and dropped all the same.
pub(crate) fn write(
    netns: u32,
    device: &str,
    ring: BorrowedFd<'_>,
    counters: BorrowedFd<'_>,
) -> Vec<[u8; 8]> {
    let mut asm = Assembler::default();
    let no_room = asm.label();
    // r6 = ctx, r7 = data, r8 = the record, r9 = data_end
    asm.mov(Reg::R6, Reg::R1);
    asm.load(Width::U32, Reg::R7, Reg::R6, DATA);
    asm.load(Width::U32, Reg::R9, Reg::R6, DATA_END);
    asm.load_map(Reg::R1, ring.as_raw_fd());
    asm.mov_imm(Reg::R2, size_of::<Record>() as i32);
    asm.mov_imm(Reg::R3, 0);
    asm.call(Helper::RingbufReserve);
    asm.jump_if_eq(Reg::R0, 0, no_room);
    asm.mov(Reg::R8, Reg::R0);
    // What the ring held there before is not the frame's.
    for offset in (0..size_of::<Record>()).step_by(8) {
        asm.store_imm(Width::U64, Reg::R8, offset as i16, 0);
    }
    asm.store(Width::U64, Reg::R8, offset_of!(Record, skb) as i16, Reg::R7);
    asm.store_imm(Width::U32, Reg::R8, offset_of!(Record, reason) as i16, NO_REASON);
    asm.store_imm(Width::U32, Reg::R8, offset_of!(Record, netns) as i16, netns as i32);
    asm.load(Width::U32, Reg::R1, Reg::R6, INGRESS_IFINDEX);
    asm.store(Width::U32, Reg::R8, offset_of!(Record, ifindex) as i16, Reg::R1);
    name(&mut asm, device);
    head(&mut asm);
    const BPF_RB_NO_WAKEUP: i32 = 1;
    let dropped = asm.label();
    asm.mov(Reg::R1, Reg::R8);
    asm.mov_imm(Reg::R2, BPF_RB_NO_WAKEUP);
    asm.call(Helper::RingbufSubmit);
    asm.jump(dropped);
    asm.place(no_room);
    count(&mut asm, Counter::Lost, counters);
    asm.place(dropped);
    asm.mov_imm(Reg::R0, XDP_DROP);
    asm.exit();
    asm.finish()
}

fn name(asm: &mut Assembler, device: &str) {
    let mut name = [0; NAME_BYTES];
    // One short of the array: a NUL is at its end.
    for (to, from) in name[..NAME_BYTES - 1].iter_mut().zip(device.bytes()) {
        *to = from;
    }
    for (at, word) in name.as_chunks::<4>().0.iter().enumerate() {
        let offset = offset_of!(Record, device) + 4 * at;
        asm.store_imm(Width::U32, Reg::R8, offset as i16, i32::from_ne_bytes(*word));
    }
}

/// The frame's length, its first bytes, and its protocol. Byte by byte: the verifier has to see that each is before
/// `data_end`.
fn head(asm: &mut Assembler) {
    const PROTOCOL: i16 = 12;
    let copied = asm.label();
    asm.mov(Reg::R1, Reg::R9);
    asm.sub(Reg::R1, Reg::R7);
    asm.store(Width::U32, Reg::R8, offset_of!(Record, len) as i16, Reg::R1);
    asm.store(Width::U32, Reg::R8, offset_of!(Record, linear) as i16, Reg::R1);
    for at in 0..HEAD_BYTES as i16 {
        asm.mov(Reg::R1, Reg::R7);
        asm.add_imm(Reg::R1, i32::from(at) + 1);
        asm.jump_if_greater(Reg::R1, Reg::R9, copied);
        asm.load(Width::U8, Reg::R2, Reg::R7, at);
        asm.store(Width::U8, Reg::R8, offset_of!(Record, head) as i16 + at, Reg::R2);
        if at == PROTOCOL + 1 {
            asm.load(Width::U16, Reg::R2, Reg::R7, PROTOCOL);
            asm.store(Width::U16, Reg::R8, offset_of!(Record, protocol) as i16, Reg::R2);
        }
    }
    asm.place(copied);
}

#[cfg(test)]
mod tests {
    use std::os::fd::AsFd;

    use super::*;

    #[test]
    fn a_name_is_cut_before_its_nul() {
        let mut asm = Assembler::default();
        name(&mut asm, "a-name-that-is-too-long");
        let code = asm.finish();
        let stored: Vec<u8> = code.iter().flat_map(|instruction| instruction[4..].to_vec()).collect();
        assert_eq!(stored, *b"a-name-that-is-\0");
    }

    #[test]
    fn every_way_through_it_drops_the_frame() {
        let stdin = std::io::stdin();
        let code = write(7, "enp2s0", stdin.as_fd(), stdin.as_fd());
        let exits = code.iter().filter(|instruction| instruction[0] == 0x95).count();
        assert_eq!(exits, 1);
        assert_eq!(code[code.len() - 2], [0xb7, 0, 0, 0, 1, 0, 0, 0], "r0 = XDP_DROP before the only exit");
    }
}
