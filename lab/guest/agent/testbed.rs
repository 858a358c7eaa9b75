//! What a topology stands in: its namespaces and one rtnetlink socket in each. Dropping it takes all away.

use std::cell::{Cell, RefCell};
use std::collections::BTreeMap;
use std::net::IpAddr;
use std::os::fd::OwnedFd;

use indexmap::IndexMap;

use crate::agent::guard::Guard;
use crate::device::links;
use crate::device::nic::Home;
use crate::syscall::netns::{Namespaces, NetnsError, Spares};
use crate::syscall::rtnl::Rtnl;
use bondlab_core::net::name::{DeviceRef, NsName};
use bondlab_core::plan::record::OpError;

/// Namespaces with their sockets.
#[derive(Debug)]
pub struct Testbed {
    /// For what is done inside them without rtnetlink: sockets, /proc, /sys.
    pub namespaces: Namespaces,
    /// What faults and devices need to be there, by fault or device.
    pub held: BTreeMap<String, Guard>,
    /// What CNI plugins' own programs answered to ADD, by pod and interface.
    pub results: BTreeMap<String, serde_json::Value>,
    /// Sockets that have joined a multicast group by a device.
    pub members: RefCell<BTreeMap<(DeviceRef, IpAddr), OwnedFd>>,
    sockets: IndexMap<NsName, Rtnl>,
    /// Whether what was read back last differs only in options that this kernel does not know.
    pub is_unsupported: Cell<bool>,
    /// Where NICs come from; none in a topology without hardware.
    pub home: Option<Home>,
    /// Whether its plan is done, and nothing in it acts any more.
    pub is_quiet: bool,
    /// Cables that the host has pulled out, by slot, with the NIC in it.
    pub unplugged: BTreeMap<usize, DeviceRef>,
}

impl Testbed {
    /// Empty; `ipv6` says whether its namespaces have IPv6.
    pub fn new(ipv6: bool) -> Self {
        let namespaces = Namespaces::new(ipv6);
        Self {
            namespaces,
            held: BTreeMap::new(),
            results: BTreeMap::new(),
            members: RefCell::default(),
            sockets: IndexMap::new(),
            is_unsupported: Cell::new(false),
            home: None,
            is_quiet: false,
            unplugged: BTreeMap::new(),
        }
    }

    /// Makes a namespace or takes a spare one, opens a socket in it and sets its `lo` up.
    ///
    /// # Errors
    /// No permission, or the name is taken.
    pub async fn add_namespace(&mut self, ns: &NsName, spares: &mut Spares) -> Result<(), OpError> {
        let what = format!("make namespace {ns}");
        let namespace = self.namespaces.create(ns, spares).map_err(|error| netns_error(&what, &error))?;
        let rtnl = Rtnl::open(namespace).map_err(|error| error.during(&what))?;
        links::set_loopback_up(&rtnl).await.map_err(|error| error.during(&what))?;
        self.sockets.insert(ns.clone(), rtnl);
        Ok(())
    }

    /// The socket of a namespace.
    ///
    /// # Errors
    /// The namespace was not made.
    pub fn rtnl(&self, ns: &NsName) -> Result<&Rtnl, OpError> {
        self.sockets.get(ns).ok_or_else(|| netns_error("use a namespace", &NetnsError::Unknown(ns.clone())))
    }

    /// The number of a device in its namespace.
    ///
    /// # Errors
    /// There is no such device.
    pub async fn index(&self, device: &DeviceRef) -> Result<u32, OpError> {
        let found = self.rtnl(&device.ns)?.index(&device.name).await;
        found.map_err(|error| error.during(format!("find {device}")))
    }

    /// Which namespace a drop event means, by inode number.
    pub fn inodes(&self) -> BTreeMap<u64, NsName> {
        self.namespaces.iter().map(|(name, namespace)| (namespace.inum(), name.clone())).collect()
    }

    /// All sockets, in the order their namespaces were made.
    pub fn sockets(&self) -> impl Iterator<Item = (&NsName, &Rtnl)> {
        self.sockets.iter()
    }
}

/// An error about a namespace, as a record.
pub fn netns_error(what: &str, error: &NetnsError) -> OpError {
    let errno = match error {
        NetnsError::Create(errno) | NetnsError::Enter(errno) | NetnsError::Sysfs(errno) => {
            Some(format!("{errno:?}"))
        }
        NetnsError::File { .. }
        | NetnsError::Sysctl { .. }
        | NetnsError::Unknown(_)
        | NetnsError::Twice(_) => None,
    };
    OpError { what: what.into(), errno, text: Some(error.to_string()) }
}
