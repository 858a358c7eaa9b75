//! The host's side: kernels and what is kept of them, machines, verdicts on how they ended.
//!
//! From a kernel's name to what QEMU boots, in reading order: [`kernels`] names the pin, [`store`] has it
//! on disk (by way of [`mirror`], [`download`], [`deb`], [`vmlinux`]), [`modules`] finds what has to be
//! loaded, [`initramfs`] packs that with the lab's own binary; [`manifest`] tells a damaged kernel; [`qemu`] and [`vm`] start it, [`console`] and
//! [`death`] say how it ended.

pub mod archive;
pub mod cache;
pub mod child;
pub mod deb;
pub mod decompress;
pub mod download;
pub mod file;
pub mod initramfs;
pub mod kernels;
pub mod lz4;
pub mod manifest;
pub mod mirror;
pub mod modules;
pub mod netdevsim;
pub mod prune;
pub mod store;
pub mod vmlinux;

pub mod accel;
pub mod checksum;
pub mod console;
pub mod death;
pub mod install;
pub mod lines;
pub mod nics;
pub mod plugins;
pub mod qemu;
pub mod qmp;
pub mod vm;
pub mod warm;
pub mod warm_check;

pub mod local;
pub mod runner;

pub mod interrupt;
pub mod matrix;
pub mod memory;

pub mod wait;

pub use crate::version;
