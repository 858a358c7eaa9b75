//! Drop filters of tcx (Linux 6.6): a BPF program on a device's hook, there as long as its link's descriptor is open.

use std::os::fd::{AsFd, OwnedFd};

use crate::agent::testbed::{Testbed, netns_error};
use crate::syscall::bpf;
use crate::syscall::bpf::asm::{Assembler, Reg, Width};
use crate::syscall::bpf::{BpfError, ProgramType};
use bondlab_core::net::name::{DeviceRef, VlanId};
use bondlab_core::plan::record::OpError;
use bondlab_core::topology::fault::Hook;

/// TC_ACT_SHOT, include/uapi/linux/pkt_cls.h.
const DROP: i32 = 2;
/// TCX_NEXT, include/uapi/linux/bpf.h.
const NEXT: i32 = -1;

// struct __sk_buff, include/uapi/linux/bpf.h.
const VLAN_PRESENT_AT: i16 = 20;
const VLAN_TCI_AT: i16 = 24;
/// VLAN_VID_MASK, include/linux/if_vlan.h.
const VLAN_ID_MASK: i32 = 0x0fff;

/// Drops every frame at a hook; with `vlan`, those that carry that tag as metadata. Closing what it returns ends it.
///
/// # Errors
/// No such device, or the kernel's refusal.
pub async fn drop_frames(
    bed: &Testbed,
    device: &DeviceRef,
    hook: Hook,
    vlan: Option<VlanId>,
) -> Result<OwnedFd, OpError> {
    let what = format!("drop frames at the tcx hook of {device}");
    let index = bed.index(device).await?;
    // The device's number means one of the caller's own namespace (tcx_link_attach()).
    let attached = bed.namespaces.enter(&device.ns, || attach(index, hook, vlan));
    attached.map_err(|error| netns_error(&what, &error))?.map_err(|error| OpError {
        what,
        errno: None,
        text: Some(error.to_string()),
    })
}

/// Attaches the program to device number `index` of the caller's namespace.
///
/// # Errors
/// EINVAL before Linux 6.6.
pub fn attach(index: u32, hook: Hook, vlan: Option<VlanId>) -> Result<OwnedFd, BpfError> {
    bpf::with_locked_memory(|| {
        let program = bpf::load(ProgramType::SchedCls, &program(vlan))?;
        bpf::attach_tcx(program.as_fd(), index, hook == Hook::Egress)
    })
}

fn program(vlan: Option<VlanId>) -> Vec<[u8; 8]> {
    let mut code = Assembler::default();
    let (pass, lose) = (code.label(), code.label());
    if let Some(id) = vlan {
        code.load(Width::U32, Reg::R2, Reg::R1, VLAN_PRESENT_AT);
        code.jump_if_eq(Reg::R2, 0, pass);
        code.load(Width::U32, Reg::R2, Reg::R1, VLAN_TCI_AT);
        code.and_imm(Reg::R2, VLAN_ID_MASK);
        code.jump_if_eq(Reg::R2, id.get().into(), lose);
        code.place(pass);
        code.mov_imm(Reg::R0, NEXT);
        code.exit();
        code.place(lose);
    }
    code.mov_imm(Reg::R0, DROP);
    code.exit();
    code.finish()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_filter_for_all_frames_has_two_instructions() {
        assert_eq!(program(None), [[0xb7, 0, 0, 0, 2, 0, 0, 0], [0x95, 0, 0, 0, 0, 0, 0, 0]]);
    }

    #[test]
    fn a_filter_for_a_tag_looks_at_the_tag_first() {
        let code = program(VlanId::try_from(70).ok());
        assert_eq!(code[0], [0x61, 0x12, 20, 0, 0, 0, 0, 0]);
        assert_eq!(code[4], [0x15, 0x02, 2, 0, 70, 0, 0, 0], "to the drop, behind two instructions");
        assert_eq!(code.len(), 9);
    }
}
