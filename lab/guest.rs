//! The guest side: system calls made inside the kernel under test, as `/init` or in namespaces of this host.

pub mod bpf;
pub mod drops;
