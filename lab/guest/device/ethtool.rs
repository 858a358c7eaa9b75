//! Offloads, switched as `ethtool -K` does it and read back.

use std::io;
use std::os::fd::{AsRawFd, FromRawFd, OwnedFd};

use crate::agent::testbed::{Testbed, netns_error};
use bondlab_core::net::name::{DeviceRef, IfName};
use bondlab_core::net::offload::Offload;
use bondlab_core::plan::record::OpError;

/// Keep in sync with include/uapi/linux/ethtool.h and sockios.h.
const ETHTOOL_GFLAGS: u32 = 0x25;
const ETHTOOL_SFLAGS: u32 = 0x26;
const SIOCETHTOOL: libc::c_ulong = 0x8946;

/// `struct ethtool_value`.
#[repr(C)]
struct Value {
    cmd: u32,
    data: u32,
}

/// Switches an offload of a device.
///
/// # Errors
/// The kernel's refusal, or the device stays as it was.
pub fn set_offload(bed: &Testbed, device: &DeviceRef, offload: Offload, on: bool) -> Result<(), OpError> {
    let what = format!("switch {offload} of {device} {}", if on { "on" } else { "off" });
    let entered = bed.namespaces.enter(&device.ns, || switch(&device.name, offload.flag(), on));
    let switched = entered.map_err(|error| netns_error(&what, &error))?;
    let stays = "the device does not do it";
    match switched {
        Ok(is) if is == on => Ok(()),
        Ok(_) => Err(OpError { what, errno: None, text: Some(stays.into()) }),
        Err(error) => {
            let errno = error.raw_os_error().map(crate::syscall::rtnl::errno_name);
            Err(OpError { what, errno, text: None })
        }
    }
}

/// Returns whether it is on afterwards.
fn switch(name: &IfName, flag: u32, on: bool) -> io::Result<bool> {
    let is = exchange(name, ETHTOOL_GFLAGS, 0)?;
    let wanted = if on { is | flag } else { is & !flag };
    if wanted != is {
        exchange(name, ETHTOOL_SFLAGS, wanted)?;
    }
    Ok(exchange(name, ETHTOOL_GFLAGS, 0)? & flag != 0)
}

fn exchange(name: &IfName, cmd: u32, data: u32) -> io::Result<u32> {
    // SAFETY: socket() takes no pointers.
    let fd = unsafe { libc::socket(libc::AF_INET, libc::SOCK_DGRAM | libc::SOCK_CLOEXEC, 0) };
    if fd < 0 {
        return Err(io::Error::last_os_error());
    }
    // SAFETY: the kernel has just given us this descriptor, and nothing else has it.
    let socket = unsafe { OwnedFd::from_raw_fd(fd) };
    let mut value = Value { cmd, data };
    // SAFETY: an all-zero ifreq is a valid value.
    let mut request: libc::ifreq = unsafe { std::mem::zeroed() };
    for (to, from) in request.ifr_name.iter_mut().zip(name.as_str().bytes()) {
        *to = from.cast_signed();
    }
    request.ifr_ifru.ifru_data = (&raw mut value).cast();
    // SAFETY: `request` and the value it points to live until the call returns; both commands read and write exactly
    // one ethtool_value.
    let result = unsafe { libc::ioctl(socket.as_raw_fd(), SIOCETHTOOL as _, &raw mut request) };
    if result < 0 { Err(io::Error::last_os_error()) } else { Ok(value.data) }
}

// Keep in sync with include/uapi/linux/ethtool.h.
const ETHTOOL_GSTRINGS: u32 = 0x1b;
const ETHTOOL_GSSET_INFO: u32 = 0x37;
const ETHTOOL_GFEATURES: u32 = 0x3a;
const ETHTOOL_SFEATURES: u32 = 0x3b;
const ETH_SS_FEATURES: u32 = 4;
const ETH_GSTRING_LEN: usize = 32;
/// Far more than there are.
const FEATURES_MAX: usize = 1024;

/// One feature of a device.
struct Feature {
    name: String,
    /// Its place among all, in bits.
    bit: usize,
    is_on: bool,
    /// Whether the device could have it, and whether it can be changed by no one: without the one or with the other it is `[fixed]`.
    is_available: bool,
    never_changes: bool,
}

fn all_features(name: &IfName) -> io::Result<Vec<Feature>> {
    // struct ethtool_sset_info: cmd, reserved, a mask of 64 bits, one number.
    let mut info = [ETHTOOL_GSSET_INFO, 0, 1 << ETH_SS_FEATURES, 0, 0];
    call(name, &mut info)?;
    let count = usize::try_from(info[4]).unwrap_or(usize::MAX);
    if count > FEATURES_MAX {
        return Err(io::Error::other("the kernel has more features than there can be"));
    }
    // struct ethtool_gstrings: cmd, string_set, len, and the strings.
    let mut strings = vec![0; 3 + count * ETH_GSTRING_LEN / 4];
    strings[..3].copy_from_slice(&[ETHTOOL_GSTRINGS, ETH_SS_FEATURES, info[4]]);
    call(name, &mut strings)?;
    let blocks = count.div_ceil(32);
    // struct ethtool_gfeatures: cmd, size, and blocks of available, requested, active, never_changed.
    let mut bits = vec![0; 2 + blocks * 4];
    bits[..2].copy_from_slice(&[ETHTOOL_GFEATURES, u32::try_from(blocks).unwrap_or(0)]);
    call(name, &mut bits)?;
    let bytes: Vec<u8> = strings[3..].iter().flat_map(|word| word.to_ne_bytes()).collect();
    // A bit that this kernel has no name for any more has an empty one.
    let texts = bytes.chunks(ETH_GSTRING_LEN).enumerate().filter(|(_, bytes)| bytes[0] != 0);
    let text = |bytes: &[u8]| {
        let end = bytes.iter().position(|byte| *byte == 0).unwrap_or(bytes.len());
        String::from_utf8_lossy(&bytes[..end]).into_owned()
    };
    let feature = |(bit, bytes): (usize, &[u8])| {
        let block = &bits[2 + bit / 32 * 4..];
        let has = |word: usize| block[word] & 1 << (bit % 32) != 0;
        Feature { name: text(bytes), bit, is_on: has(2), is_available: has(0), never_changes: has(3) }
    };
    Ok(texts.map(feature).collect())
}

/// Features that are on and could be off, by name: all but those that `ethtool -k` shows as `[fixed]`.
///
/// # Errors
/// The kernel's refusal.
pub fn features(name: &IfName) -> io::Result<Vec<String>> {
    let all = all_features(name)?.into_iter();
    let on = all.filter(|feature| feature.is_on && feature.is_available && !feature.never_changes);
    Ok(on.map(|feature| feature.name).collect())
}

/// A feature as `ethtool -k` shows it; none where this kernel has none of that name.
///
/// # Errors
/// The kernel's refusal.
pub fn feature(name: &IfName, feature: &str) -> io::Result<Option<String>> {
    let found = all_features(name)?.into_iter().find(|one| one.name == feature);
    Ok(found.map(|one| {
        let fixed = if one.is_available && !one.never_changes { "" } else { " [fixed]" };
        format!("{}{fixed}", if one.is_on { "on" } else { "off" })
    }))
}

/// Switches features as `ethtool -K` does, all in one request, and reads them back.
///
/// # Errors
/// The kernel's refusal, a name that it does not know, or the device stays as it was.
pub fn set_features(bed: &Testbed, device: &DeviceRef, asked: &[(String, bool)]) -> Result<(), OpError> {
    let words: Vec<String> =
        asked.iter().map(|(name, on)| format!("{name} {}", if *on { "on" } else { "off" })).collect();
    let what = format!("switch {} of {device}", words.join(", "));
    let entered = bed.namespaces.enter(&device.ns, || switch_features(&device.name, asked));
    match entered.map_err(|error| netns_error(&what, &error))? {
        Ok(wrong) if wrong.is_empty() => Ok(()),
        Ok(wrong) => Err(OpError { what, errno: None, text: Some(wrong.join("; ")) }),
        Err(error) => {
            let errno = error.raw_os_error().map(crate::syscall::rtnl::errno_name);
            Err(OpError { what, errno, text: None })
        }
    }
}

/// What is not as asked afterwards.
fn switch_features(name: &IfName, asked: &[(String, bool)]) -> io::Result<Vec<String>> {
    let known = all_features(name)?;
    let blocks = known.iter().map(|feature| feature.bit / 32 + 1).max().unwrap_or(0);
    // struct ethtool_sfeatures: cmd, size, and blocks of valid, requested.
    let mut words = vec![0; 2 + blocks * 2];
    words[..2].copy_from_slice(&[ETHTOOL_SFEATURES, u32::try_from(blocks).unwrap_or(0)]);
    let mut wrong = Vec::new();
    for (word, on) in asked {
        match known.iter().find(|feature| feature.name == *word) {
            Some(feature) => {
                let (block, bit) = (2 + feature.bit / 32 * 2, 1 << (feature.bit % 32));
                words[block] |= bit;
                words[block + 1] |= if *on { bit } else { 0 };
            }
            None => wrong.push(format!("this kernel has no feature {word}")),
        }
    }
    if !wrong.is_empty() {
        return Ok(wrong);
    }
    call(name, &mut words)?;
    let now = all_features(name)?;
    let is = |word: &str| now.iter().any(|feature| feature.name == word && feature.is_on);
    let differs = asked.iter().filter(|(word, on)| is(word) != *on);
    Ok(differs.map(|(word, on)| format!("{word} stays {}", if *on { "off" } else { "on" })).collect())
}

const ETHTOOL_GLINKSETTINGS: u32 = 0x4c;
const ETHTOOL_SLINKSETTINGS: u32 = 0x4d;
/// `struct ethtool_link_settings` without its masks, in words.
const LINK_SETTINGS_WORDS: usize = 12;
/// A kernel has three masks, of 127 words at the most (`link_mode_masks_nwords` is a signed byte).
const MASK_WORDS_MAX: usize = 3 * 127;

/// Sets the speed of a device in Mbit/s, and reads it back.
///
/// # Errors
/// The driver does not let it be set (EOPNOTSUPP), or another one is read back.
pub fn set_speed(bed: &Testbed, device: &DeviceRef, speed: u32) -> Result<(), OpError> {
    let what = format!("set the speed of {device} to {speed} Mbit/s");
    let entered = bed.namespaces.enter(&device.ns, || write_speed(&device.name, speed));
    let is = entered.map_err(|error| netns_error(&what, &error))?;
    match is {
        Ok(is) if is == speed => Ok(()),
        Ok(is) => Err(OpError { what, errno: None, text: Some(format!("it is {is} Mbit/s")) }),
        Err(error) => {
            let errno = error.raw_os_error().map(crate::syscall::rtnl::errno_name);
            Err(OpError { what, errno, text: None })
        }
    }
}

fn write_speed(name: &IfName, speed: u32) -> io::Result<u32> {
    let mut settings = link_settings(name)?;
    settings[0] = ETHTOOL_SLINKSETTINGS;
    settings[1] = speed;
    call(name, &mut settings)?;
    Ok(link_settings(name)?[1])
}

/// The kernel says first how long its masks are, as a negative number (`ethtool_get_link_ksettings()`).
fn link_settings(name: &IfName) -> io::Result<Vec<u32>> {
    let mut settings = vec![0; LINK_SETTINGS_WORDS + MASK_WORDS_MAX];
    settings[0] = ETHTOOL_GLINKSETTINGS;
    call(name, &mut settings)?;
    let words = mask_words(&settings);
    set_mask_words(&mut settings, words.unsigned_abs());
    settings[0] = ETHTOOL_GLINKSETTINGS;
    call(name, &mut settings)?;
    Ok(settings)
}

/// `link_mode_masks_nwords`: byte 15 of the structure.
fn mask_words(settings: &[u32]) -> i8 {
    settings[3].to_ne_bytes()[3].cast_signed()
}

fn set_mask_words(settings: &mut [u32], words: u8) {
    let mut bytes = settings[3].to_ne_bytes();
    bytes[3] = words;
    settings[3] = u32::from_ne_bytes(bytes);
}

/// A command whose structure the kernel reads and writes: `words` is as long as its head says.
fn call(name: &IfName, words: &mut [u32]) -> io::Result<()> {
    // SAFETY: socket() takes no pointers.
    let fd = unsafe { libc::socket(libc::AF_INET, libc::SOCK_DGRAM | libc::SOCK_CLOEXEC, 0) };
    if fd < 0 {
        return Err(io::Error::last_os_error());
    }
    // SAFETY: the kernel has just given us this descriptor, and nothing else has it.
    let socket = unsafe { OwnedFd::from_raw_fd(fd) };
    // SAFETY: an all-zero ifreq is a valid value.
    let mut request: libc::ifreq = unsafe { std::mem::zeroed() };
    for (to, from) in request.ifr_name.iter_mut().zip(name.as_str().bytes()) {
        *to = from.cast_signed();
    }
    request.ifr_ifru.ifru_data = words.as_mut_ptr().cast();
    // SAFETY: `request` and the words it points to live until the call returns, and there are as many of them as the kernel
    // writes: a fixed structure, one string for each feature it has said that it has, blocks as its head says.
    let result = unsafe { libc::ioctl(socket.as_raw_fd(), SIOCETHTOOL as _, &raw mut request) };
    if result < 0 { Err(io::Error::last_os_error()) } else { Ok(()) }
}
