//! Queueing disciplines at the root of a device, and the drop filters of clsact.

pub(crate) mod filter;
pub(crate) mod options;
pub(crate) mod redirect;

use netlink_packet_core::{DefaultNla, NLM_F_CREATE, NLM_F_EXCL, NLM_F_REPLACE, Nla};
use netlink_packet_route::RouteNetlinkMessage;
use netlink_packet_route::tc::{TcAttribute, TcHandle, TcMessage};

pub(crate) use crate::device::tc::filter::example as example_filter;
pub use crate::device::tc::filter::{drop_frames, hits, pass_source, stop_dropping};
pub(crate) use crate::device::tc::redirect::{attach, example as example_action};

use crate::agent::testbed::Testbed;
use crate::syscall::rtnl::{Rtnl, RtnlError};
use bondlab_core::net::name::DeviceRef;
use bondlab_core::net::qdisc::{PlugAction, Qdisc};
use bondlab_core::plan::record::OpError;

/// Keep in sync with include/uapi/linux/rtnetlink.h.
const TCA_OPTIONS: u16 = 2;

/// The handle of a root discipline with a child, and the class its child hangs at (`tbf_walk()`: 1).
const PARENT: u16 = 1;
const CHILD: TcHandle = TcHandle { major: PARENT, minor: 1 };

/// The number of the class of the root discipline that another one hangs at, where the lab put it.
pub(crate) fn class_of(parent: TcHandle) -> Option<u16> {
    (parent.major == PARENT && parent.minor > 0).then_some(parent.minor)
}

/// Puts a discipline at the root of a device, in place of what is there.
///
/// # Errors
/// The kernel's refusal.
pub async fn put_root(bed: &Testbed, device: &DeviceRef, qdisc: &Qdisc) -> Result<(), OpError> {
    let index = bed.index(device).await?;
    let what = |kind| format!("put qdisc {kind} at the root of {device}");
    let mut message = root(index, qdisc.kind(), options::encode(qdisc));
    let class = options::class(qdisc);
    let children = qdisc.children();
    // mqprio makes the disciplines of its queues itself, and they are reported under its name.
    let has_own_children = matches!(qdisc, Qdisc::Mqprio { .. });
    if class.is_none() && children.is_empty() && !has_own_children {
        return put(bed, device, message, what(qdisc.kind())).await;
    }
    // A child is put at a class of its parent, which needs a name for that.
    message.header.handle = TcHandle { major: PARENT, minor: 0 };
    put(bed, device, message, what(qdisc.kind())).await?;
    if let Some(options) = class {
        let mut message = root(index, qdisc.kind(), Some(options));
        message.header.parent = TcHandle { major: PARENT, minor: 0 };
        message.header.handle = CHILD;
        let request = RouteNetlinkMessage::NewTrafficClass(message);
        let made = bed.rtnl(&device.ns)?.change(request, NLM_F_CREATE | NLM_F_EXCL).await;
        made.map_err(|error| error.during(format!("make the class of the {} of {device}", qdisc.kind())))?;
    }
    for (minor, child) in children {
        let mut message = root(index, child.kind(), options::encode(child));
        message.header.parent = TcHandle { major: PARENT, minor };
        let what = format!("put qdisc {} into the {} of {device}", child.kind(), qdisc.kind());
        put(bed, device, message, what).await?;
    }
    Ok(())
}

async fn put(bed: &Testbed, device: &DeviceRef, message: TcMessage, what: String) -> Result<(), OpError> {
    let request = RouteNetlinkMessage::NewQueueDiscipline(message);
    let put = bed.rtnl(&device.ns)?.change(request, NLM_F_CREATE | NLM_F_REPLACE).await;
    put.map_err(|error| error.during(what))
}

/// Takes the root discipline away: the device is back to its default. Frames it held are purged, and its
/// counters are gone: read them before.
///
/// # Errors
/// The kernel's refusal; ENOENT when only the default is there.
pub async fn remove_root(bed: &Testbed, device: &DeviceRef) -> Result<(), OpError> {
    let mut message = TcMessage::with_index(device_index(bed, device).await?);
    message.header.parent = TcHandle::ROOT;
    let request = RouteNetlinkMessage::DelQueueDiscipline(message);
    let removed = bed.rtnl(&device.ns)?.change(request, 0).await;
    removed.map_err(|error| error.during(format!("remove the root qdisc of {device}")))
}

/// Lets a plug go for good: what it holds is sent, and it holds nothing any more (TCQ_PLUG_RELEASE_INDEFINITE).
///
/// # Errors
/// The kernel's refusal, or the root discipline is no plug.
pub async fn release_plug(bed: &Testbed, device: &DeviceRef) -> Result<(), OpError> {
    ask_plug(bed, device, PlugAction::Release).await
}

/// Asks a plug to hold, or to send what it holds.
///
/// # Errors
/// The kernel's refusal, or the root discipline is no plug.
pub async fn ask_plug(bed: &Testbed, device: &DeviceRef, action: PlugAction) -> Result<(), OpError> {
    let message = root(bed.index(device).await?, "plug", Some(options::plug_action(action)));
    let request = RouteNetlinkMessage::NewQueueDiscipline(message);
    // Without NLM_F_CREATE: a plug must be there.
    let asked = bed.rtnl(&device.ns)?.change(request, 0).await;
    asked.map_err(|error| error.during(format!("ask the plug of {device}: {}", action.word())))
}

/// All disciplines of a namespace.
pub(crate) async fn dump(rtnl: &Rtnl) -> Result<Vec<TcMessage>, RtnlError> {
    let answers = rtnl.dump(RouteNetlinkMessage::GetQueueDiscipline(TcMessage::default())).await?;
    answers
        .into_iter()
        .map(|answer| match answer {
            RouteNetlinkMessage::NewQueueDiscipline(qdisc) => Ok(qdisc),
            _ => Err(RtnlError::Unexpected("no qdisc".into())),
        })
        .collect()
}

/// A message about the root discipline of device number `index`.
pub(crate) fn root(index: u32, kind: &str, options: Option<Vec<u8>>) -> TcMessage {
    let mut message = TcMessage::with_index(number(index));
    message.header.parent = TcHandle::ROOT;
    message.attributes.push(TcAttribute::Kind(kind.into()));
    message.attributes.extend(options.map(raw_options));
    message
}

/// A message that adds the clsact discipline to device number `index`.
pub(crate) fn clsact(index: u32) -> TcMessage {
    let mut message = TcMessage::with_index(number(index));
    message.header.parent = TcHandle::CLSACT;
    message.header.handle = TcHandle { major: TcHandle::CLSACT.major, minor: 0 };
    message.attributes.push(TcAttribute::Kind("clsact".into()));
    message
}

fn raw_options(bytes: Vec<u8>) -> TcAttribute {
    TcAttribute::Other(DefaultNla::new(TCA_OPTIONS, bytes))
}

/// TCA_KIND of a dumped discipline or filter.
pub(crate) fn kind(message: &TcMessage) -> Option<&str> {
    message.attributes.iter().find_map(|attribute| match attribute {
        TcAttribute::Kind(kind) => Some(kind.as_str()),
        _ => None,
    })
}

/// TCA_OPTIONS of a dumped discipline, as the kernel wrote it.
pub(crate) fn options_of(message: &TcMessage) -> Vec<u8> {
    let options = message.attributes.iter().find_map(|attribute| match attribute {
        TcAttribute::Options(options) => Some(options),
        _ => None,
    });
    let mut bytes = Vec::new();
    for option in options.into_iter().flatten() {
        let mut value = vec![0; option.value_len()];
        option.emit_value(&mut value);
        match option {
            // Of kinds it does not type, netlink-packet-route gives TCA_OPTIONS itself.
            netlink_packet_route::tc::TcOption::Other(raw) if raw.kind() & 0x3fff == TCA_OPTIONS => {
                return value;
            }
            _ => bytes.extend(options::attribute(option.kind(), &value)),
        }
    }
    bytes
}

async fn device_index(bed: &Testbed, device: &DeviceRef) -> Result<i32, OpError> {
    Ok(number(bed.index(device).await?))
}

/// `tcm_ifindex` is signed; `dev_new_index()` gives positive numbers only.
fn number(index: u32) -> i32 {
    i32::try_from(index).expect("the kernel's device numbers are positive ints")
}
