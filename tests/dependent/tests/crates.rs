//! Crates that speak to the kernel, in bodies that run as root in a guest: pnet, rtnetlink, tokio and nix.

use std::fs::File;
use std::sync::mpsc;
use std::thread;
use std::time::Duration;

use futures_util::TryStreamExt;
use nix::net::if_::if_nametoindex;
use nix::sched::{CloneFlags, setns};
use nix::sys::stat::{Mode, SFlag, mknod};
use nix::unistd::geteuid;
use pnet::datalink::{self, Channel, Config, DataLinkReceiver, DataLinkSender};
use pnet::packet::Packet;
use pnet::packet::ethernet::{EtherType, EthernetPacket, MutableEthernetPacket};
use pnet::util::MacAddr;
use rtnetlink::packet_route::link::{
    BondMode, InfoBond, InfoData, InfoKind, LinkAttribute, LinkInfo, LinkMessage,
};

/// For local experiments (IEEE 802).
const EXPERIMENTAL: EtherType = EtherType(0x88b5);
const PAYLOAD: &[u8] = b"sent with pnet";
/// A frame crosses a veth pair at once; a guest is slow.
const FRAME_TIMEOUT: Duration = Duration::from_secs(20);

/// An AF_PACKET socket on a device, and the device's address.
fn open(device: &str) -> (Box<dyn DataLinkSender>, Box<dyn DataLinkReceiver>, MacAddr) {
    let interface = datalink::interfaces().into_iter().find(|found| found.name == device);
    let interface = interface.unwrap_or_else(|| panic!("no device {device}"));
    let config = Config { read_timeout: Some(FRAME_TIMEOUT), ..Config::default() };
    match datalink::channel(&interface, config).unwrap() {
        Channel::Ethernet(sender, receiver) => (sender, receiver, interface.mac.unwrap()),
        _ => unreachable!("the channel is of Ethernet"),
    }
}

/// A frame leaves by the bond, crosses the veth pair of its active port, and arrives at the bridge of the other namespace.
#[lab::test(kernels = ["5.10.262", "7.3.4"], topology = "topologies/two-ports.toml", ns = "node")]
fn a_frame_of_pnet_crosses_the_veth_pair() {
    let (ready, is_ready) = mpsc::channel();
    let receiving = thread::spawn(move || {
        setns(File::open("/run/netns/switch").unwrap(), CloneFlags::CLONE_NEWNET).unwrap();
        let (_, mut receiver, _) = open("br0");
        ready.send(()).unwrap();
        loop {
            let frame = EthernetPacket::new(receiver.next().unwrap()).unwrap();
            if frame.get_ethertype() == EXPERIMENTAL {
                return (frame.get_source(), frame.payload().to_vec());
            }
        }
    });
    is_ready.recv().unwrap();
    let (mut sender, _, source) = open("bond0");
    let mut frame = vec![0; EthernetPacket::minimum_packet_size() + PAYLOAD.len()];
    let mut packet = MutableEthernetPacket::new(&mut frame).unwrap();
    packet.set_destination(MacAddr::broadcast());
    packet.set_source(source);
    packet.set_ethertype(EXPERIMENTAL);
    packet.set_payload(PAYLOAD);
    sender.send_to(packet.packet(), None).unwrap().unwrap();
    assert_eq!(receiving.join().unwrap(), (source, PAYLOAD.to_vec()));
}

/// All links of the namespace, asked for in a runtime of tokio.
fn links() -> Vec<LinkMessage> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    runtime.block_on(async {
        let (connection, handle, _) = rtnetlink::new_connection().unwrap();
        tokio::spawn(connection);
        let all = handle.link().get().execute().try_collect();
        tokio::time::timeout(Duration::from_secs(20), all).await.expect("the kernel answers").unwrap()
    })
}

fn bond_options(links: &[LinkMessage], index: u32) -> Vec<InfoBond> {
    let bond = links.iter().find(|link| link.header.index == index).expect("the bond");
    let infos = bond.attributes.iter().find_map(|attribute| match attribute {
        LinkAttribute::LinkInfo(infos) => Some(infos),
        _ => None,
    });
    let infos = infos.expect("what kind of link it is");
    assert!(infos.contains(&LinkInfo::Kind(InfoKind::Bond)), "{infos:?}");
    infos
        .iter()
        .find_map(|info| match info {
            LinkInfo::Data(InfoData::Bond(options)) => Some(options.clone()),
            _ => None,
        })
        .expect("the bond's options")
}

#[lab::test(kernels = "6.12.57", topology = "topologies/two-ports.toml", ns = "node")]
fn rtnetlink_reads_the_bond_in_a_runtime_of_tokio() {
    let bond = if_nametoindex("bond0").unwrap();
    let links = links();
    let ports = links.iter().filter(|link| link.attributes.contains(&LinkAttribute::Controller(bond)));
    assert_eq!(ports.count(), 2);
    let options = bond_options(&links, bond);
    let active = if_nametoindex("p0").unwrap();
    for expected in [
        InfoBond::Mode(BondMode::ActiveBackup),
        InfoBond::MiiMon(100),
        InfoBond::ActivePort(active),
    ] {
        assert!(options.contains(&expected), "{expected:?}: {options:?}");
    }
}

/// A device node takes CAP_MKNOD in the initial user namespace.
#[lab::test(kernels = "6.12.57")]
fn nix_makes_a_device_node_as_root() {
    assert!(geteuid().is_root());
    let null = nix::sys::stat::makedev(1, 3);
    mknod("/tmp/null", SFlag::S_IFCHR, Mode::S_IRUSR | Mode::S_IWUSR, null).unwrap();
    std::fs::write("/tmp/null", "nothing is kept").unwrap();
    assert_eq!(std::fs::read("/tmp/null").unwrap(), b"");
}
