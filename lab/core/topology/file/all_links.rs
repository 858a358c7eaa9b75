//! All links of a namespace, whatever their kind.

use crate::net::name::IfName;
use crate::topology::file::{At, LinkAttributes, NsTable};

impl NsTable {
    /// All links with what every link may say, kind by kind.
    pub fn links(&self) -> Vec<(&At<IfName>, LinkAttributes<'_>)> {
        let mut all = Vec::new();
        macro_rules! each {
            ($($table:ident)+) => {
                $(all.extend(self.$table.iter().map(|(name, link)| (name, link.attributes())));)+
            };
        }
        each! {
            veth dummy gadget tap tun bond vlan ipvlan macvlan bridge ifb vrf vxlan geneve gre gretap macsec team netdevsim
            nic pf vf
        }
        all
    }

    /// The names of all links, kind by kind.
    pub fn link_names(&self) -> Vec<&At<IfName>> {
        let mut all = Vec::new();
        macro_rules! each {
            ($($table:ident)+) => { $(all.extend(self.$table.keys());)+ };
        }
        each! {
            veth dummy gadget tap tun bond vlan ipvlan macvlan bridge ifb vrf vxlan geneve gre gretap macsec team netdevsim
            nic pf vf
        }
        all
    }
}
