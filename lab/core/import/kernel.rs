//! Kernels that a text mentions, and the pinned ones next to them.

use crate::import::text::Line;
use crate::net::version::{KernelVersion, Running, Series};

/// The kernel of a topology, and how it was found.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Choice {
    /// An id of kernels.toml.
    pub id: String,
    /// One sentence.
    pub why: String,
    /// Whether the text names a kernel's release, and not only that of a distribution.
    pub is_release: bool,
}

/// What marks a word as a kernel's release, whatever stands before it.
const MARKS: [&str; 24] = [
    "-talos",
    "-generic",
    "-lowlatency",
    "-azure",
    "-aws",
    "-gcp",
    "-oracle",
    "-kvm",
    "-raspi",
    "-pve",
    "-flatcar",
    ".el7",
    ".el8",
    ".el9",
    ".el10",
    ".fc",
    ".amzn",
    "-amd64",
    "-cloud",
    "-default",
    "-zen",
    "-lts",
    "-arch",
    "-coreos",
];

/// Series of distributions' releases, for texts that name no kernel. From their release notes.
const DISTRIBUTIONS: [(&str, &str, u32, u32); 70] = [
    ("talos", "1.0.", 5, 15),
    ("talos", "1.1.", 5, 15),
    ("talos", "1.2.", 5, 15),
    ("talos", "1.3.", 5, 15),
    ("talos", "1.4.", 6, 1),
    ("talos", "1.5.", 6, 1),
    ("talos", "1.6.", 6, 1),
    ("talos", "1.7.", 6, 6),
    ("talos", "1.8.", 6, 6),
    ("talos", "1.9.", 6, 12),
    ("talos", "1.10.", 6, 12),
    ("talos", "1.11.", 6, 12),
    ("talos", "1.12.", 6, 18),
    ("ubuntu", "16.04", 4, 4),
    ("ubuntu", "18.04", 4, 15),
    ("ubuntu", "20.04", 5, 4),
    ("ubuntu", "22.04", 5, 15),
    ("ubuntu", "23.04", 6, 2),
    ("ubuntu", "23.10", 6, 5),
    ("ubuntu", "24.04", 6, 8),
    ("ubuntu", "24.10", 6, 11),
    ("ubuntu", "25.04", 6, 14),
    ("ubuntu", "25.10", 6, 17),
    ("rhel", "7.", 3, 10),
    ("rhel", "8.", 4, 18),
    ("rhel", "9.", 5, 14),
    ("rhel", "10.", 6, 12),
    ("red hat enterprise linux", "7.", 3, 10),
    ("red hat enterprise linux", "8.", 4, 18),
    ("red hat enterprise linux", "9.", 5, 14),
    ("red hat enterprise linux", "10.", 6, 12),
    ("rocky linux", "8.", 4, 18),
    ("rocky linux", "9.", 5, 14),
    ("rocky linux", "10.", 6, 12),
    ("almalinux", "8.", 4, 18),
    ("almalinux", "9.", 5, 14),
    ("almalinux", "10.", 6, 12),
    ("oracle linux", "8.", 4, 18),
    ("oracle linux", "9.", 5, 14),
    ("oracle linux", "10.", 6, 12),
    ("centos linux", "7", 3, 10),
    ("centos linux", "8", 4, 18),
    ("centos stream", "8", 4, 18),
    ("centos stream", "9", 5, 14),
    ("centos stream", "10", 6, 12),
    ("flatcar", "3033.", 5, 10),
    ("flatcar", "3139.", 5, 15),
    ("flatcar", "3227.", 5, 15),
    ("flatcar", "3374.", 5, 15),
    ("flatcar", "3510.", 5, 15),
    ("flatcar", "3602.", 5, 15),
    ("flatcar", "3760.", 6, 1),
    ("flatcar", "3815.", 6, 1),
    ("flatcar", "3975.", 6, 6),
    ("flatcar", "4081.", 6, 6),
    ("flatcar", "4152.", 6, 6),
    ("flatcar", "4230.", 6, 6),
    ("flatcar", "4372.", 6, 12),
    ("flatcar", "4459.", 6, 12),
    ("proxmox", "6.", 5, 4),
    ("proxmox", "7.", 5, 15),
    ("proxmox", "8.", 6, 8),
    ("proxmox", "9.", 6, 14),
    ("pve-manager", "6.", 5, 4),
    ("pve-manager", "7.", 5, 15),
    ("pve-manager", "8.", 6, 8),
    ("pve-manager", "9.", 6, 14),
    ("debian", "11", 5, 10),
    ("debian", "12", 6, 1),
    ("debian", "13", 6, 12),
];

/// What stands before `Linux` in the names of distributions.
const DISTRIBUTORS: [&str; 13] = [
    "enterprise",
    "rocky",
    "alma",
    "oracle",
    "centos",
    "scientific",
    "amazon",
    "alpine",
    "talos",
    "suse",
    "kali",
    "container",
    "azure",
];

/// Releases that the text mentions, in its order.
pub fn mentioned(lines: &[Line<'_>]) -> Vec<String> {
    let mut found = Vec::new();
    for line in lines {
        let words: Vec<&str> = line.words().map(trimmed).take(200).collect();
        if let Some(release) = upstream(&words).filter(|_| found.len() < 20) {
            found.push(release);
        }
        for (at, word) in words.iter().enumerate() {
            let back = |by: usize| at.checked_sub(by).map_or("", |at| words[at]);
            // `Rocky Linux 9.4`, `Red Hat Enterprise Linux Server release 7.9`: the release is the distribution's.
            let is_own = match back(1).to_ascii_lowercase().as_str() {
                "release" => !["", "kernel", "linux"].contains(&back(2).to_ascii_lowercase().as_str()),
                "linux" => DISTRIBUTORS.contains(&back(2).to_ascii_lowercase().as_str()),
                _ => false,
            };
            let is_own = is_own || (back(1) == "release" && back(2) == "Linux" && !back(3).is_empty());
            let before = if is_own { "" } else { back(1) };
            let is_uname =
                words[0] == "Linux" && at == 2 && words.iter().any(|word| word.starts_with("x86_64"));
            if is_release(word, before, is_uname) && found.len() < 20 {
                found.push(word.trim_start_matches('v').to_owned());
            }
        }
    }
    found
}

/// The upstream version that a distribution names beside its own: `#1 SMP PREEMPT_DYNAMIC Debian 6.1.90-1 (2024-05-03)` in
/// `uname -v`, and `Ubuntu 5.15.0-105.115-generic 5.15.148` in /proc/version_signature.
fn upstream(words: &[&str]) -> Option<String> {
    let is_version = |text: &str| {
        let numbers: Vec<&str> = text.split('.').collect();
        let is_number =
            |part: &&str| !part.is_empty() && part.len() < 5 && part.bytes().all(|b| b.is_ascii_digit());
        numbers.len() == 3 && numbers.iter().all(is_number) && numbers[0].len() == 1
    };
    words
        .windows(3)
        .find_map(|three| match three {
            ["Ubuntu", own, version] if own.contains('-') && is_version(version) => {
                Some((*version).to_owned())
            }
            _ => None,
        })
        .or_else(|| {
            words.windows(2).find_map(|two| {
                let version =
                    two[1].split_once('-').filter(|(_, build)| build.bytes().all(|b| b.is_ascii_digit()))?.0;
                (two[0] == "Debian" && is_version(version)).then(|| version.to_owned())
            })
        })
}

/// The characters of a release, without what stands around them.
fn trimmed(word: &str) -> &str {
    let word = word.trim_start_matches(|c: char| !c.is_ascii_alphanumeric());
    let end = word.find(|c: char| !(c.is_ascii_alphanumeric() || matches!(c, '.' | '-' | '+' | '_')));
    word[..end.unwrap_or(word.len())].trim_end_matches(['.', '-'])
}

fn is_release(word: &str, before: &str, is_uname: bool) -> bool {
    let word = word.strip_prefix('v').unwrap_or(word);
    let Some((major, rest)) = word.split_once('.') else { return false };
    let minor = rest.find(|c: char| !c.is_ascii_digit()).map_or(rest, |end| &rest[..end]);
    let is_number = major.parse().is_ok_and(|major: u32| (2..=9).contains(&major))
        && minor.parse().is_ok_and(|minor: u32| minor < 100);
    // Four numbers are an address.
    let dots = word.split(['-', '+']).next().unwrap_or_default().matches('.').count();
    let is_before = ["kernel", "linux", "release"].contains(&before.to_ascii_lowercase().as_str());
    let is_marked = MARKS.iter().any(|mark| word.contains(mark));
    is_number && (is_marked || (dots <= 2 && (is_uname || (is_before && dots >= 1))))
}

/// The kernel's series by the distribution's release that a text mentions.
pub fn of_distribution(lines: &[Line<'_>]) -> Option<(String, Series)> {
    for line in lines {
        // The image that a machine configuration of Talos installs has the release as its tag.
        let lower = line.text.to_lowercase().replace("siderolabs/installer", "talos");
        for (name, release, major, minor) in DISTRIBUTIONS {
            let Some(at) = lower.find(name) else { continue };
            let near = lower[at..].split([' ', '\t', '/', '"', ':']).filter(|word| !word.is_empty()).take(9);
            let mut near = near.map(|word| word.trim_matches(['v', ',', '(', ')', '.', ';', ':']));
            if let Some(word) = near.find(|word| word.starts_with(release)) {
                return Some((format!("{name} {word}"), Series::new(major, minor)));
            }
        }
    }
    None
}

/// The pinned kernel nearest to a release, and its neighbours.
pub fn choose(release: &str, pins: &[KernelVersion]) -> Option<Choice> {
    let running = Running::of("", release)?;
    let shown = crate::net::clean::line(release).into_owned();
    match running {
        Running::Version(version) if pins.contains(&version) => {
            let why = format!("the text names {shown}, which is pinned");
            Some(Choice { id: version.to_string(), why, is_release: true })
        }
        Running::Version(version) => nearest(&shown, version, true, pins),
        Running::Series(series) => nearest(&shown, series.first(), false, pins),
    }
}

/// As [`choose`], for a series that a distribution's release stands for.
pub fn choose_series(said: &str, series: Series, pins: &[KernelVersion]) -> Option<Choice> {
    let shown = format!("{said} (its kernel is of series {series})");
    nearest(&shown, series.first(), false, pins).map(|choice| Choice { is_release: false, ..choice })
}

fn nearest(shown: &str, version: KernelVersion, is_exact: bool, pins: &[KernelVersion]) -> Option<Choice> {
    let below = pins.iter().filter(|pin| **pin < version).max();
    let above = pins.iter().filter(|pin| **pin > version).min();
    let same = |pin: &&&KernelVersion| pin.series() == version.series();
    let distance = |pin: &KernelVersion| place(pin.series()).abs_diff(place(version.series()));
    let chosen = match (below, above) {
        (Some(below), Some(above))
            if above.series() == version.series() && below.series() != above.series() =>
        {
            above
        }
        (Some(below), Some(above)) if distance(above) < distance(below) => above,
        (Some(below), _) => below,
        (None, above) => above?,
    };
    // Of a series without a patch level, its last pinned release has the most of what a distribution has taken over.
    let chosen = if is_exact { chosen } else { pins.iter().filter(|pin| same(&pin)).max().unwrap_or(chosen) };
    let sides: Vec<String> = [below, above].into_iter().flatten().map(ToString::to_string).collect();
    let abi = if is_exact || shown.contains("series") {
        ""
    } else {
        "; the number after its series is a build of the distribution, with patches of later kernels"
    };
    let why =
        format!("the text names {shown}; the pinned kernels next to it are {}{abi}", sides.join(" and "));
    Some(Choice { id: chosen.to_string(), why, is_release: true })
}

/// A series on one scale: 5.19 is followed by 6.0, and 6.19 by 7.0.
fn place(series: Series) -> u32 {
    let text = series.to_string();
    let (major, minor) = text.split_once('.').unwrap_or(("0", "0"));
    let number = |text: &str| text.parse::<u32>().unwrap_or(0);
    number(major).saturating_mul(20).saturating_add(number(minor))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::import::text;

    #[rstest::rstest]
    #[case("6.12.57-talos", "6.12.57")]
    #[case("5.15.35-core2", "5.10.262")]
    #[case("6.18.9-talos", "6.18.5")]
    #[case("5.15.0-91-generic", "5.10.262")]
    #[case("6.8.12-4-pve", "6.12.43")]
    #[case("5.14.0-427.13.1.el9_4.x86_64", "5.10.262")]
    #[case("6.12.0-55.el10.x86_64", "6.12.117")]
    #[case("6.6.54-flatcar", "6.1.192")]
    #[case("4.18.0-553.el8.x86_64", "5.10.262")]
    fn the_nearest_pinned_kernel_is_taken(#[case] release: &str, #[case] id: &str) {
        let pins = ["5.10.262", "6.1.192", "6.12.43", "6.12.57", "6.12.117", "6.18.5", "6.18.15", "7.3.4"];
        let pins: Vec<KernelVersion> = pins.iter().map(|pin| pin.parse().unwrap()).collect();
        let choice = choose(release, &pins).unwrap();
        assert_eq!(choice.id, id, "{choice:?}");
    }

    #[rstest::rstest]
    #[case(
        "Linux n 6.1.0-21-amd64 #1 SMP PREEMPT_DYNAMIC Debian 6.1.90-1 (2024-05-03) x86_64 GNU/Linux",
        "6.1.90"
    )]
    #[case("Ubuntu 5.15.0-105.115-generic 5.15.148", "5.15.148")]
    #[case(
        "Linux n 5.15.0-105-generic #115-Ubuntu SMP Mon Apr 15 09:52:04 UTC 2024 x86_64 x86_64",
        "5.15.0-105-generic"
    )]
    #[case(
        "Linux n 5.14.0-427.13.1.el9_4.x86_64 #1 SMP PREEMPT_DYNAMIC Wed Apr 10 x86_64",
        "5.14.0-427.13.1.el9_4.x86_64"
    )]
    #[case("Linux n 6.12.57-talos #1 SMP PREEMPT_DYNAMIC x86_64 Linux", "6.12.57-talos")]
    #[case(
        "Linux pve 6.8.12-4-pve #1 SMP PREEMPT_DYNAMIC PMX 6.8.12-4 (2024-11-06T15:04Z) x86_64",
        "6.8.12-4-pve"
    )]
    #[case(
        "Linux core 6.6.95-flatcar #1 SMP PREEMPT_DYNAMIC Mon Jun 30 x86_64 GenuineIntel GNU/Linux",
        "6.6.95-flatcar"
    )]
    fn uname_of_each_distribution_names_a_release(#[case] line: &str, #[case] release: &str) {
        assert_eq!(mentioned(&text::lines(line)).first().map(String::as_str), Some(release));
    }

    #[rstest::rstest]
    #[case("PRETTY_NAME=\"Ubuntu 22.04.4 LTS\"", "5.15")]
    #[case("Red Hat Enterprise Linux release 9.4 (Plow)", "5.14")]
    #[case("PRETTY_NAME=\"Flatcar Container Linux by Kinvolk 3815.2.5 (Oklo)\"", "6.1")]
    #[case("pve-manager/8.2.4/faa83925c9641325 (running kernel)", "6.8")]
    #[case("Talos v1.11.5", "6.12")]
    #[case("Talos (v1.3.7)", "5.15")]
    #[case("    image: ghcr.io/siderolabs/installer:v1.9.1", "6.12")]
    #[case(
        "  image: factory.talos.dev/installer/376567988ad370138ad8b2698212367b8edcb69b5fd68c80be1f2ec7d603b4ba:v1.7.4",
        "6.6"
    )]
    #[case("Distributor ID: Ubuntu 25.10", "6.17")]
    #[case("Red Hat Enterprise Linux Server release 7.9 (Maipo)", "3.10")]
    #[case("PRETTY_NAME=\"Red Hat Enterprise Linux 10.0 (Coughlan)\"", "6.12")]
    #[case("CentOS Stream release 9", "5.14")]
    #[case("Oracle Linux Server release 9.3", "5.14")]
    #[case("Proxmox VE 9.0.3", "6.14")]
    #[case("Flatcar Container Linux by Kinvolk stable 4459.2.0", "6.12")]
    fn a_distribution_stands_for_a_series(#[case] line: &str, #[case] series: &str) {
        let (_, found) = of_distribution(&text::lines(line)).expect("it is known");
        assert_eq!(found.to_string(), series);
    }

    /// Both sides are said, whichever is taken.
    #[rstest::rstest]
    #[case("6.6.95-flatcar", "6.1.192 and 6.12.43")]
    #[case("5.15.148", "5.10.262 and 6.1.192")]
    #[case("6.12.99-talos", "6.12.57 and 6.12.117")]
    #[case("5.15.0-105-generic", "5.10.262 and 6.1.192")]
    #[case("6.8.0-1021-azure", "6.1.192 and 6.12.43")]
    #[case("5.14.0-427.13.1.el9_4.x86_64", "5.10.262 and 6.1.192")]
    #[case("6.8.12-4-pve", "6.1.192 and 6.12.43")]
    // Nothing is pinned on the one side.
    #[case("3.10.0-1160.el7.x86_64", "next to it are 5.10.262")]
    fn the_neighbours_on_both_sides_are_named(#[case] release: &str, #[case] sides: &str) {
        let pins = ["5.10.262", "6.1.192", "6.12.43", "6.12.57", "6.12.117", "6.18.5", "6.18.15", "7.3.4"];
        let pins: Vec<KernelVersion> = pins.iter().map(|pin| pin.parse().unwrap()).collect();
        let choice = choose(release, &pins).unwrap();
        assert!(choice.why.contains(sides), "{choice:?}");
    }

    #[rstest::rstest]
    #[case("Red Hat Enterprise Linux Server release 7.9 (Maipo)")]
    #[case("PRETTY_NAME=\"Red Hat Enterprise Linux 9.4 (Plow)\"")]
    #[case("Rocky Linux release 8.10 (Green Obsidian)")]
    #[case("CentOS Stream release 9.1")]
    #[case("Alpine Linux 3.19.1")]
    #[case("Fedora release 7.2")]
    fn a_distributions_release_is_no_kernels(#[case] line: &str) {
        assert_eq!(mentioned(&text::lines(line)), <[&str; 0]>::default());
    }

    #[rstest::rstest]
    #[case("kernel release 6.12.57")]
    #[case("We run Linux 6.12.57 here")]
    #[case("Linux release 6.12.57")]
    fn a_kernels_release_is_found_behind_its_word(#[case] line: &str) {
        assert_eq!(mentioned(&text::lines(line)), ["6.12.57"]);
    }

    #[test]
    fn releases_are_reported_from_addresses_and_other_versions() {
        let text = "Talos Linux v1.11.5, kernel 6.12.57-talos at 10.4.5.6\nLinux box 5.15.0-91-generic #101 SMP x86_64 GNU/Linux\n\
            iproute2 6.1.0, kernel 5.4.3.2\n";
        assert_eq!(mentioned(&text::lines(text)), ["6.12.57-talos", "5.15.0-91-generic"]);
    }
}
