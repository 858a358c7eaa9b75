//! Words of the kernel for options of links, with their numbers.

use serde::{Deserialize, Serialize};

use crate::net::mode::words;
use crate::net::option::{OptionType, Value, Wire};
use schemars::JsonSchema;
use std::fmt;

words! {
    /// `MACSEC_VALIDATE_*`, include/uapi/linux/if_link.h.
    MacsecValidate: u8 { Disabled = 0 "disabled", Check = 1 "check", Strict = 2 "strict" }
}

words! {
    /// `MACSEC_OFFLOAD_*`, include/uapi/linux/if_link.h.
    MacsecOffload: u8 { Off = 0 "off", Phy = 1 "phy", Mac = 2 "mac" }
}

words! {
    /// `VXLAN_DF_*`, include/uapi/linux/if_link.h.
    VxlanDf: u8 { Unset = 0 "unset", Set = 1 "set", Inherit = 2 "inherit" }
}

words! {
    /// `VXLAN_LABEL_*`, include/uapi/linux/if_link.h.
    LabelPolicy: u8 { Fixed = 0 "fixed", Inherit = 1 "inherit" }
}

words! {
    /// `BR_STP_MODE_*`, include/uapi/linux/if_link.h.
    StpMode: u8 { Auto = 0 "auto", User = 1 "user", Kernel = 2 "kernel" }
}

words! {
    /// `IF_LINK_MODE_*`, include/uapi/linux/if.h.
    LinkMode: u8 { Default = 0 "default", Dormant = 1 "dormant" }
}

words! {
    /// `MDB_RTR_TYPE_*`, include/uapi/linux/if_bridge.h.
    MulticastRouter: u8 { Disabled = 0 "disabled", TempQuery = 1 "temp_query", Permanent = 2 "permanent" }
}

words! {
    /// A mode of a team, by the name of its module `team_mode_*`.
    TeamMode: u8 {
        RoundRobin = 0 "roundrobin", ActiveBackup = 1 "activebackup", LoadBalance = 2 "loadbalance",
        Broadcast = 3 "broadcast", Random = 4 "random",
    }
}

words! {
    /// A kind of link that has nothing but options, a parent and ports: `IFLA_INFO_KIND`.
    VirtualKind: u8 {
        Ifb = 0 "ifb", Vrf = 1 "vrf", Vxlan = 2 "vxlan", Geneve = 3 "geneve", Gre = 4 "gre", Gretap = 5 "gretap",
        Macsec = 6 "macsec", Team = 7 "team",
    }
}

/// `MACSEC_CIPHER_ID_*`, include/uapi/linux/if_macsec.h.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum MacsecCipher {
    /// `gcm-aes-128`
    #[serde(rename = "gcm-aes-128")]
    GcmAes128,
    /// `gcm-aes-256`
    #[serde(rename = "gcm-aes-256")]
    GcmAes256,
}

impl MacsecCipher {
    /// Numbers with their words. The default's first number is what kernels show for `gcm-aes-128` (macsec_fill_info()).
    pub const WORDS: &'static [(u64, &'static str)] = &[
        (0x0080_c200_0100_0001, "gcm-aes-128"),
        (0x0080_0200_0100_0001, "gcm-aes-128"),
        (0x0080_c200_0100_0002, "gcm-aes-256"),
    ];

    /// Length of its key.
    pub fn key_bytes(self) -> usize {
        match self {
            Self::GcmAes128 => 16,
            Self::GcmAes256 => 32,
        }
    }

    fn number(self) -> i64 {
        match self {
            Self::GcmAes128 => 0x0080_c200_0100_0001,
            Self::GcmAes256 => 0x0080_c200_0100_0002,
        }
    }
}

impl OptionType for MacsecCipher {
    const WIRE: Wire = Wire::Word64(Self::WORDS);
    fn value(&self) -> Value {
        Value::Number(self.number())
    }
}

macro_rules! word_options {
    ($($type:ty)+) => {
        $(impl OptionType for $type {
            const WIRE: Wire = Wire::Word8(Self::WORDS);
            fn value(&self) -> Value {
                Value::Number(self.number().into())
            }
        })+
    };
}

word_options! { MacsecValidate MacsecOffload VxlanDf MulticastRouter LabelPolicy StpMode LinkMode }
