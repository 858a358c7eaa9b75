//! The kernel's interfaces: netlink, sockets, namespaces, BPF.

pub mod bpf;
pub mod decoder;
pub mod extack;
pub mod netlink;
pub mod netns;
pub mod packet_options;
pub mod rtnl;
pub mod sockopt;
pub mod stamped;
