//! Words of the kernel with their numbers: bond modes and policies, VLAN protocols, modes of macvlan and ipvlan.

use std::fmt;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// A set of words with their kernel numbers: one table serves the file format, netlink and reports.
macro_rules! words {
    ($(#[$doc:meta])* $name:ident : $number:ty { $($variant:ident = $value:literal $word:literal),+ $(,)? }) => {
        $(#[$doc])*
        #[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize, JsonSchema)]
        #[repr($number)]
        pub enum $name {
            $(#[doc = concat!("`", $word, "`")] #[serde(rename = $word)] $variant = $value),+
        }
        impl $name {
            /// The number the kernel knows it by.
            pub fn number(self) -> $number {
                self as $number
            }
            /// All of them.
            pub const WORDS: &[(u32, &str)] = &[$(($value, $word)),+];
            /// The word the kernel and iproute2 use.
            pub fn word(self) -> &'static str {
                match self { $(Self::$variant => $word),+ }
            }
        }
        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(self.word())
            }
        }
    };
}

pub(crate) use words;

words! {
    /// `BOND_MODE_*`, include/uapi/linux/if_bonding.h.
    BondMode: u8 {
        BalanceRr = 0 "balance-rr",
        ActiveBackup = 1 "active-backup",
        BalanceXor = 2 "balance-xor",
        Broadcast = 3 "broadcast",
        Ieee8023Ad = 4 "802.3ad",
        BalanceTlb = 5 "balance-tlb",
        BalanceAlb = 6 "balance-alb",
    }
}

words! {
    /// `BOND_XMIT_POLICY_*`, include/uapi/linux/if_bonding.h.
    XmitHashPolicy: u8 {
        Layer2 = 0 "layer2",
        Layer34 = 1 "layer3+4",
        Layer23 = 2 "layer2+3",
        Encap23 = 3 "encap2+3",
        Encap34 = 4 "encap3+4",
        VlanSrcMac = 5 "vlan+srcmac",
    }
}

words! {
    /// `BOND_FOM_*`, include/net/bonding.h.
    FailOverMac: u8 { None = 0 "none", Active = 1 "active", Follow = 2 "follow" }
}

words! {
    /// `AD_LACP_SLOW` and `AD_LACP_FAST`, include/uapi/linux/if_bonding.h.
    LacpRate: u8 { Slow = 0 "slow", Fast = 1 "fast" }
}

words! {
    /// `enum ad_select`, include/net/bond_3ad.h.
    AdSelect: u8 { Stable = 0 "stable", Bandwidth = 1 "bandwidth", Count = 2 "count", ActorPortPrio = 3 "actor_port_prio" }
}

words! {
    /// `BOND_PRI_RESELECT_*`, include/net/bonding.h.
    PrimaryReselect: u8 { Always = 0 "always", Better = 1 "better", Failure = 2 "failure" }
}

words! {
    /// `BOND_ARP_VALIDATE_*`, include/net/bonding.h.
    ArpValidate: u32 {
        None = 0 "none", Active = 1 "active", Backup = 2 "backup", All = 3 "all",
        Filter = 4 "filter", FilterActive = 5 "filter_active", FilterBackup = 6 "filter_backup",
    }
}

words! {
    /// `BOND_ARP_TARGETS_*`, include/net/bonding.h.
    ArpAllTargets: u32 { Any = 0 "any", All = 1 "all" }
}

words! {
    /// `IPVLAN_MODE_*`, include/uapi/linux/if_link.h.
    IpvlanMode: u16 { L2 = 0 "l2", L3 = 1 "l3", L3s = 2 "l3s" }
}

words! {
    /// Who reaches whom on one parent: none or one of `IPVLAN_F_*`, include/uapi/linux/if_link.h.
    IpvlanFlag: u16 { Bridge = 0 "bridge", Private = 1 "private", Vepa = 2 "vepa" }
}

words! {
    /// `MACVLAN_MODE_*`, include/uapi/linux/if_link.h.
    MacvlanMode: u32 { Private = 1 "private", Vepa = 2 "vepa", Bridge = 4 "bridge", Passthru = 8 "passthru", Source = 16 "source" }
}

words! {
    /// The tag's EtherType, include/uapi/linux/if_ether.h.
    VlanProtocol: u16 { Ieee8021Q = 0x8100 "802.1Q", Ieee8021Ad = 0x88a8 "802.1ad" }
}

words! {
    /// A NIC that QEMU emulates, by the name of its driver in the kernel.
    NicDriver: u8 { Igb = 0 "igb", E1000e = 1 "e1000e", VirtioNet = 2 "virtio_net" }
}

words! {
    /// What is behind a PF and its VFs.
    Backing: u8 { Hardware = 0 "hardware", Netdevsim = 1 "netdevsim", Switch = 2 "switch" }
}

words! {
    /// `IFLA_VF_LINK_STATE_*`, include/uapi/linux/if_link.h.
    VfLinkState: u32 { Auto = 0 "auto", Enable = 1 "enable", Disable = 2 "disable" }
}
