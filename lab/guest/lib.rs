//! What runs inside the kernel under test: as `/init` of a guest, or in namespaces of this host.

#![deny(clippy::print_stdout, clippy::print_stderr)]

pub mod agent;
pub mod device;
pub mod exec;
pub mod fault;
pub mod init;
pub mod observe;
pub mod pod;
pub mod selftest;
pub mod syscall;
pub mod traffic;
