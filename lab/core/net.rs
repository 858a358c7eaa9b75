//! Values of kernel networking; a wrong one cannot be written. Depends on no other room.

#[macro_use]
pub mod text_value;
pub mod address;
pub mod bond;
pub mod bond_option;
pub mod clean;
pub mod dhcp;
pub mod frame_class;
pub mod frame_set;
pub mod inner_path;
pub mod ip_address;
pub mod kernel_log;
pub mod layer;
pub mod link;
pub mod link_extras;
pub mod link_option;
pub mod link_show;
pub mod link_state;
pub mod machine;
pub mod mode;
pub mod name;
pub mod nic;
pub mod offload;
pub mod option;
pub mod pattern;
pub mod priority_map;
pub mod probe;
pub mod proc_bonding;
pub mod qdisc;
pub mod route;
pub mod snmp;
pub mod switch_port;
pub mod sysctl;
pub mod version;
