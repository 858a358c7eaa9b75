//! Values that are read from a text, and why a text is none.

use thiserror::Error;

/// Why a word in a topology is not a value of its kind. Lowercase fragments, made to follow a position.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub enum ValueError {
    /// `dev_valid_name()` in net/core/dev.c refuses it.
    #[error("`{0}` is not an interface name: 1 to 15 bytes, no `/`, `:` or `%`, no white space")]
    IfName(String),
    /// A namespace's name stands before a colon and in reports.
    #[error("`{0}` is not a namespace name: 1 to 32 letters, digits, `-` or `_`")]
    NsName(String),
    /// 802.1Q reserves 4095.
    #[error("vlan id {0} is out of range: 0 to 4094")]
    VlanId(i64),
    /// `namespace:device` is expected.
    #[error("`{0}` names no device: write `namespace:device`, for example `node:bond0`")]
    DeviceRef(String),
    /// Six hexadecimal pairs.
    #[error("`{0}` is not a MAC address: write six pairs such as `02:00:5e:00:53:01`")]
    Mac(String),
    /// Address and prefix length.
    #[error("`{0}` is not an address with a prefix length: write `192.0.2.1/24`")]
    Cidr(String),
}

macro_rules! text_value {
    ($name:ident) => {
        impl TryFrom<String> for $name {
            type Error = ValueError;
            fn try_from(text: String) -> Result<Self, ValueError> {
                text.parse()
            }
        }
        impl From<$name> for String {
            fn from(value: $name) -> String {
                value.to_string()
            }
        }
    };
}
