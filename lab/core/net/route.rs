//! Routes and permanent neighbours.

use std::fmt;
use std::net::IpAddr;

use serde::{Deserialize, Serialize};

use crate::net::address::{Cidr, MacSource};
use crate::net::name::IfName;

/// A route.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Route {
    /// `None` is the default route.
    pub to: Option<Cidr>,
    /// The next hop.
    pub via: Option<IpAddr>,
    /// The device.
    pub dev: Option<IfName>,
}

impl fmt::Display for Route {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.to {
            Some(to) => to.fmt(f)?,
            None => f.write_str("default")?,
        }
        if let Some(via) = &self.via {
            write!(f, " via {via}")?;
        }
        self.dev.as_ref().map_or(Ok(()), |dev| write!(f, " dev {dev}"))
    }
}

/// A permanent neighbour.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Neighbour {
    /// Its address.
    pub to: IpAddr,
    /// The device it is reached by.
    pub dev: IfName,
    /// Its Ethernet address.
    pub mac: MacSource,
}
