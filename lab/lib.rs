//! bondlab: bonds, VLANs and VFs, broken on purpose, with an account of every frame.

// Pure: values in, values out.
pub mod handshake;

// System calls: runs as /init of a guest, or in namespaces of this host.
pub mod guest;

// The host's side: kernels, machines, reports.
pub mod host;
