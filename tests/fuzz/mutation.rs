//! Texts with some lines lost, doubled, exchanged, spoilt, or taken from another text: the same in each run.

/// A small fixed generator.
pub struct Generator(pub u64);

impl Generator {
    /// A number below another one.
    pub fn next(&mut self, below: usize) -> usize {
        self.0 = self.0.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        ((self.0 >> 33) as usize) % below.max(1)
    }
}

/// What readers look for, and what breaks them.
const PIECES: [&str; 44] = [
    "\n",
    "    ",
    "- ",
    ": ",
    "&a ",
    "*a",
    "{{ x }}",
    "[",
    "]",
    "\0",
    "\u{202e}",
    "4294967296",
    "18446744073709551616",
    "-1",
    "bond0",
    "bond0.70@bond0",
    "```\n",
    "> ",
    "<<: *a\n",
    "type: bond\n",
    "apiVersion: v1alpha1\n",
    "2: a@a: <UP> mtu 1",
    "\"",
    "'",
    "ä",
    "{",
    "}",
    "qdisc mq 0: dev bond0 root",
    " Sent 1 bytes 1 pkt (dropped 99999999999, overlimits 0 requeues 0)",
    "filter dev eth0 ingress protocol all pref 1 bpf chain 0 handle 0x1 ",
    "port              vlan-id\nbond0  1-4095",
    "# ethtool -S bond0",
    "Features for bond0:",
    "table inet t {\nchain c {\n",
    "bond0: (slave bond0): link status definitely down",
    "0:\tfrom all lookup local",
    "# cat /etc/sysconfig/network/ifcfg-bond0",
    "dev",
    "vxlan id 42 remote 192.0.2.9 dev bond0 dstport 4789",
    "    macsec sci 5254000000010005 cipher GCM-AES-256",
    "vrf table 10",
    "a@b",
    "\u{fffd}",
    "\t",
];

/// Lines of one text at the most: what is inserted doubles.
const LINES_MAX: usize = 400;

fn place_in(line: &str, random: &mut Generator) -> usize {
    let mut place = random.next(line.len() + 1);
    while !line.is_char_boundary(place) {
        place -= 1;
    }
    place
}

/// A text with one change, and up to so many; `others` are what lines are taken from.
pub fn mutated(text: &str, others: &[String], changes_max: usize, random: &mut Generator) -> String {
    let mut lines: Vec<String> = text.lines().map(str::to_owned).collect();
    for _ in 0..=random.next(changes_max) {
        if lines.is_empty() {
            lines.push(String::new());
        }
        let (at, other) = (random.next(lines.len()), random.next(lines.len()));
        match random.next(8) {
            0 if lines.len() > 1 => drop(lines.remove(at)),
            1 if lines.len() < LINES_MAX => lines.insert(at, lines[other].clone()),
            2 => lines.swap(at, other),
            3 | 4 => {
                let place = place_in(&lines[at], random);
                lines[at].insert_str(place, PIECES[random.next(PIECES.len())]);
            }
            5 => {
                let from = others.get(random.next(others.len())).map_or("", String::as_str);
                let count = from.lines().count();
                let line = from.lines().nth(random.next(count)).unwrap_or_default();
                lines.insert(at, line.to_owned());
            }
            6 => {
                // A word of one line in the place of a word of another.
                let word = lines[other].split_whitespace().nth(random.next(8)).unwrap_or_default().to_owned();
                let old = lines[at].split_whitespace().nth(random.next(8)).unwrap_or_default().to_owned();
                if !old.is_empty() {
                    lines[at] = lines[at].replacen(&old, &word, 1);
                }
            }
            _ => {
                let place = place_in(&lines[at], random);
                lines[at].truncate(place);
            }
        }
    }
    lines.join("\n")
}

/// Bytes with one to six changes.
pub fn mutated_bytes(bytes: &[u8], random: &mut Generator) -> Vec<u8> {
    let mut bytes = bytes.to_vec();
    for _ in 0..=random.next(6) {
        if bytes.is_empty() {
            return bytes;
        }
        let at = random.next(bytes.len());
        match random.next(4) {
            0 => bytes[at] ^= 1 << random.next(8),
            1 => bytes[at] = u8::try_from(random.next(256)).unwrap_or(0),
            2 => drop(bytes.splice(at..at, vec![0xff; random.next(40)])),
            _ if random.next(8) == 0 => bytes.truncate(at),
            _ => drop(bytes.splice(at..bytes.len().min(at + random.next(40)), [])),
        }
    }
    bytes
}
