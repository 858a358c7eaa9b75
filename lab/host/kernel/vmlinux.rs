//! The ELF kernel inside a bzImage.
//!
//! QEMU starts an ELF with a PVH note (CONFIG_PVH) directly; that saves the guest its own decompression,
//! 0.8 s of each boot where the processor is emulated.
//! The header is that of Documentation/arch/x86/boot.rst.

use crate::kernel::decompress::{DecompressError, decompress};

/// Why there is no ELF kernel to be had from an image.
#[derive(Debug, thiserror::Error)]
pub enum VmlinuxError {
    /// No setup header.
    #[error("not an x86 kernel image: neither a bzImage nor an ELF file")]
    NotAnImage,
    /// Boot protocol before 2.08 (Linux 2.6.26) does not say where the payload is.
    #[error("boot protocol {major}.{minor:02} is too old: 2.08 or later is needed", major = .0 >> 8, minor = .0 & 0xff)]
    OldProtocol(u16),
    /// The header points outside the file.
    #[error("damaged kernel image: its header points outside the file")]
    OutOfRange,
    /// The payload could not be decompressed.
    #[error("cannot decompress the kernel image: {0}")]
    Decompress(#[from] DecompressError),
    /// The payload is something else.
    #[error("the kernel image holds no ELF kernel")]
    NotElf,
    /// The kernel lacks the entry that QEMU's `-kernel` uses for an ELF file.
    #[error("the kernel has no PVH entry: build it with CONFIG_PVH=y")]
    NoPvh,
}

const ELF_MAGIC: &[u8] = b"\x7fELF";
const SETUP_SECTS: usize = 0x1f1;
const HEADER_MAGIC: usize = 0x202;
const PROTOCOL: usize = 0x206;
const KERNEL_VERSION: usize = 0x20e;
const PAYLOAD_OFFSET: usize = 0x248;
const PAYLOAD_LENGTH: usize = 0x24c;
const SECTOR_BYTES: usize = 512;

/// The ELF kernel of a bzImage; an ELF file comes back as it is.
pub fn extract(image: Vec<u8>) -> Result<Vec<u8>, VmlinuxError> {
    let elf = if image.starts_with(ELF_MAGIC) { image } else { decompress(payload(&image)?)? };
    if !elf.starts_with(ELF_MAGIC) {
        return Err(VmlinuxError::NotElf);
    }
    if !has_pvh_note(&elf) {
        return Err(VmlinuxError::NoPvh);
    }
    Ok(elf)
}

/// What QEMU is given to boot an image.
#[derive(Debug, PartialEq, Eq)]
pub enum Bootable {
    /// The ELF kernel that was in it.
    Elf(Vec<u8>),
    /// The bzImage itself, which decompresses itself: its kernel has no PVH entry, or is compressed as nothing here reads.
    Itself,
}

/// What to boot of an image: the ELF kernel if it has a PVH entry, else the bzImage. Not every vendor sets CONFIG_PVH.
///
/// # Errors
/// When it is no image, or is damaged, or is an ELF file without that entry.
pub fn bootable(image: &[u8]) -> Result<Bootable, VmlinuxError> {
    let is_elf = image.starts_with(ELF_MAGIC);
    match extract(image.to_vec()) {
        Ok(elf) => Ok(Bootable::Elf(elf)),
        Err(VmlinuxError::NoPvh | VmlinuxError::Decompress(DecompressError::Unsupported(_))) if !is_elf => {
            Ok(Bootable::Itself)
        }
        Err(error) => Err(error),
    }
}

/// The release an image says it is (`uname -r`): a bzImage in its header, an ELF file in `linux_banner`.
pub fn release(image: &[u8]) -> Option<String> {
    let text = if image.starts_with(ELF_MAGIC) {
        after_banner(image)?
    } else {
        let at = usize::from(u16_at(image, KERNEL_VERSION)?).checked_add(SECTOR_BYTES)?;
        image.get(at..)?
    };
    let text = text.split(|byte| *byte == 0 || *byte == b' ').next()?;
    let text = std::str::from_utf8(text).ok()?;
    text.starts_with(|c: char| c.is_ascii_digit()).then(|| text.to_owned())
}

/// What follows "Linux version " where a number does (init/version-timestamp.c).
fn after_banner(elf: &[u8]) -> Option<&[u8]> {
    const BANNER: &[u8] = b"Linux version ";
    let mut rest = elf;
    loop {
        rest = &rest[rest.iter().position(|byte| *byte == BANNER[0])?..];
        match rest.strip_prefix(BANNER) {
            Some(text) if text.first().is_some_and(u8::is_ascii_digit) => return Some(text),
            _ => rest = &rest[1..],
        }
    }
}

fn payload(image: &[u8]) -> Result<Vec<u8>, VmlinuxError> {
    if image.get(HEADER_MAGIC..HEADER_MAGIC + 4) != Some(b"HdrS") {
        return Err(VmlinuxError::NotAnImage);
    }
    let protocol = u16_at(image, PROTOCOL).ok_or(VmlinuxError::OutOfRange)?;
    if protocol < 0x0208 {
        return Err(VmlinuxError::OldProtocol(protocol));
    }
    // "For backwards compatibility, if the setup_sects field contains 0, the real value is 4."
    let setup_sectors = match image[SETUP_SECTS] {
        0 => 4,
        sectors => usize::from(sectors),
    };
    let range = || {
        let start = (setup_sectors + 1) * SECTOR_BYTES + u32_at(image, PAYLOAD_OFFSET)?;
        image.get(start..start.checked_add(u32_at(image, PAYLOAD_LENGTH)?)?)
    };
    Ok(range().ok_or(VmlinuxError::OutOfRange)?.to_vec())
}

/// Whether a program note of type XEN_ELFNOTE_PHYS32_ENTRY is there (arch/x86/platform/pvh/head.S).
fn has_pvh_note(elf: &[u8]) -> bool {
    use object::elf::FileHeader64;
    use object::read::elf::{FileHeader, ProgramHeader};
    const XEN_ELFNOTE_PHYS32_ENTRY: u32 = 18;
    let found = || -> object::Result<bool> {
        let header = FileHeader64::<object::Endianness>::parse(elf)?;
        let endian = header.endian()?;
        for program in header.program_headers(endian, elf)? {
            let Some(mut notes) = program.notes(endian, elf)? else {
                continue;
            };
            while let Some(note) = notes.next()? {
                if note.name() == b"Xen" && note.n_type(endian).0 == XEN_ELFNOTE_PHYS32_ENTRY {
                    return Ok(true);
                }
            }
        }
        Ok(false)
    };
    found().unwrap_or(false)
}

fn u16_at(bytes: &[u8], at: usize) -> Option<u16> {
    bytes.get(at..)?.first_chunk().map(|chunk| u16::from_le_bytes(*chunk))
}

fn u32_at(bytes: &[u8], at: usize) -> Option<usize> {
    bytes.get(at..)?.first_chunk().map(|chunk| u32::from_le_bytes(*chunk) as usize)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// An ELF header, one PT_NOTE program header, and a note of type `kind`.
    fn elf(kind: u32) -> Vec<u8> {
        let mut bytes = vec![0; 64];
        bytes[..20].copy_from_slice(b"\x7fELF\x02\x01\x01\0\0\0\0\0\0\0\0\0\x02\0\x3e\0");
        bytes[32..40].copy_from_slice(&64u64.to_le_bytes());
        bytes[52..58].copy_from_slice(&[64, 0, 56, 0, 1, 0]);
        let note = [4, 4, kind].map(u32::to_le_bytes).concat();
        let note = [&note[..], b"Xen\0", &0x100_0000u32.to_le_bytes()].concat();
        let words = [4u64 << 32 | 4, 120, 0, 0, note.len() as u64, note.len() as u64, 4];
        bytes.extend(words.map(u64::to_le_bytes).concat());
        bytes.extend(note);
        bytes
    }

    fn bzimage(payload: &[u8]) -> Vec<u8> {
        let mut image = vec![0; 2 * SECTOR_BYTES];
        image[SETUP_SECTS] = 1;
        image[HEADER_MAGIC..HEADER_MAGIC + 4].copy_from_slice(b"HdrS");
        image[PROTOCOL..PROTOCOL + 2].copy_from_slice(&0x20fu16.to_le_bytes());
        image[KERNEL_VERSION..KERNEL_VERSION + 2].copy_from_slice(&0x100u16.to_le_bytes());
        image[0x300..0x30c].copy_from_slice(b"6.12.57 (me)");
        image[PAYLOAD_LENGTH..PAYLOAD_LENGTH + 4].copy_from_slice(&(payload.len() as u32).to_le_bytes());
        image.extend_from_slice(payload);
        image
    }

    #[test]
    fn takes_the_elf_out() {
        let kernel = elf(18);
        assert_eq!(extract(kernel.clone()).unwrap(), kernel);
        assert_eq!(extract(bzimage(&kernel)).unwrap(), kernel);
        assert_eq!(release(&bzimage(&kernel)).as_deref(), Some("6.12.57"));
        assert_eq!(release(&kernel), None);
        let text = b"L\0Linux version %s\0Linux version 6.12.57-me (gcc)";
        let named = [&kernel[..], &text[..]].concat();
        assert_eq!(release(&named).as_deref(), Some("6.12.57-me"));
    }

    #[test]
    fn a_bzimage_without_pvh_is_booted_as_it_is() {
        assert_eq!(bootable(&bzimage(&elf(18))).unwrap(), Bootable::Elf(elf(18)));
        assert_eq!(bootable(&bzimage(&elf(3))).unwrap(), Bootable::Itself);
        assert_eq!(bootable(&bzimage(b"BZh9")).unwrap(), Bootable::Itself);
        assert!(matches!(bootable(&elf(3)), Err(VmlinuxError::NoPvh)));
        assert!(matches!(bootable(&bzimage(b"text")), Err(VmlinuxError::NotElf)));
        assert!(matches!(bootable(&[0; 4096]), Err(VmlinuxError::NotAnImage)));
    }

    #[test]
    fn says_what_is_wrong() {
        let check = |image: Vec<u8>, expected: &str| {
            let error = extract(image).unwrap_err().to_string();
            assert!(error.contains(expected), "{error}");
        };
        check(vec![0; 4096], "neither a bzImage nor an ELF");
        check(elf(3), "CONFIG_PVH=y");
        check(bzimage(b"text"), "no ELF kernel");
        check(bzimage(b"BZh9"), "bzip2 compression is not supported");
        let mut old = bzimage(b"");
        old[PROTOCOL] = 7;
        check(old, "boot protocol 2.07 is too old");
        let mut cut = bzimage(b"\x7fELF");
        cut.pop();
        check(cut, "outside the file");
    }
}
