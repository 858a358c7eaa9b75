//! XDP programs that do the same with each frame, put on a device by rtnetlink: there until they are taken away.

use std::os::fd::{AsFd, OwnedFd};

use crate::agent::testbed::Testbed;
use crate::device::links;
use crate::device::links::XdpMode;
use crate::syscall::bpf;
use crate::syscall::bpf::asm::{Assembler, Reg};
use crate::syscall::bpf::{BpfError, ProgramType};
use bondlab_core::net::name::DeviceRef;
use bondlab_core::plan::record::OpError;

/// What becomes of each frame: `enum xdp_action`, include/uapi/linux/bpf.h.
#[derive(Debug, Clone, Copy)]
#[repr(i32)]
pub enum Action {
    /// XDP_DROP.
    Drop = 1,
    /// XDP_PASS.
    Pass = 2,
}

/// Loads the program.
///
/// # Errors
/// EPERM without root in the initial user namespace, where users may load none (kernel.unprivileged_bpf_disabled).
pub fn load(action: Action) -> Result<OwnedFd, BpfError> {
    bpf::with_locked_memory(|| bpf::load(ProgramType::Xdp, &program(action)))
}

/// Loads the program and hangs it up at a device.
///
/// # Errors
/// As [`load`] and [`hang_up`].
pub async fn put(bed: &Testbed, device: &DeviceRef, action: Action, mode: XdpMode) -> Result<(), OpError> {
    let program = load(action).map_err(|error| not_loaded(device, &error))?;
    hang_up(bed, device, &program, mode).await
}

/// Hangs a program up at a device. A NIC's driver may start the device anew for it, and take its carrier for a while.
///
/// # Errors
/// EOPNOTSUPP when the driver has no XDP.
pub async fn hang_up(
    bed: &Testbed,
    device: &DeviceRef,
    program: &OwnedFd,
    mode: XdpMode,
) -> Result<(), OpError> {
    links::set_xdp(bed, device, Some(program.as_fd()), mode).await
}

/// What the kernel refused, as a record.
pub fn not_loaded(device: &DeviceRef, error: &BpfError) -> OpError {
    OpError { what: format!("load an XDP program for {device}"), errno: None, text: Some(error.to_string()) }
}

fn program(action: Action) -> Vec<[u8; 8]> {
    let mut code = Assembler::default();
    code.mov_imm(Reg::R0, action as i32);
    code.exit();
    code.finish()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_program_returns_its_action() {
        assert_eq!(program(Action::Drop), [[0xb7, 0, 0, 0, 1, 0, 0, 0], [0x95, 0, 0, 0, 0, 0, 0, 0]]);
        assert_eq!(program(Action::Pass)[0][4], 2);
    }
}
