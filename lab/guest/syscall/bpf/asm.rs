//! A small assembler for BPF: one method for each instruction the drop program needs, and labels.
//!
//! The encoding is that of the kernel's `Documentation/bpf/standardization/instruction-set.rst`.

/// A BPF register. `R10` is the read-only frame pointer, `R1` to `R5` do not survive a call.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
#[expect(missing_docs, reason = "the names are the instruction set's own and say it all")]
pub enum Reg {
    R0,
    R1,
    R2,
    R3,
    R4,
    R5,
    R6,
    R7,
    R8,
    R9,
    R10,
}

/// The width of a load or store.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub enum Width {
    /// Four bytes, BPF_W.
    U32 = 0x00,
    /// Two bytes, BPF_H.
    U16 = 0x08,
    /// One byte, BPF_B.
    U8 = 0x10,
    /// Eight bytes, BPF_DW.
    U64 = 0x18,
}

/// A helper function of the kernel, by its number in `enum bpf_func_id` (include/uapi/linux/bpf.h).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(i32)]
pub enum Helper {
    /// `bpf_map_lookup_elem(map, key)`.
    MapLookupElem = 1,
    /// `bpf_get_stack(ctx, buf, size, flags)`, GPL only.
    GetStack = 67,
    /// `bpf_probe_read_kernel(dst, size, unsafe_ptr)`, GPL only; fills `dst` with zeros when it fails.
    ProbeReadKernel = 113,
    /// `bpf_ringbuf_reserve(ringbuf, size, flags)`.
    RingbufReserve = 131,
    /// `bpf_ringbuf_submit(data, flags)`.
    RingbufSubmit = 132,
}

/// A place to jump to: made by [`Assembler::label`], placed by [`Assembler::place`].
#[derive(Clone, Copy, Debug)]
pub struct Label(usize);

/// Instructions in the order they were asked for.
#[derive(Debug, Default)]
pub struct Assembler {
    code: Vec<[u8; 8]>,
    /// Where each label was placed.
    labels: Vec<Option<usize>>,
    /// Jumps whose distance is filled in by [`Assembler::finish`].
    jumps: Vec<(usize, Label)>,
}

impl Assembler {
    fn push(&mut self, opcode: u8, dst: Reg, src: u8, offset: i16, imm: i32) {
        let [o0, o1] = offset.to_le_bytes();
        let [i0, i1, i2, i3] = imm.to_le_bytes();
        let regs = dst as u8 | (src << 4);
        self.code.push([opcode, regs, o0, o1, i0, i1, i2, i3]);
    }

    /// `dst = src`
    pub fn mov(&mut self, dst: Reg, src: Reg) {
        self.push(0xbf, dst, src as u8, 0, 0);
    }

    /// `dst = imm`
    pub fn mov_imm(&mut self, dst: Reg, imm: i32) {
        self.push(0xb7, dst, 0, 0, imm);
    }

    /// `dst += imm`
    pub fn add_imm(&mut self, dst: Reg, imm: i32) {
        self.push(0x07, dst, 0, 0, imm);
    }

    /// `dst &= imm`
    pub fn and_imm(&mut self, dst: Reg, imm: i32) {
        self.push(0x57, dst, 0, 0, imm);
    }

    /// `dst >>= imm`, unsigned.
    pub fn shift_right_imm(&mut self, dst: Reg, imm: i32) {
        self.push(0x77, dst, 0, 0, imm);
    }

    /// `dst += src`
    pub fn add(&mut self, dst: Reg, src: Reg) {
        self.push(0x0f, dst, src as u8, 0, 0);
    }

    /// `dst *= imm`
    pub fn mul_imm(&mut self, dst: Reg, imm: i32) {
        self.push(0x27, dst, 0, 0, imm);
    }

    /// `dst -= src`
    pub fn sub(&mut self, dst: Reg, src: Reg) {
        self.push(0x1f, dst, src as u8, 0, 0);
    }

    /// `dst = *(width *)(src + offset)`
    pub fn load(&mut self, width: Width, dst: Reg, src: Reg, offset: i16) {
        self.push(0x61 | width as u8, dst, src as u8, offset, 0);
    }

    /// `*(width *)(dst + offset) = src`
    pub fn store(&mut self, width: Width, dst: Reg, offset: i16, src: Reg) {
        self.push(0x63 | width as u8, dst, src as u8, offset, 0);
    }

    /// `*(width *)(dst + offset) = imm`
    pub fn store_imm(&mut self, width: Width, dst: Reg, offset: i16, imm: i32) {
        self.push(0x62 | width as u8, dst, 0, offset, imm);
    }

    /// `lock *(u64 *)(dst + offset) += src`
    pub fn atomic_add(&mut self, dst: Reg, offset: i16, src: Reg) {
        self.push(0xdb, dst, src as u8, offset, 0);
    }

    /// `dst = map` for the map behind a file descriptor; two slots, as every 64-bit immediate.
    pub fn load_map(&mut self, dst: Reg, map_fd: i32) {
        const BPF_PSEUDO_MAP_FD: u8 = 1;
        self.push(0x18, dst, BPF_PSEUDO_MAP_FD, 0, map_fd);
        self.push(0x00, Reg::R0, 0, 0, 0);
    }

    /// `r0 = helper(r1, ..)`
    pub fn call(&mut self, helper: Helper) {
        self.push(0x85, Reg::R0, 0, 0, helper as i32);
    }

    /// `return r0`
    pub fn exit(&mut self) {
        self.push(0x95, Reg::R0, 0, 0, 0);
    }

    /// A label that has no place yet.
    pub fn label(&mut self) -> Label {
        self.labels.push(None);
        Label(self.labels.len() - 1)
    }

    /// Puts the label before the next instruction.
    pub fn place(&mut self, label: Label) {
        self.labels[label.0] = Some(self.code.len());
    }

    /// `goto target`
    pub fn jump(&mut self, target: Label) {
        self.jumps.push((self.code.len(), target));
        self.push(0x05, Reg::R0, 0, 0, 0);
    }

    /// `if (dst == imm) goto target`
    pub fn jump_if_eq(&mut self, dst: Reg, imm: i32, target: Label) {
        self.jumps.push((self.code.len(), target));
        self.push(0x15, dst, 0, 0, imm);
    }

    /// `if (dst != src) goto target`
    pub fn jump_if_not_equal(&mut self, dst: Reg, src: Reg, target: Label) {
        self.jumps.push((self.code.len(), target));
        self.push(0x5d, dst, src as u8, 0, 0);
    }

    /// `if (dst > src) goto target`, unsigned.
    pub fn jump_if_greater(&mut self, dst: Reg, src: Reg, target: Label) {
        self.jumps.push((self.code.len(), target));
        self.push(0x2d, dst, src as u8, 0, 0);
    }

    /// The finished instructions, eight bytes each.
    ///
    /// # Panics
    /// If a label was jumped to and never placed, which is a mistake in the program written here.
    pub fn finish(mut self) -> Vec<[u8; 8]> {
        for (at, label) in &self.jumps {
            let target = self.labels[label.0].expect("a label that is jumped to has a place");
            let distance = target as i64 - *at as i64 - 1;
            let distance = i16::try_from(distance).expect("the program is short");
            self.code[*at][2..4].copy_from_slice(&distance.to_le_bytes());
        }
        self.code
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(write: impl FnOnce(&mut Assembler), expected: &[[u8; 8]]) {
        let mut asm = Assembler::default();
        write(&mut asm);
        assert_eq!(asm.finish(), expected);
    }

    #[test]
    fn instructions_have_the_encoding_of_the_instruction_set() {
        check(|a| a.mov(Reg::R6, Reg::R1), &[[0xbf, 0x16, 0, 0, 0, 0, 0, 0]]);
        check(|a| a.mov_imm(Reg::R0, -1), &[[0xb7, 0x00, 0, 0, 0xff, 0xff, 0xff, 0xff]]);
        check(|a| a.shift_right_imm(Reg::R1, 6), &[[0x77, 0x01, 0, 0, 6, 0, 0, 0]]);
        check(|a| a.load(Width::U64, Reg::R7, Reg::R6, 8), &[[0x79, 0x67, 8, 0, 0, 0, 0, 0]]);
        check(|a| a.load(Width::U8, Reg::R1, Reg::R10, -8), &[[0x71, 0xa1, 0xf8, 0xff, 0, 0, 0, 0]]);
        check(|a| a.store(Width::U32, Reg::R8, 16, Reg::R1), &[[0x63, 0x18, 16, 0, 0, 0, 0, 0]]);
        check(|a| a.store_imm(Width::U32, Reg::R10, -4, 1), &[[0x62, 0x0a, 0xfc, 0xff, 1, 0, 0, 0]]);
        check(|a| a.atomic_add(Reg::R0, 0, Reg::R1), &[[0xdb, 0x10, 0, 0, 0, 0, 0, 0]]);
        check(|a| a.sub(Reg::R1, Reg::R7), &[[0x1f, 0x71, 0, 0, 0, 0, 0, 0]]);
        check(|a| a.load_map(Reg::R1, 5), &[[0x18, 0x11, 0, 0, 5, 0, 0, 0], [0; 8]]);
        check(|a| a.call(Helper::RingbufReserve), &[[0x85, 0, 0, 0, 131, 0, 0, 0]]);
    }

    #[test]
    fn jumps_count_from_the_next_instruction() {
        check(
            |a| {
                let end = a.label();
                a.jump_if_eq(Reg::R0, 0, end);
                a.mov_imm(Reg::R0, 1);
                a.place(end);
                a.exit();
            },
            &[[0x15, 0, 1, 0, 0, 0, 0, 0], [0xb7, 0, 0, 0, 1, 0, 0, 0], [0x95, 0, 0, 0, 0, 0, 0, 0]],
        );
    }
}
