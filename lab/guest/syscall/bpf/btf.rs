//! A reader for the kernel's type information (BTF): where a member lies, what an enumerator is called.
//!
//! The format is that of the kernel's `Documentation/bpf/btf.rst`. Only what the drop program asks for is
//! decoded; nothing is resolved by kernel version.

use std::collections::BTreeMap;

/// Type information as the kernel exports it in `/sys/kernel/btf/vmlinux`.
pub struct Btf {
    types: Vec<u8>,
    strings: Vec<u8>,
    index: Index,
}

/// Where the types are. A kernel has a hundred thousand, of which one in five can be asked for by name.
#[derive(Default)]
struct Index {
    /// Offset of each type in the section; type 0 is `void` and has no entry of its own.
    offsets: Vec<u32>,
    structs: Vec<u32>,
    enums: Vec<u32>,
    typedefs: Vec<u32>,
}

/// A struct that was found by its name.
pub struct Struct<'a> {
    btf: &'a Btf,
    name: &'a str,
    id: u32,
}

/// Where a member lies in its struct.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Member {
    /// Offset from the start of the outermost struct, in bits.
    pub bit_offset: u32,
    /// Width in bits of a bitfield; 0 for an ordinary member.
    pub bits: u32,
    type_id: u32,
}

impl Member {
    /// Offset in whole bytes: of the member, or of the byte that holds the first bit of a bitfield.
    pub fn offset(self) -> u32 {
        self.bit_offset / 8
    }
}

/// Why a question to the type information has no answer.
#[derive(Debug, thiserror::Error, PartialEq, Eq)]
pub enum BtfError {
    #[error("the type information is malformed: {0}")]
    Malformed(&'static str),
    #[error("the type information has no {0}")]
    NoType(String),
    #[error("struct {0} has no member {1}")]
    NoMember(String, String),
}

// The kinds this reader looks into (BTF_KIND_*); the others are only stepped over.
const POINTER: u32 = 2;
const STRUCT: u32 = 4;
const UNION: u32 = 5;
const ENUM: u32 = 6;
const TYPEDEF: u32 = 8;
const FUNC_PROTO: u32 = 13;

/// One type: its header, and where what follows the header starts.
#[derive(Clone, Copy)]
struct Type {
    name: u32,
    kind: u32,
    count: u32,
    /// `kind_flag`: a struct's member offsets carry a bitfield width.
    flag: bool,
    /// `size` or `type`, as the kind has it.
    value: u32,
    body: usize,
}

const HEADER_BYTES: usize = 12;
const MAGIC: u16 = 0xeb9f;

impl Btf {
    /// Reads type information in the byte order of this machine.
    pub fn parse(bytes: &[u8]) -> Result<Self, BtfError> {
        let word = |at| u32_at(bytes, at).ok_or(BtfError::Malformed("the header is cut short"));
        if word(0)? as u16 != MAGIC {
            return Err(BtfError::Malformed("the magic number is wrong"));
        }
        let header = word(4)?;
        let section = |offset, length| {
            let start = (header + offset) as usize;
            bytes.get(start..start + length as usize).ok_or(BtfError::Malformed("a section is cut short"))
        };
        let types = section(word(8)?, word(12)?)?.to_vec();
        let strings = section(word(16)?, word(20)?)?.to_vec();
        let index = Index::new(&types)?;
        Ok(Self { types, strings, index })
    }

    /// The struct of this name.
    pub fn structure<'a>(&'a self, name: &'a str) -> Result<Struct<'a>, BtfError> {
        let id =
            self.find(&self.index.structs, name).ok_or_else(|| BtfError::NoType(format!("struct {name}")))?;
        Ok(Struct { btf: self, name, id })
    }

    /// How many arguments a raw tracepoint hands to a program, or `None` if the kernel has no such tracepoint.
    ///
    /// `include/trace/bpf_probe.h` declares `typedef void (*btf_trace_NAME)(void *__data, ...)` for each.
    pub fn tracepoint_arguments(&self, tracepoint: &str) -> Option<u32> {
        let typedef = self.find(&self.index.typedefs, &format!("btf_trace_{tracepoint}"))?;
        let pointer = self.get(self.get(typedef)?.value)?;
        let prototype = self.get(pointer.value)?;
        let is_function = pointer.kind == POINTER && prototype.kind == FUNC_PROTO;
        is_function.then(|| prototype.count.saturating_sub(1))
    }

    /// The enumerators of every enum whose name ends in `suffix`, by enum name, then by value.
    ///
    /// An enum can be described more than once; the descriptions then agree.
    pub fn enums_ending_in(&self, suffix: &str) -> BTreeMap<String, BTreeMap<u32, String>> {
        let mut enums = BTreeMap::new();
        for t in self.index.enums.iter().filter_map(|id| self.get(*id)) {
            let name = self.string(t.name);
            if !name.ends_with(suffix) {
                continue;
            }
            let enumerators: &mut BTreeMap<u32, String> = enums.entry(name.to_owned()).or_default();
            for i in 0..t.count as usize {
                let at = t.body + i * 8;
                if let (Some(n), Some(value)) = (u32_at(&self.types, at), u32_at(&self.types, at + 4)) {
                    enumerators.insert(value, self.string(n).to_owned());
                }
            }
        }
        enums
    }

    fn get(&self, id: u32) -> Option<Type> {
        let at = *self.index.offsets.get((id as usize).checked_sub(1)?)? as usize;
        type_at(&self.types, at)
    }

    fn string(&self, offset: u32) -> &str {
        let rest = self.strings.get(offset as usize..).unwrap_or_default();
        let end = rest.iter().position(|b| *b == 0).unwrap_or(rest.len());
        str::from_utf8(&rest[..end]).unwrap_or_default()
    }

    /// The first of these types with this name.
    fn find(&self, ids: &[u32], name: &str) -> Option<u32> {
        let is_it = |t: Type| {
            let at = t.name as usize;
            let end = at + name.len();
            self.strings.get(at..end) == Some(name.as_bytes()) && self.strings.get(end) == Some(&0)
        };
        ids.iter().copied().find(|id| self.get(*id).is_some_and(is_it))
    }

    fn member_of(&self, struct_id: u32, wanted: &str) -> Option<Member> {
        let t = self.composite(struct_id)?;
        for i in 0..t.count as usize {
            let at = t.body + i * HEADER_BYTES;
            let name = self.string(u32_at(&self.types, at)?);
            let type_id = u32_at(&self.types, at + 4)?;
            let encoded = u32_at(&self.types, at + 8)?;
            let (bit_offset, bits) =
                if t.flag { (encoded & 0x00ff_ffff, encoded >> 24) } else { (encoded, 0) };
            if name == wanted {
                return Some(Member { bit_offset, bits, type_id });
            }
            if name.is_empty()
                && let Some(inner) = self.member_of(type_id, wanted)
            {
                return Some(Member { bit_offset: bit_offset + inner.bit_offset, ..inner });
            }
        }
        None
    }

    /// The struct or union behind typedefs and qualifiers.
    fn composite(&self, mut id: u32) -> Option<Type> {
        const LAYERS_MAX: u32 = 16;
        for _ in 0..LAYERS_MAX {
            let t = self.get(id)?;
            match t.kind {
                STRUCT | UNION => return Some(t),
                // typedef, volatile, const, restrict, type_tag
                TYPEDEF..=11 | 18 => id = t.value,
                _ => return None,
            }
        }
        None
    }
}

impl Struct<'_> {
    /// Where a member lies; `path` is as C would write it, `nd_net.net`. Anonymous structs and unions are looked
    /// through.
    pub fn member(&self, path: &str) -> Result<Member, BtfError> {
        let missing = || BtfError::NoMember(self.name.to_owned(), path.to_owned());
        let mut parts = path.split('.');
        let first = parts.next().ok_or_else(missing)?;
        let mut member = self.btf.member_of(self.id, first).ok_or_else(missing)?;
        for part in parts {
            let inner = self.btf.member_of(member.type_id, part).ok_or_else(missing)?;
            member = Member { bit_offset: member.bit_offset + inner.bit_offset, ..inner };
        }
        Ok(member)
    }

    /// Size in bytes.
    pub fn size(&self) -> u32 {
        self.btf.get(self.id).map_or(0, |t| t.value)
    }
}

impl Index {
    /// One pass over the section: every type starts where the one before it ends.
    fn new(types: &[u8]) -> Result<Self, BtfError> {
        let mut index = Self::default();
        let mut at = 0;
        while at < types.len() {
            let t = type_at(types, at).ok_or(BtfError::Malformed("a type is cut short"))?;
            index.offsets.push(at as u32);
            let id = index.offsets.len() as u32;
            let count = t.count as usize;
            at = t.body
                + match t.kind {
                    // pointer, forward, qualifiers, function, float, type_tag
                    2 | 7 | 9..=12 | 16 | 18 => 0,
                    TYPEDEF => {
                        index.typedefs.push(id);
                        0
                    }
                    // integer, variable, declaration tag
                    1 | 14 | 17 => 4,
                    // array
                    3 => 12,
                    STRUCT => {
                        index.structs.push(id);
                        12 * count
                    }
                    // union, data section, 64-bit enum
                    UNION | 15 | 19 => 12 * count,
                    ENUM => {
                        index.enums.push(id);
                        8 * count
                    }
                    FUNC_PROTO => 8 * count,
                    _ => return Err(BtfError::Malformed("a kind this reader does not know")),
                };
        }
        Ok(index)
    }
}

fn type_at(types: &[u8], at: usize) -> Option<Type> {
    let info = u32_at(types, at + 4)?;
    Some(Type {
        name: u32_at(types, at)?,
        kind: (info >> 24) & 0x1f,
        count: info & 0xffff,
        flag: info >> 31 == 1,
        value: u32_at(types, at + 8)?,
        body: at + HEADER_BYTES,
    })
}

fn u32_at(bytes: &[u8], at: usize) -> Option<u32> {
    let four = bytes.get(at..at.checked_add(4)?)?;
    Some(u32::from_ne_bytes(four.try_into().ok()?))
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Writes type information by hand: strings are interned, types are numbered from 1.
    #[derive(Default)]
    struct Writer {
        types: Vec<u8>,
        strings: Vec<u8>,
    }

    impl Writer {
        fn name(&mut self, name: &str) -> u32 {
            if self.strings.is_empty() {
                self.strings.push(0);
            }
            if name.is_empty() {
                return 0;
            }
            let at = self.strings.len() as u32;
            self.strings.extend(name.bytes());
            self.strings.push(0);
            at
        }

        fn put(&mut self, name: &str, kind: u32, count: u32, flag: bool, value: u32, body: &[u32]) {
            let name = self.name(name);
            let info = (u32::from(flag) << 31) | (kind << 24) | count;
            for word in [name, info, value].iter().chain(body) {
                self.types.extend(word.to_ne_bytes());
            }
        }

        fn btf(&self) -> Btf {
            let mut bytes = vec![];
            bytes.extend(MAGIC.to_ne_bytes());
            bytes.extend([1, 0]);
            let (types, strings) = (self.types.len() as u32, self.strings.len() as u32);
            for word in [24, 0, types, types, strings] {
                bytes.extend(word.to_ne_bytes());
            }
            bytes.extend(&self.types);
            bytes.extend(&self.strings);
            Btf::parse(&bytes).expect("written above")
        }
    }

    /// A `sk_buff` in miniature: a bitfield and a member, both in an anonymous union, after a `len`.
    fn sk_buff() -> Btf {
        let mut w = Writer::default();
        let (len, present, tci) = (w.name("len"), w.name("vlan_present"), w.name("vlan_tci"));
        w.put("unsigned int", 1, 0, false, 4, &[32]); // 1
        w.put("", STRUCT, 2, true, 8, &[present, 1, (1 << 24) | 3, tci, 1, 32]); // 2
        w.put("", UNION, 1, false, 8, &[0, 2, 0]); // 3
        w.put("sk_buff", STRUCT, 2, false, 12, &[len, 1, 0, 0, 3, 32]); // 4
        w.put("", FUNC_PROTO, 4, false, 0, &[0; 8]); // 5
        w.put("", POINTER, 0, false, 5, &[]); // 6
        w.put("btf_trace_kfree_skb", TYPEDEF, 0, false, 6, &[]); // 7
        let name = w.name("SKB_DROP_REASON_NO_SOCKET");
        w.put("skb_drop_reason", ENUM, 1, false, 4, &[name, 3]); // 8
        let skb = w.name("skb");
        w.put("holder", STRUCT, 1, false, 20, &[skb, 4, 64]); // 9
        w.btf()
    }

    #[test]
    fn members_are_found_through_anonymous_structs_and_unions() {
        let btf = sk_buff();
        let skb = btf.structure("sk_buff").expect("it is there");
        let at = |m: &str| skb.member(m).map(|m| (m.bit_offset, m.bits));
        assert_eq!(at("len"), Ok((0, 0)));
        assert_eq!(at("vlan_present"), Ok((35, 1)));
        assert_eq!(at("vlan_tci"), Ok((64, 0)));
        assert_eq!(at("dev"), Err(BtfError::NoMember("sk_buff".into(), "dev".into())));
        assert_eq!(skb.size(), 12);
        assert!(btf.structure("sk_bufff").is_err() && btf.structure("sk_buf").is_err());
    }

    #[test]
    fn a_path_adds_up() {
        let btf = sk_buff();
        let holder = btf.structure("holder").expect("it is there");
        let tci = holder.member("skb.vlan_tci").expect("it is there");
        assert_eq!(tci.offset(), 16);
        assert!(holder.member("skb.dev").is_err());
    }

    #[test]
    fn a_tracepoint_has_one_argument_less_than_its_prototype() {
        assert_eq!(sk_buff().tracepoint_arguments("kfree_skb"), Some(3));
        assert_eq!(sk_buff().tracepoint_arguments("qdisc_drop"), None);
    }

    #[test]
    fn enumerators_are_found_by_value() {
        let enums = sk_buff().enums_ending_in("drop_reason");
        assert_eq!(enums["skb_drop_reason"][&3], "SKB_DROP_REASON_NO_SOCKET");
    }

    #[test]
    fn what_is_not_type_information_is_refused() {
        for (bytes, expected) in
            [(vec![0; 3], "the header is cut short"), (vec![0; 24], "the magic number is wrong")]
        {
            assert_eq!(Btf::parse(&bytes).err(), Some(BtfError::Malformed(expected)));
        }
    }
}
