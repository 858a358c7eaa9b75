//! The rows of options of links. Each macro passes its rows to another: key, type of the file, wire format, number and name of
//! the attribute in include/uapi/linux/if_link.h (if_tunnel.h for GRE), range, default.
//!
//! Ranges are those of the kernel's policies and handlers: `br_policy`, `br_changelink()` and `br_setport()` in net/bridge/,
//! `vlan_validate()` in net/8021q/, `vxlan_policy`, `macsec_validate_attr()`, `macvlan_policy` in drivers/net/.

/// What every kind of link has.
macro_rules! with_link_options {
    ($use:ident $head:tt) => { $use! { $head
        /// Number of transmit queues at creation; only for links that are created through netlink.
        numtxqueues: u32 as Wire::U32, 31 IFLA_NUM_TX_QUEUES, Some((1, 4096)), "1; of veth one for each processor";
        /// Number of receive queues at creation; only for links that are created through netlink.
        numrxqueues: u32 as Wire::U32, 32 IFLA_NUM_RX_QUEUES, Some((1, 4096)), "1; of veth one for each processor";
        /// Largest packet of segmentation offload, in bytes.
        gso_max_size: u32 as Wire::U32, 41 IFLA_GSO_MAX_SIZE, Some((1, 524_280)), "65536";
        /// Most segments of one packet of segmentation offload.
        gso_max_segs: u32 as Wire::U32, 40 IFLA_GSO_MAX_SEGS, Some((1, 65535)), "65535";
        /// Largest packet that receive offload puts together, in bytes (Linux 5.19).
        gro_max_size: u32 as Wire::U32, 58 IFLA_GRO_MAX_SIZE, Some((1, 524_280)), "65536";
        /// The same as gso_max_size for IPv4 (Linux 6.3).
        gso_ipv4_max_size: u32 as Wire::U32, 63 IFLA_GSO_IPV4_MAX_SIZE, Some((1, 524_280)), "65536";
        /// The same as gro_max_size for IPv4 (Linux 6.3).
        gro_ipv4_max_size: u32 as Wire::U32, 64 IFLA_GRO_IPV4_MAX_SIZE, Some((1, 524_280)), "65536";
        /// The link group that it belongs to (`group` of `ip link`).
        group: u32 as Wire::U32, 27 IFLA_GROUP, Some((0, 2_147_483_647)), "0";
        /// Its broadcast address.
        broadcast: Mac as Wire::Mac, 2 IFLA_BROADCAST, None, "ff:ff:ff:ff:ff:ff";
        /// Whether a device with carrier is UP, or DORMANT until a program such as an 802.1X supplicant sets it UP (`mode` of `ip link`).
        link_mode: LinkMode as Wire::Word8(LinkMode::WORDS), 17 IFLA_LINKMODE, None, "default";
        /// Whether addresses are resolved on it; off is IFF_NOARP.
        arp: bool as Wire::Interface { flag: 0x80, inverted: true }, 0 IFF_NOARP, None, "true";
        /// Whether multicast is enabled on it (IFF_MULTICAST).
        multicast: bool as Wire::Interface { flag: 0x1000, inverted: false }, 0 IFF_MULTICAST, None, "true";
        /// Whether it accepts all multicast frames.
        allmulticast: bool as Wire::Interface { flag: 0x200, inverted: false }, 0 IFF_ALLMULTI, None, "false";
        /// Whether it accepts all frames (promiscuous mode).
        promisc: bool as Wire::Interface { flag: 0x100, inverted: false }, 0 IFF_PROMISC, None, "false";
        /// Its carrier, if the driver allows setting it: dummy, tap, team and others.
        carrier: bool as Wire::Flag, 33 IFLA_CARRIER, None, "true once it is up";
        /// Whether carrier is taken away by the administrator, if the driver allows it: macvlan and vxlan.
        proto_down: bool as Wire::Flag, 39 IFLA_PROTO_DOWN, None, "false";
        /// Whether NAPI polls in a kernel thread (Linux 5.12).
        threaded: bool as Wire::SysFile("threaded"), 0 threaded, None, "false";
        /// Speed in Mbit/s, if the driver allows setting it: tap, and veth of newer kernels.
        speed: u32 as Wire::Speed, 0 ETHTOOL_SLINKSETTINGS, Some((1, 2_147_483_647)), "the driver's";
    } };
}

macro_rules! with_vlan_options {
    ($use:ident $head:tt) => {
        $use! { $head
            /// Whether the tag is removed from the frame before sockets see it.
            reorder_hdr: bool as Wire::VlanFlag(1), 2 IFLA_VLAN_FLAGS, None, "true";
            /// Whether it registers its id by GVRP.
            gvrp: bool as Wire::VlanFlag(2), 2 IFLA_VLAN_FLAGS, None, "false";
            /// Whether it stays up when its parent goes down.
            loose_binding: bool as Wire::VlanFlag(4), 2 IFLA_VLAN_FLAGS, None, "false";
            /// Whether it registers its id by MVRP.
            mvrp: bool as Wire::VlanFlag(8), 2 IFLA_VLAN_FLAGS, None, "false";
            /// Whether its carrier follows the ports of a bridge that are in its VLAN, and not the bridge.
            bridge_binding: bool as Wire::VlanFlag(16), 2 IFLA_VLAN_FLAGS, None, "false";
            /// The kernel's priority by the tag's priority, for received frames.
            ingress_qos_map: PriorityMap as Wire::PriorityMap, 4 IFLA_VLAN_INGRESS_QOS, None, "none";
            /// The tag's priority by the kernel's priority, for sent frames.
            egress_qos_map: PriorityMap as Wire::PriorityMap, 3 IFLA_VLAN_EGRESS_QOS, None, "none";
        }
    };
}

macro_rules! with_bridge_options {
    ($use:ident $head:tt) => { $use! { $head
        /// Time in the states listening and learning, in 1/100 s.
        forward_delay: u32 as Wire::U32, 1 IFLA_BR_FORWARD_DELAY, Some((0, 3000)), "1500";
        /// Interval between BPDUs, in 1/100 s.
        hello_time: u32 as Wire::U32, 2 IFLA_BR_HELLO_TIME, Some((100, 1000)), "200";
        /// How long a BPDU is valid, in 1/100 s.
        max_age: u32 as Wire::U32, 3 IFLA_BR_MAX_AGE, Some((600, 4000)), "2000";
        /// How long a learned address is kept, in 1/100 s.
        ageing_time: u32 as Wire::U32, 4 IFLA_BR_AGEING_TIME, None, "30000";
        /// Spanning tree by the kernel.
        stp_state: bool as Wire::Flag32, 5 IFLA_BR_STP_STATE, None, "false";
        /// Priority of the bridge in spanning tree.
        priority: u16 as Wire::U16, 6 IFLA_BR_PRIORITY, None, "32768";
        /// The EtherType of the tags for vlan_filtering.
        vlan_protocol: VlanProtocol as Wire::Word16Be(&[(0x8100, "802.1Q"), (0x88a8, "802.1ad")]), 8 IFLA_BR_VLAN_PROTOCOL, None, "802.1Q";
        /// Frames to 01:80:c2:00:00:0X that are forwarded, a bit for each X; STP, pause and LACP frames (0 to 2) are never.
        group_fwd_mask: u16 as Wire::U16, 9 IFLA_BR_GROUP_FWD_MASK, None, "0";
        /// Address to which its BPDUs are sent: 01:80:c2:00:00:0X.
        group_address: Mac as Wire::Mac, 20 IFLA_BR_GROUP_ADDR, None, "01:80:c2:00:00:00";
        /// Whether it is a multicast router.
        mcast_router: MulticastRouter as Wire::Word8(MulticastRouter::WORDS), 22 IFLA_BR_MCAST_ROUTER, None, "temp_query";
        /// Whether it learns the members of multicast groups from IGMP and MLD.
        mcast_snooping: bool as Wire::Flag, 23 IFLA_BR_MCAST_SNOOPING, None, "true";
        /// Whether its queries have its own address as their source.
        mcast_query_use_ifaddr: bool as Wire::Flag, 24 IFLA_BR_MCAST_QUERY_USE_IFADDR, None, "false";
        /// Whether it sends IGMP and MLD queries.
        mcast_querier: bool as Wire::Flag, 25 IFLA_BR_MCAST_QUERIER, None, "false";
        /// Maximum number of entries in the multicast table.
        mcast_hash_max: u32 as Wire::U32, 27 IFLA_BR_MCAST_HASH_MAX, Some((1, 2_147_483_647)), "4096";
        /// Queries before a group is removed.
        mcast_last_member_count: u32 as Wire::U32, 28 IFLA_BR_MCAST_LAST_MEMBER_CNT, None, "2";
        /// Queries at the start.
        mcast_startup_query_count: u32 as Wire::U32, 29 IFLA_BR_MCAST_STARTUP_QUERY_CNT, None, "2";
        /// Interval between queries before a group is removed, in 1/100 s.
        mcast_last_member_interval: u64 as Wire::U64, 30 IFLA_BR_MCAST_LAST_MEMBER_INTVL, Some((0, 2_147_483_647)), "100";
        /// How long a membership is valid, in 1/100 s.
        mcast_membership_interval: u64 as Wire::U64, 31 IFLA_BR_MCAST_MEMBERSHIP_INTVL, Some((0, 2_147_483_647)), "26000";
        /// How long another querier is waited for, in 1/100 s.
        mcast_querier_interval: u64 as Wire::U64, 32 IFLA_BR_MCAST_QUERIER_INTVL, Some((0, 2_147_483_647)), "25500";
        /// Interval between queries, in 1/100 s.
        mcast_query_interval: u64 as Wire::U64, 33 IFLA_BR_MCAST_QUERY_INTVL, Some((100, 2_147_483_647)), "12500";
        /// Maximum response time, in 1/100 s.
        mcast_query_response_interval: u64 as Wire::U64, 34 IFLA_BR_MCAST_QUERY_RESPONSE_INTVL, Some((0, 2_147_483_647)), "1000";
        /// Interval between queries at the start, in 1/100 s.
        mcast_startup_query_interval: u64 as Wire::U64, 35 IFLA_BR_MCAST_STARTUP_QUERY_INTVL, Some((100, 2_147_483_647)), "3125";
        /// Whether bridged IPv4 passes iptables.
        nf_call_iptables: bool as Wire::Flag, 36 IFLA_BR_NF_CALL_IPTABLES, None, "false";
        /// Whether bridged IPv6 passes ip6tables.
        nf_call_ip6tables: bool as Wire::Flag, 37 IFLA_BR_NF_CALL_IP6TABLES, None, "false";
        /// Whether bridged ARP passes arptables.
        nf_call_arptables: bool as Wire::Flag, 38 IFLA_BR_NF_CALL_ARPTABLES, None, "false";
        /// The VLAN of untagged frames at a new port (PVID); 0 is none.
        vlan_default_pvid: u16 as Wire::U16, 39 IFLA_BR_VLAN_DEFAULT_PVID, Some((0, 4094)), "1";
        /// Whether VLANs are counted.
        vlan_stats_enabled: bool as Wire::Flag, 41 IFLA_BR_VLAN_STATS_ENABLED, None, "false";
        /// Whether IGMP and MLD are counted.
        mcast_stats_enabled: bool as Wire::Flag, 42 IFLA_BR_MCAST_STATS_ENABLED, None, "false";
        /// Version of IGMP queries.
        mcast_igmp_version: u8 as Wire::U8, 43 IFLA_BR_MCAST_IGMP_VERSION, Some((2, 3)), "2";
        /// Version of MLD queries.
        mcast_mld_version: u8 as Wire::U8, 44 IFLA_BR_MCAST_MLD_VERSION, Some((1, 2)), "1";
        /// Whether VLANs are counted at each port; the kernel refuses it once the bridge has ports with VLANs.
        vlan_stats_per_port: bool as Wire::Flag, 45 IFLA_BR_VLAN_STATS_PER_PORT, None, "false";
        /// Whether addresses of frames to 01:80:c2:00:00:0X are not learned.
        no_linklocal_learn: bool as Wire::BoolOption(1), 46 IFLA_BR_MULTI_BOOLOPT, None, "false";
        /// Whether each VLAN has separate multicast snooping; needs vlan_filtering (Linux 5.15).
        mcast_vlan_snooping: bool as Wire::BoolOption(2), 46 IFLA_BR_MULTI_BOOLOPT, None, "false";
        /// Multiple spanning trees (Linux 5.18).
        mst_enabled: bool as Wire::BoolOption(4), 46 IFLA_BR_MULTI_BOOLOPT, None, "false";
        /// Whether a failure to offload an entry of the multicast database is reported (Linux 6.16).
        mdb_offload_fail_notification: bool as Wire::BoolOption(8), 46 IFLA_BR_MULTI_BOOLOPT, None, "false";
        /// Whether addresses of the bridge and its ports are in VLAN 0 only, and not in each VLAN (Linux 6.18).
        fdb_local_vlan_0: bool as Wire::BoolOption(16), 46 IFLA_BR_MULTI_BOOLOPT, None, "false";
        /// Maximum number of learned addresses; 0 is no limit (Linux 6.7).
        fdb_max_learned: u32 as Wire::U32, 49 IFLA_BR_FDB_MAX_LEARNED, None, "0";
        /// Who does spanning tree once stp_state is on: the kernel, a program, or what /sbin/bridge-stp says.
        stp_mode: StpMode as Wire::Word32(StpMode::WORDS), 50 IFLA_BR_STP_MODE, None, "auto";
    } };
}

macro_rules! with_bridge_port_options {
    ($use:ident $head:tt) => { $use! { $head
        /// Priority of the port in spanning tree.
        priority: u16 as Wire::U16, 2 IFLA_BRPORT_PRIORITY, Some((0, 63)), "32";
        /// Its cost in spanning tree.
        cost: u32 as Wire::U32, 3 IFLA_BRPORT_COST, Some((1, 65535)), "by its speed";
        /// Whether a frame may leave through the port on which it arrived.
        hairpin: bool as Wire::Flag, 4 IFLA_BRPORT_MODE, None, "false";
        /// Whether BPDUs are refused.
        guard: bool as Wire::Flag, 5 IFLA_BRPORT_GUARD, None, "false";
        /// Whether it may not become the root port.
        root_block: bool as Wire::Flag, 6 IFLA_BRPORT_PROTECT, None, "false";
        /// Whether a group is removed at once when a member leaves.
        fastleave: bool as Wire::Flag, 7 IFLA_BRPORT_FAST_LEAVE, None, "false";
        /// Whether addresses are learned from its frames.
        learning: bool as Wire::Flag, 8 IFLA_BRPORT_LEARNING, None, "true";
        /// Whether frames to unknown addresses are flooded through it.
        flood: bool as Wire::Flag, 9 IFLA_BRPORT_UNICAST_FLOOD, None, "true";
        /// Whether the bridge answers ARP requests for neighbours that it knows.
        proxy_arp: bool as Wire::Flag, 10 IFLA_BRPORT_PROXYARP, None, "false";
        /// The same for wireless ports.
        proxy_arp_wifi: bool as Wire::Flag, 12 IFLA_BRPORT_PROXYARP_WIFI, None, "false";
        /// Whether a multicast router is behind it.
        mcast_router: MulticastRouter as Wire::Word8(MulticastRouter::WORDS), 25 IFLA_BRPORT_MULTICAST_ROUTER, None, "temp_query";
        /// Whether multicast without known members is flooded through it.
        mcast_flood: bool as Wire::Flag, 27 IFLA_BRPORT_MCAST_FLOOD, None, "true";
        /// Whether multicast is sent to each member's own address.
        mcast_to_unicast: bool as Wire::Flag, 28 IFLA_BRPORT_MCAST_TO_UCAST, None, "false";
        /// Whether VLANs are mapped to tunnels.
        vlan_tunnel: bool as Wire::Flag, 29 IFLA_BRPORT_VLAN_TUNNEL, None, "false";
        /// Whether broadcast is flooded through it.
        bcast_flood: bool as Wire::Flag, 30 IFLA_BRPORT_BCAST_FLOOD, None, "true";
        /// As group_fwd_mask of the bridge, for this port, and LACP frames too (4).
        group_fwd_mask: u16 as Wire::U16, 31 IFLA_BRPORT_GROUP_FWD_MASK, None, "0";
        /// Whether ARP requests and neighbour solicitations that the bridge can answer are not sent through it.
        neigh_suppress: bool as Wire::Flag, 32 IFLA_BRPORT_NEIGH_SUPPRESS, None, "false";
        /// Whether it exchanges frames only with ports that are not isolated.
        isolated: bool as Wire::Flag, 33 IFLA_BRPORT_ISOLATED, None, "false";
        /// Maximum number of hosts whose memberships are tracked, with fastleave and IGMPv3 or MLDv2.
        mcast_eht_hosts_limit: u32 as Wire::U32, 37 IFLA_BRPORT_MCAST_EHT_HOSTS_LIMIT, Some((1, 4_294_967_295)), "512";
        /// Whether frames from unknown addresses are dropped (Linux 5.18).
        locked: bool as Wire::Flag, 39 IFLA_BRPORT_LOCKED, None, "false";
        /// Whether a locked port learns addresses as locked ones (Linux 6.2); needs learning and locked.
        mab: bool as Wire::Flag, 40 IFLA_BRPORT_MAB, None, "false";
        /// Maximum number of multicast groups; 0 is no limit (Linux 6.3).
        mcast_max_groups: u32 as Wire::U32, 42 IFLA_BRPORT_MCAST_MAX_GROUPS, None, "0";
        /// Whether neigh_suppress is set for each VLAN (Linux 6.4).
        neigh_vlan_suppress: bool as Wire::Flag, 43 IFLA_BRPORT_NEIGH_VLAN_SUPPRESS, None, "false";
        /// Whether gratuitous ARP and unsolicited neighbour advertisements are sent through it in spite of neigh_suppress.
        neigh_forward_grat: bool as Wire::Flag, 45 IFLA_BRPORT_NEIGH_FORWARD_GRAT, None, "false";
    } };
}

macro_rules! with_macvlan_options {
    ($use:ident $head:tt) => {
        $use! { $head
            /// Whether the parent is not set to promiscuous mode; with mode passthru.
            nopromisc: bool as Wire::Bit16(1), 2 IFLA_MACVLAN_FLAGS, None, "false";
            /// Whether a frame from a source address is not delivered to the parent as well; with mode source (Linux 5.12).
            nodst: bool as Wire::Bit16(2), 2 IFLA_MACVLAN_FLAGS, None, "false";
            /// Addresses whose frames it receives; with mode source, 256 at the most.
            source_addresses: Vec<Mac> as Wire::Macs, 5 IFLA_MACVLAN_MACADDR_DATA, None, "none";
            /// Length of the parent's queue of broadcast and multicast frames; the largest value of its macvlans applies (Linux
            /// 5.11).
            bcqueuelen: u32 as Wire::U32, 7 IFLA_MACVLAN_BC_QUEUE_LEN, None, "1000";
            /// Broadcast and multicast frames for up to this many macvlans are copied directly and not through the queue; -1
            /// disables the queue (Linux 6.4).
            bclim: i32 as Wire::I32, 9 IFLA_MACVLAN_BC_CUTOFF, Some((-1, 2_147_483_647)), "1";
        }
    };
}

macro_rules! with_vrf_options {
    ($use:ident $head:tt) => {
        $use! { $head
            /// The routing table of its ports.
            table: u32 as Wire::U32, 1 IFLA_VRF_TABLE, Some((1, 4_294_967_295)), "must be given";
        }
    };
}

macro_rules! with_vxlan_options {
    ($use:ident $head:tt) => {
        $use! { $head
            /// The network's number (VNI).
            id: u32 as Wire::U32, 1 IFLA_VXLAN_ID, Some((0, 16_777_215)), "must be given, without external";
            /// The other end, or a multicast group with `parent`.
            remote: Ipv4Addr as Wire::Ipv4, 2 IFLA_VXLAN_GROUP, None, "none";
            /// The same by IPv6.
            remote6: Ipv6Addr as Wire::Ipv6, 16 IFLA_VXLAN_GROUP6, None, "none";
            /// The source address.
            local: Ipv4Addr as Wire::Ipv4, 4 IFLA_VXLAN_LOCAL, None, "none";
            /// The same by IPv6.
            local6: Ipv6Addr as Wire::Ipv6, 17 IFLA_VXLAN_LOCAL6, None, "none";
            /// Time to live of outer packets; 0 is the kernel's choice.
            ttl: u8 as Wire::U8, 5 IFLA_VXLAN_TTL, None, "0";
            /// Whether the time to live is the inner packet's.
            ttl_inherit: bool as Wire::Present, 28 IFLA_VXLAN_TTL_INHERIT, None, "false";
            /// Type of service of outer packets; 1 copies the inner packet's.
            tos: u8 as Wire::U8, 6 IFLA_VXLAN_TOS, None, "0";
            /// Flow label of outer packets of IPv6.
            label: u32 as Wire::U32Be, 26 IFLA_VXLAN_LABEL, Some((0, 1_048_575)), "0";
            /// Whether the flow label is `label`, or the inner packet's (Linux 6.7).
            label_policy: LabelPolicy as Wire::Word32(LabelPolicy::WORDS), 32 IFLA_VXLAN_LABEL_POLICY, None, "fixed";
            /// Whether addresses are learned from received frames.
            learning: bool as Wire::Flag, 7 IFLA_VXLAN_LEARNING, None, "true";
            /// How long a learned address is kept, in s.
            ageing: u32 as Wire::U32, 8 IFLA_VXLAN_AGEING, None, "300";
            /// Maximum number of addresses; 0 is no limit.
            maxaddress: u32 as Wire::U32, 9 IFLA_VXLAN_LIMIT, None, "0";
            /// Whether it answers ARP requests for neighbours that it knows.
            proxy: bool as Wire::Flag, 11 IFLA_VXLAN_PROXY, None, "false";
            /// Whether it routes to known neighbours itself (route short circuit).
            rsc: bool as Wire::Flag, 12 IFLA_VXLAN_RSC, None, "false";
            /// Whether an unknown Ethernet address is reported.
            l2miss: bool as Wire::Flag, 13 IFLA_VXLAN_L2MISS, None, "false";
            /// Whether an unknown IP address is reported.
            l3miss: bool as Wire::Flag, 14 IFLA_VXLAN_L3MISS, None, "false";
            /// UDP port of the other end.
            dstport: u16 as Wire::U16Be, 15 IFLA_VXLAN_PORT, Some((1, 65535)), "8472";
            /// UDP ports of this end, of which a hash of the inner packet selects one: `"32768-60999"`.
            srcport: PortRange as Wire::PortRange, 10 IFLA_VXLAN_PORT_RANGE, None, "0-0: those of ip_local_port_range";
            /// Whether outer UDP over IPv4 has a checksum.
            udpcsum: bool as Wire::Flag, 18 IFLA_VXLAN_UDP_CSUM, None, "true";
            /// Whether outer UDP over IPv6 is sent without a checksum.
            udp6zerocsumtx: bool as Wire::Flag, 19 IFLA_VXLAN_UDP_ZERO_CSUM6_TX, None, "false";
            /// Whether outer UDP over IPv6 is accepted without a checksum.
            udp6zerocsumrx: bool as Wire::Flag, 20 IFLA_VXLAN_UDP_ZERO_CSUM6_RX, None, "false";
            /// Whether the inner checksum is left to the receiver (remote checksum offload).
            remcsumtx: bool as Wire::Flag, 21 IFLA_VXLAN_REMCSUM_TX, None, "false";
            /// Whether such packets are accepted.
            remcsumrx: bool as Wire::Flag, 22 IFLA_VXLAN_REMCSUM_RX, None, "false";
            /// Whether the receiver writes the whole checksum; with remcsumrx.
            remcsum_nopartial: bool as Wire::Present, 24 IFLA_VXLAN_REMCSUM_NOPARTIAL, None, "false";
            /// Whether packets carry the mark as a group (group based policy).
            gbp: bool as Wire::Present, 23 IFLA_VXLAN_GBP, None, "false";
            /// Whether packets name their protocol (generic protocol extension); with external.
            gpe: bool as Wire::Present, 27 IFLA_VXLAN_GPE, None, "false";
            /// Whether the remote end is set for each packet, by a route or a filter (`external`).
            external: bool as Wire::Flag, 25 IFLA_VXLAN_COLLECT_METADATA, None, "false";
            /// Whether outer packets may be fragmented.
            df: VxlanDf as Wire::Word8(VxlanDf::WORDS), 29 IFLA_VXLAN_DF, None, "unset";
            /// Whether packets to an address of this machine skip the UDP socket (Linux 6.4).
            localbypass: bool as Wire::Flag, 31 IFLA_VXLAN_LOCALBYPASS, None, "true";
            /// Whether only packets of configured networks are accepted; with external (Linux 5.18).
            vnifilter: bool as Wire::Flag, 30 IFLA_VXLAN_VNIFILTER, None, "false";
        }
    };
}

macro_rules! with_geneve_options {
    ($use:ident $head:tt) => {
        $use! { $head
            /// The network's number (VNI).
            id: u32 as Wire::U32, 1 IFLA_GENEVE_ID, Some((0, 16_777_215)), "must be given, without external";
            /// The other end.
            remote: Ipv4Addr as Wire::Ipv4, 2 IFLA_GENEVE_REMOTE, None, "none";
            /// The same by IPv6.
            remote6: Ipv6Addr as Wire::Ipv6, 7 IFLA_GENEVE_REMOTE6, None, "none";
            /// The source address.
            local: Ipv4Addr as Wire::Ipv4, 17 IFLA_GENEVE_LOCAL, None, "none";
            /// The same by IPv6.
            local6: Ipv6Addr as Wire::Ipv6, 18 IFLA_GENEVE_LOCAL6, None, "none";
            /// Time to live of outer packets; 0 is the kernel's choice.
            ttl: u8 as Wire::U8, 3 IFLA_GENEVE_TTL, None, "0";
            /// Whether the time to live is the inner packet's.
            ttl_inherit: bool as Wire::Flag, 12 IFLA_GENEVE_TTL_INHERIT, None, "false";
            /// Type of service of outer packets; 1 copies the inner packet's.
            tos: u8 as Wire::U8, 4 IFLA_GENEVE_TOS, None, "0";
            /// Flow label of outer packets of IPv6.
            label: u32 as Wire::U32Be, 11 IFLA_GENEVE_LABEL, Some((0, 1_048_575)), "0";
            /// Whether outer packets may be fragmented.
            df: VxlanDf as Wire::Word8(VxlanDf::WORDS), 13 IFLA_GENEVE_DF, None, "unset";
            /// UDP port of the other end.
            dstport: u16 as Wire::U16Be, 5 IFLA_GENEVE_PORT, Some((1, 65535)), "6081";
            /// UDP ports of this end, of which a hash of the inner packet selects one: `"32768-60999"` (Linux 6.15).
            srcport: PortRange as Wire::PortRange, 15 IFLA_GENEVE_PORT_RANGE, None, "1-65535: those of ip_local_port_range";
            /// Whether outer UDP over IPv4 has a checksum.
            udpcsum: bool as Wire::Flag, 8 IFLA_GENEVE_UDP_CSUM, None, "false";
            /// Whether outer UDP over IPv6 is sent without a checksum.
            udp6zerocsumtx: bool as Wire::Flag, 9 IFLA_GENEVE_UDP_ZERO_CSUM6_TX, None, "false";
            /// Whether outer UDP over IPv6 is accepted without a checksum.
            udp6zerocsumrx: bool as Wire::Flag, 10 IFLA_GENEVE_UDP_ZERO_CSUM6_RX, None, "false";
            /// Whether the remote end is set for each packet, by a route or a filter (`external`).
            external: bool as Wire::Present, 6 IFLA_GENEVE_COLLECT_METADATA, None, "false";
            /// Whether packets carry a hint for receive offload.
            gro_hint: bool as Wire::Present, 16 IFLA_GENEVE_GRO_HINT, None, "false";
        }
    };
}

macro_rules! with_gre_options {
    ($use:ident $head:tt) => {
        $use! { $head
            /// Key of both directions.
            key: u32 as Wire::GreKey, 4 IFLA_GRE_IKEY, None, "none";
            /// Whether received packets must have a checksum.
            icsum: bool as Wire::GreFlag(0x8000), 2 IFLA_GRE_IFLAGS, None, "false";
            /// Whether packets are sent with a checksum.
            ocsum: bool as Wire::GreFlag(0x8000), 3 IFLA_GRE_OFLAGS, None, "false";
            /// Whether received packets must have sequence numbers in order.
            iseq: bool as Wire::GreFlag(0x1000), 2 IFLA_GRE_IFLAGS, None, "false";
            /// Whether packets are sent with a sequence number.
            oseq: bool as Wire::GreFlag(0x1000), 3 IFLA_GRE_OFLAGS, None, "false";
            /// The source address.
            local: Ipv4Addr as Wire::Ipv4, 6 IFLA_GRE_LOCAL, None, "none";
            /// The other end.
            remote: Ipv4Addr as Wire::Ipv4, 7 IFLA_GRE_REMOTE, None, "none";
            /// Time to live of outer packets; 0 copies the inner packet's.
            ttl: u8 as Wire::U8, 8 IFLA_GRE_TTL, None, "0";
            /// Type of service of outer packets; 1 copies the inner packet's.
            tos: u8 as Wire::U8, 9 IFLA_GRE_TOS, None, "0";
            /// Whether path MTU discovery is used: outer packets have the DF bit.
            pmtudisc: bool as Wire::Flag, 10 IFLA_GRE_PMTUDISC, None, "true";
            /// Whether the inner packet's DF bit is ignored; without pmtudisc.
            ignore_df: bool as Wire::Flag, 19 IFLA_GRE_IGNORE_DF, None, "false";
            /// Mark of outer packets, for rules.
            fwmark: u32 as Wire::U32, 20 IFLA_GRE_FWMARK, None, "0";
            /// Whether the remote end is set for each packet, by a route or a filter (`external`).
            external: bool as Wire::Present, 18 IFLA_GRE_COLLECT_METADATA, None, "false";
        }
    };
}

macro_rules! with_macsec_options {
    ($use:ident $head:tt) => { $use! { $head
        /// Its port number in the channel's name (SCI).
        port: u16 as Wire::U16Be, 2 IFLA_MACSEC_PORT, Some((1, 65535)), "1";
        /// Length of the check value, in bytes.
        icvlen: u8 as Wire::U8, 3 IFLA_MACSEC_ICV_LEN, Some((8, 16)), "16";
        /// Cipher suite.
        cipher: MacsecCipher as Wire::Word64(MacsecCipher::WORDS), 4 IFLA_MACSEC_CIPHER_SUITE, None, "gcm-aes-128";
        /// Replay window, in frames; with replay.
        window: u32 as Wire::U32, 5 IFLA_MACSEC_WINDOW, None, "0";
        /// The security association for sent frames.
        encodingsa: u8 as Wire::U8, 6 IFLA_MACSEC_ENCODING_SA, Some((0, 3)), "0";
        /// Whether frames are encrypted, and not only signed.
        encrypt: bool as Wire::Flag, 7 IFLA_MACSEC_ENCRYPT, None, "false";
        /// Whether frames are signed.
        protect: bool as Wire::Flag, 8 IFLA_MACSEC_PROTECT, None, "true";
        /// Whether the channel's name is in each frame.
        send_sci: bool as Wire::Flag, 9 IFLA_MACSEC_INC_SCI, None, "true";
        /// Whether the channel's name is the source address; without send_sci.
        end_station: bool as Wire::Flag, 10 IFLA_MACSEC_ES, None, "false";
        /// Whether frames carry the bit for single copy broadcast; without send_sci.
        scb: bool as Wire::Flag, 11 IFLA_MACSEC_SCB, None, "false";
        /// Whether repeated frames are dropped (replay protection); with window.
        replay: bool as Wire::Flag, 12 IFLA_MACSEC_REPLAY_PROTECT, None, "false";
        /// What happens to frames whose check value is wrong.
        validate: MacsecValidate as Wire::Word8(MacsecValidate::WORDS), 13 IFLA_MACSEC_VALIDATION, None, "strict";
        /// Where MACsec is processed: by the kernel, the PHY or the MAC.
        offload: MacsecOffload as Wire::Word8(MacsecOffload::WORDS), 15 IFLA_MACSEC_OFFLOAD, None, "off";
    } };
}

pub(crate) use {
    with_bridge_options, with_bridge_port_options, with_geneve_options, with_gre_options, with_link_options,
    with_macsec_options, with_macvlan_options, with_vlan_options, with_vrf_options, with_vxlan_options,
};
