//! What a PF says of its VFs: said by rtnetlink, one thing at a time, and read back.

use netlink_packet_route::RouteNetlinkMessage;
use netlink_packet_route::link::{
    LinkAttribute, LinkExtentMask, LinkMessage, LinkVfInfo, VfInfo, VfInfoLinkState, VfInfoMac, VfInfoRate,
    VfInfoSpoofCheck, VfInfoTrust, VfInfoVlan, VfLinkState,
};

use crate::agent::testbed::Testbed;
use crate::syscall::rtnl::RtnlError;
use bondlab_core::net::name::DeviceRef;
use bondlab_core::net::nic::VfSettings;
use bondlab_core::plan::record::OpError;

/// Says of a VF what was asked for, and looks whether the PF's driver says the same.
///
/// # Errors
/// The driver's refusal of one of them; or what it took and does not show.
pub async fn set(bed: &Testbed, pf: &DeviceRef, index: u8, settings: &VfSettings) -> Result<(), OpError> {
    let asked = asked(index, settings);
    for (word, info) in &asked {
        let mut message = LinkMessage::default();
        message.header.index = bed.index(pf).await?;
        message.attributes.push(LinkAttribute::VfInfoList(vec![LinkVfInfo(vec![info.clone()])]));
        let said = bed.rtnl(&pf.ns)?.change(RouteNetlinkMessage::NewLink(message), 0).await;
        said.map_err(|error| error.during(format!("set {word} of VF {index} of {pf}")))?;
    }
    let what = format!("read VF {index} of {pf} back");
    let shown = shown(bed, pf, index).await.map_err(|error| error.during(&what))?;
    let missing: Vec<&str> = asked
        .iter()
        .filter(|(_, info)| !shown.iter().any(|is| same(info, is)))
        .map(|(word, _)| *word)
        .collect();
    if missing.is_empty() {
        return Ok(());
    }
    let text = format!("not as asked: {}", missing.join(", "));
    Err(OpError { what, errno: None, text: Some(text) })
}

fn asked(index: u8, settings: &VfSettings) -> Vec<(&'static str, VfInfo)> {
    let vf = u32::from(index);
    let mut all = Vec::new();
    all.extend(settings.mac.map(|mac| ("mac", VfInfo::Mac(VfInfoMac::new(vf, &mac.0)))));
    all.extend(settings.vlan.map(|vlan| {
        let qos = settings.qos.unwrap_or(0);
        ("vlan", VfInfo::Vlan(VfInfoVlan::new(vf, vlan.get().into(), qos.into())))
    }));
    all.extend(settings.spoofchk.map(|on| ("spoofchk", VfInfo::SpoofCheck(VfInfoSpoofCheck::new(vf, on)))));
    all.extend(settings.trust.map(|on| ("trust", VfInfo::Trust(VfInfoTrust::new(vf, on)))));
    all.extend(settings.link_state.map(|state| {
        let state = match state {
            bondlab_core::net::mode::VfLinkState::Auto => VfLinkState::Auto,
            bondlab_core::net::mode::VfLinkState::Enable => VfLinkState::Enable,
            bondlab_core::net::mode::VfLinkState::Disable => VfLinkState::Disable,
        };
        ("link_state", VfInfo::LinkState(VfInfoLinkState::new(vf, state)))
    }));
    if settings.max_tx_rate.is_some() || settings.min_tx_rate.is_some() {
        let (min, max) = (settings.min_tx_rate.unwrap_or(0), settings.max_tx_rate.unwrap_or(0));
        all.push(("rates", VfInfo::Rate(VfInfoRate::new(vf, min, max))));
    }
    all
}

/// What the kernel shows of one VF (`rtnl_fill_vfinfo()`).
async fn shown(bed: &Testbed, pf: &DeviceRef, index: u8) -> Result<Vec<VfInfo>, RtnlError> {
    let mut message = LinkMessage::default();
    message.attributes.push(LinkAttribute::IfName(pf.name.as_str().into()));
    message.attributes.push(LinkAttribute::ExtMask(vec![LinkExtentMask::Vf]));
    let rtnl = bed.rtnl(&pf.ns).map_err(|error| RtnlError::Unexpected(error.to_string()))?;
    let RouteNetlinkMessage::NewLink(link) = rtnl.get(RouteNetlinkMessage::GetLink(message)).await? else {
        return Err(RtnlError::Unexpected("no link".into()));
    };
    let list = link.attributes.into_iter().find_map(|attribute| match attribute {
        LinkAttribute::VfInfoList(list) => Some(list),
        _ => None,
    });
    let mut list = list.unwrap_or_default();
    let place = usize::from(index);
    if place < list.len() { Ok(list.swap_remove(place).0) } else { Ok(Vec::new()) }
}

/// Addresses are shown with room for the longest there is.
fn same(asked: &VfInfo, is: &VfInfo) -> bool {
    match (asked, is) {
        (VfInfo::Mac(asked), VfInfo::Mac(is)) => asked.mac[..6] == is.mac[..6],
        (asked, is) => asked == is,
    }
}
