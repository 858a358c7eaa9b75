//! What a pod asks of a network beside its configuration: `ips` and `mac` of the annotation.
//!
//! Multus hands them over as `runtimeConfig`, and libcni gives a plugin of that only what its `capabilities` name
//! (`injectRuntimeConfig()`), silently. So it is a mistake here to ask for what the configuration has no capability for.

use std::net::IpAddr;

use crate::net::address::{Cidr, Mac};
use crate::topology::cni::{Delegate, Ipam, Network};

/// `ips` and `mac` of one entry.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Request {
    /// Addresses, with their prefix lengths where they are written.
    pub ips: Vec<(IpAddr, Option<u8>)>,
    /// The interface's Ethernet address.
    pub mac: Option<Mac>,
}

impl Network {
    /// The configuration as the plugins get it for a pod that asks for this.
    ///
    /// # Errors
    /// No capability for it, or a plugin that takes none: a message and a hint.
    pub fn asked(&self, request: &Request) -> Result<Self, (String, String)> {
        let mut network = self.clone();
        let mut runtime = serde_json::Map::new();
        if let Some(mac) = request.mac {
            self.capable_of("mac")?;
            network.delegate.take_mac(mac)?;
            runtime.insert("mac".into(), mac.to_string().into());
        }
        if !request.ips.is_empty() {
            self.capable_of("ips")?;
            take_ips(network.ipam.as_mut(), &request.ips)?;
            let text = |(address, prefix): &(IpAddr, Option<u8>)| match prefix {
                Some(prefix) => format!("{address}/{prefix}"),
                None => address.to_string(),
            };
            runtime.insert("ips".into(), request.ips.iter().map(text).collect());
        }
        if let (false, Ok(serde_json::Value::Object(mut config))) =
            (runtime.is_empty(), serde_json::from_str(&self.json))
        {
            config.insert("runtimeConfig".into(), runtime.into());
            network.json = serde_json::Value::Object(config).to_string();
        }
        Ok(network)
    }

    fn capable_of(&self, capability: &str) -> Result<(), (String, String)> {
        if self.capabilities.iter().any(|known| known == capability) {
            return Ok(());
        }
        let message =
            format!("network `{}` has no capability `{capability}`, and would not get it", self.name);
        Err((message, format!("write \"capabilities\": {{ \"{capability}\": true }} into its configuration")))
    }
}

impl Delegate {
    /// macvlan, bridge and sriov read `mac` of `runtimeConfig`.
    fn take_mac(&mut self, asked: Mac) -> Result<(), (String, String)> {
        match self {
            Self::Macvlan { mac, .. } | Self::Bridge { mac, .. } => *mac = Some(asked),
            Self::Sriov(settings) => settings.mac = Some(asked),
            other => {
                let message = format!("the plugin {} takes no Ethernet address of a pod", other.plugin());
                return Err((message, "take `mac` away".into()));
            }
        }
        Ok(())
    }
}

/// static puts them in the place of its own (`LoadIPAMConfig()`), host-local gives the one that its range has.
fn take_ips(ipam: Option<&mut Ipam>, ips: &[(IpAddr, Option<u8>)]) -> Result<(), (String, String)> {
    match ipam {
        Some(Ipam::Static { addresses, .. }) => {
            let cidr = |(address, prefix): &(IpAddr, Option<u8>)| match prefix {
                Some(prefix) => Ok((Cidr { address: *address, prefix: *prefix }, None)),
                None => {
                    let message = format!("static takes `{address}` with its prefix length alone");
                    Err((message, format!("write {address}/24")))
                }
            };
            *addresses = ips.iter().map(cidr).collect::<Result<_, _>>()?;
            Ok(())
        }
        Some(Ipam::HostLocal { asked, .. }) => {
            *asked = ips.iter().map(|(address, _)| *address).collect();
            Ok(())
        }
        Some(other) => {
            let message = format!("the IPAM plugin {} takes no addresses of a pod", other.plugin());
            Err((message, "use static or host-local, or take `ips` away".into()))
        }
        None => Err((
            "this network has no `ipam`, and gets no addresses".into(),
            "write \"ipam\": { \"type\": \"static\" }".into(),
        )),
    }
}
