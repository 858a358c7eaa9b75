//! Networks of public addresses and the ones in their places: each address keeps its bits within its network, networks keep
//! their sizes and their order.

/// Public networks and the room for what takes their places.
#[derive(Debug, Clone, Copy)]
pub struct Room {
    /// Bits of an address.
    pub bits: u8,
    /// The first address that is handed out.
    pub base: u128,
    /// Its prefix length.
    pub prefix: u8,
    /// The network of an address of which the text shows no prefix.
    pub usual: u8,
    /// Networks that are larger are left as they are: routes such as 0.0.0.0/1 tell nothing.
    pub largest: u8,
}

/// 198.18.0.0/15, set apart for measurements (RFC 2544): as many networks as three of documentation would not hold.
pub const V4: Room = Room { bits: 32, base: 0xc612_0000, prefix: 15, usual: 24, largest: 16 };
/// 3fff::/20, set apart for documentation (RFC 9637).
pub const V6: Room = Room { bits: 128, base: 0x3fff << 112, prefix: 20, usual: 48, largest: 24 };

/// A network, and the one in its place.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Network {
    from: u128,
    size: u128,
    to: u128,
}

/// Networks by their first address.
#[derive(Debug, Default)]
pub struct Networks(Vec<Network>);

impl Room {
    fn size(&self, prefix: u8) -> u128 {
        1 << (self.bits - prefix.min(self.bits))
    }

    /// Plans networks for addresses with the prefixes they were written with. `None` where the room is too small.
    pub fn plan(&self, seen: impl IntoIterator<Item = (u128, Option<u8>)>) -> Option<Networks> {
        let mut wanted: Vec<(u128, u128)> = Vec::new();
        for (address, prefix) in seen {
            let prefix =
                prefix.filter(|prefix| (self.largest..self.usual).contains(prefix)).unwrap_or(self.usual);
            let size = self.size(prefix);
            wanted.push((address & !(size - 1), size));
        }
        // The larger of two with the same beginning first: the smaller one is part of it.
        wanted.sort_by_key(|(from, size)| (*from, std::cmp::Reverse(*size)));
        let (mut networks, mut free): (Vec<Network>, u128) = (Vec::new(), self.base);
        let end = self.base + self.size(self.prefix);
        for (from, size) in wanted {
            if networks.last().is_some_and(|last| from - last.from < last.size) {
                continue;
            }
            let to = (free + size - 1) & !(size - 1);
            if to + size > end {
                return None;
            }
            free = to + size;
            networks.push(Network { from, size, to });
        }
        Some(Networks(networks))
    }
}

impl Networks {
    /// The address in the place of another.
    pub fn of(&self, address: u128) -> Option<u128> {
        let at = self.0.partition_point(|network| network.from <= address).checked_sub(1)?;
        let network = self.0[at];
        let host = address - network.from;
        (host < network.size).then_some(network.to + host)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn networks_keep_their_sizes_their_order_and_what_is_in_them() {
        let [small, large, inside] = [0x0808_0808, 0x5000_0400, 0x5000_0601];
        let networks = V4.plan([(large, Some(22)), (small, None), (inside, Some(24))]).unwrap();
        let [a, b, c] = [small, large, inside].map(|address| networks.of(address).unwrap());
        assert!(a < b && b < c);
        assert_eq!(c - b, inside - large, "both are in one /22");
        assert_eq!(b % 1024, 0, "it begins where a /22 may begin");
        assert_eq!(a & 0xff, 8);
        assert_eq!(networks.of(0x0909_0909), None);
    }

    #[test]
    fn too_many_networks_are_refused() {
        let many = (0..600).map(|n: u128| (0x2000_0000 + (n << 8), None));
        assert!(V4.plan(many).is_none());
    }

    #[test]
    fn a_route_to_half_of_the_internet_does_not_take_all_the_room() {
        assert!(V4.plan([(0, Some(1)), (1 << 31, Some(1)), (0x0808_0808, None)]).is_some());
    }
}
