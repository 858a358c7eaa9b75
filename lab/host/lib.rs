//! The host's side: kernels and what is kept of them, machines, verdicts on how they ended.
//!
//! From a kernel's name to what QEMU boots, in reading order: [`kernels`] names the pin, [`store`] has it
//! on disk (by way of [`mirror`], [`download`], [`deb`], [`vmlinux`]), [`modules`] finds what has to be
//! loaded, [`initramfs`] packs that with the lab's own binary; [`manifest`] tells a damaged kernel; [`qemu`] and [`vm`] start it, [`console`] and
//! [`death`] say how it ended.

#![deny(clippy::print_stdout, clippy::print_stderr)]

pub mod archive;
pub mod cache;
pub mod capture;
pub mod child;
pub mod ci;
pub mod exec;
pub mod file;
pub mod include;
pub mod install;
pub mod inventory;
pub mod kernel;
pub mod prune;
pub mod run;
pub mod terminal;
pub mod vm;
pub mod wait;
