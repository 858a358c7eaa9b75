#!/usr/bin/env python3
"""Which kernels take each option of links: a link for each, with a value that is not the default.

Usage: bench/link-options.py LAB KERNEL,KERNEL...

The lines of lab/core/report/reference/kernels.txt are printed: a kernel is in a line if the option was read back there as it was asked
for. A kernel that does not know an attribute takes it without a word, and does not show it.
"""

import json
import re
import subprocess
import sys
import tempfile

# A Geneve tunnel binds its local address when it is set up, before the cable has its own.
CABLE = """[ns.node]
sysctl = { "net.ipv4.ip_nonlocal_bind" = 1, "net.ipv6.ip_nonlocal_bind" = 1 }
[ns.node.veth.p0]
peer = "far:p0"
addresses = ["192.0.2.1/24", "2001:db8::1/64"]
[ns.far.veth.p0]
peer = "node:p0"
addresses = ["192.0.2.2/24", "2001:db8::2/64"]
"""
MACSEC_KEY = "00112233445566778899aabbccddeeff"


def of_every_link():
    dummy = {
        "numtxqueues": "4", "numrxqueues": "4", "gso_max_size": "40000", "gso_max_segs": "100",
        "gro_max_size": "40000", "gso_ipv4_max_size": "40000", "gro_ipv4_max_size": "40000", "group": "7",
        "broadcast": '"ff:ff:ff:ff:ff:fe"', "link_mode": '"dormant"', "arp": "false", "multicast": "false",
        "allmulticast": "true", "promisc": "true", "carrier": "false",
    }  # fmt: skip
    for key, value in dummy.items():
        yield key, f"[ns.node.dummy.d@]\n{key} = {value}\n"
    yield "proto_down", '[ns.node.dummy.d@]\n[ns.node.macvlan.m@]\nparent = "d@"\nproto_down = true\n'
    # A device with NAPI of its own (gro_cells_init()).
    yield "threaded", '[ns.node.gretap.q@]\nremote = "192.0.2.2"\nthreaded = true\n'
    yield "speed", "[ns.node.tap.t@]\nspeed = 2500\n"


def of_vlans():
    values = {
        "reorder_hdr": "false", "gvrp": "true", "loose_binding": "true", "mvrp": "true",
        "ingress_qos_map": '{ "1" = 4 }', "egress_qos_map": '{ "1" = 4 }',
    }  # fmt: skip
    for key, value in values.items():
        yield key, f'[ns.node.vlan.v@]\nparent = "p0"\nid = 1@\n{key} = {value}\n'
    bridge = "[ns.node.bridge.b@]\nvlan_filtering = true\n"
    yield "bridge_binding", bridge + '[ns.node.vlan.v@]\nparent = "b@"\nid = 9\nbridge_binding = true\n'


def of_bridges():
    values = {
        "forward_delay": "1000", "hello_time": "300", "max_age": "1500", "ageing_time": "20000",
        "stp_state": "true", "priority": "4096", "vlan_protocol": '"802.1ad"', "group_fwd_mask": "8",
        "group_address": '"01:80:c2:00:00:08"', "mcast_router": '"permanent"', "mcast_snooping": "false",
        "mcast_query_use_ifaddr": "true", "mcast_querier": "true", "mcast_hash_max": "1024",
        "mcast_last_member_count": "3", "mcast_startup_query_count": "3", "mcast_last_member_interval": "200",
        "mcast_membership_interval": "20000", "mcast_querier_interval": "20000",
        "mcast_query_interval": "10000", "mcast_query_response_interval": "500",
        "mcast_startup_query_interval": "3000", "nf_call_iptables": "true", "nf_call_ip6tables": "true",
        "nf_call_arptables": "true", "vlan_default_pvid": "7", "vlan_stats_enabled": "true",
        "mcast_stats_enabled": "true", "mcast_igmp_version": "3", "mcast_mld_version": "2",
        "vlan_stats_per_port": "true", "no_linklocal_learn": "true", "mst_enabled": "true",
        "mdb_offload_fail_notification": "true", "fdb_local_vlan_0": "true", "fdb_max_learned": "100",
        "stp_mode": '"kernel"',
    }  # fmt: skip
    for key, value in values.items():
        yield key, f"[ns.node.bridge.b@]\n{key} = {value}\n"
    yield "mcast_vlan_snooping", "[ns.node.bridge.b@]\nvlan_filtering = true\nmcast_vlan_snooping = true\n"


def of_ports_of_bridges():
    values = {
        "priority": "16", "cost": "7", "hairpin": "true", "guard": "true", "root_block": "true",
        "fastleave": "true", "learning": "false", "flood": "false", "proxy_arp": "true",
        "proxy_arp_wifi": "true", "mcast_router": '"permanent"', "mcast_flood": "false",
        "mcast_to_unicast": "true", "vlan_tunnel": "true", "bcast_flood": "false", "group_fwd_mask": "8",
        "neigh_suppress": "true", "isolated": "true", "mcast_eht_hosts_limit": "64", "locked": "true",
        "mab": "true\nlocked = true", "mcast_max_groups": "9", "neigh_vlan_suppress": "true",
        "neigh_forward_grat": "true",
    }  # fmt: skip
    for key, value in values.items():
        bridge = '[ns.node.bridge.b@]\nports = ["d@"]\n[ns.node.bridge.b@.port.d@]\n'
        yield key, f"[ns.node.dummy.d@]\n{bridge}{key} = {value}\n"


def of_macvlans():
    values = {
        "nopromisc": ("passthru", "true"), "nodst": ("source", "true"), "bclim": ("bridge", "5"),
        "source_addresses": ("source", '["02:00:5e:00:53:09"]'), "bcqueuelen": ("bridge", "2000"),
    }  # fmt: skip
    for key, (mode, value) in values.items():
        yield key, f'[ns.node.dummy.d@]\n[ns.node.macvlan.m@]\nparent = "d@"\nmode = "{mode}"\n{key} = {value}\n'


def of_vrfs():
    yield "table", "[ns.node.vrf.v@]\ntable = 9\n"


def of_vxlans():
    values = {
        "id": "42", "remote": '"192.0.2.2"', "remote6": '"2001:db8::2"', "local": '"192.0.2.1"',
        "local6": '"2001:db8::1"', "ttl": "9", "ttl_inherit": "true", "tos": "4",
        "label": '77\nremote6 = "2001:db8::2"', "label_policy": '"inherit"\nremote6 = "2001:db8::2"',
        "learning": "false", "ageing": "100", "maxaddress": "9", "proxy": "true", "rsc": "true",
        "l2miss": "true", "l3miss": "true", "dstport": "4789", "srcport": '"30000-31000"', "udpcsum": "false",
        "udp6zerocsumtx": "true", "udp6zerocsumrx": "true", "remcsumtx": "true", "remcsumrx": "true",
        "remcsum_nopartial": "true\nremcsumrx = true", "gbp": "true", "gpe": "true\nexternal = true\nlearning = false",
        "external": "true", "df": '"set"', "localbypass": 'false\nremote = "192.0.2.2"',
        "vnifilter": "true\nexternal = true",
    }  # fmt: skip
    for key, value in values.items():
        number = "" if key == "id" or "external" in f"{key}{value}" else "id = 1@\n"
        number += "" if key == "dstport" else "dstport = 50@\n"
        yield key, f"[ns.node.vxlan.x@]\n{number}{key} = {value}\n"


def of_geneve_tunnels():
    values = {
        "id": "43", "remote": '"192.0.2.2"', "remote6": '"2001:db8::2"', "local": '"192.0.2.1"',
        "local6": '"2001:db8::1"', "ttl": "9", "ttl_inherit": "true", "tos": "4", "label": "77",
        "df": '"set"', "dstport": "7000", "srcport": '"30000-31000"', "udpcsum": "true",
        "udp6zerocsumtx": "true", "udp6zerocsumrx": "true", "external": "true",
        "gro_hint": "true",
    }  # fmt: skip
    for key, value in values.items():
        is_v6 = key in ("remote6", "local6", "label", "udp6zerocsumtx", "udp6zerocsumrx")
        other = 'remote6 = "2001:db8::2"\n' if is_v6 else 'remote = "192.0.2.2"\n'
        other = "" if key in ("remote", "remote6", "external") else other
        number = "" if key in ("id", "external") else "id = 1@\n"
        number += "" if key == "dstport" else "dstport = 70@\n"
        yield key, f"[ns.node.geneve.g@]\n{number}{other}{key} = {value}\n"


def of_gre_tunnels():
    values = {
        "key": "77", "icsum": "true", "ocsum": "true", "iseq": "true", "oseq": "true",
        "local": '"192.0.2.1"', "remote": '"192.0.2.2"', "ttl": "9", "tos": "4", "pmtudisc": "false",
        "ignore_df": "true\npmtudisc = false", "fwmark": "5", "external": "true",
    }  # fmt: skip
    for key, value in values.items():
        other = "" if key in ("remote", "external") else 'remote = "192.0.2.2"\n'
        other += "" if key in ("key", "external") else "key = 1@\n"
        yield key, f"[ns.node.gretap.g@]\n{other}{key} = {value}\n"


def of_macsec_devices():
    values = {
        "port": "7", "icvlen": "12", "cipher": '"gcm-aes-256"', "window": "32\nreplay = true",
        "encodingsa": "1", "encrypt": "true", "protect": "false", "send_sci": "false",
        "end_station": "true\nsend_sci = false", "scb": "true\nsend_sci = false",
        "replay": "true\nwindow = 32", "validate": '"check"', "offload": '"off"',
    }  # fmt: skip
    for key, value in values.items():
        secret = MACSEC_KEY * (2 if key == "cipher" else 1)
        port = "" if key == "port" else "port = 1@\n"
        both = f'parent = "p0"\nkey = "{secret}"\n{port}'
        cipher = 'cipher = "gcm-aes-256"\n' if key == "cipher" else ""
        far = f'[ns.far.macsec.m@]\npeer = "node:m@"\n{both}{cipher}'
        yield key, f'[ns.node.macsec.m@]\npeer = "far:m@"\n{both}{key} = {value}\n{far}'


def of_bonds():
    """By the attribute, its mode, the lines of the bond, and those of its port."""
    arp = 'arp_interval = 100\narp_ip_target = ["192.0.2.9"]\n'
    ab, lacp = "active-backup", "802.3ad"
    rows = {
        "MODE": (ab, ""), "MIIMON": (ab, "miimon = 50"), "UPDELAY": (ab, "miimon = 50\nupdelay = 100"),
        "DOWNDELAY": (ab, "miimon = 50\ndowndelay = 100"), "USE_CARRIER": (ab, "miimon = 50\nuse_carrier = true"),
        "ARP_INTERVAL": (ab, arp), "ARP_IP_TARGET": (ab, arp),
        "NS_IP6_TARGET": (ab, 'arp_interval = 100\nns_ip6_target = ["2001:db8::9"]'),
        "MISSED_MAX": (ab, arp + "arp_missed_max = 4"), "ARP_VALIDATE": (ab, arp + 'arp_validate = "all"'),
        "ARP_ALL_TARGETS": (ab, arp + 'arp_all_targets = "all"'), "PRIMARY": (ab, 'primary = "d@"'),
        "PRIMARY_RESELECT": (ab, 'primary = "d@"\nprimary_reselect = "better"'),
        "ACTIVE_SLAVE": (ab, 'active_slave = "d@"'), "FAIL_OVER_MAC": (ab, 'fail_over_mac = "active"'),
        "XMIT_HASH_POLICY": ("balance-xor", 'xmit_hash_policy = "layer3+4"'), "RESEND_IGMP": (ab, "resend_igmp = 5"),
        "AD_LACP_RATE": (lacp, 'lacp_rate = "fast"'), "AD_LACP_ACTIVE": (lacp, "lacp_active = false"),
        "LACP_STRICT": (lacp, "lacp_strict = true"), "AD_SELECT": (lacp, 'ad_select = "bandwidth"'),
        "AD_ACTOR_SYS_PRIO": (lacp, "ad_actor_sys_prio = 100"),
        "AD_ACTOR_SYSTEM": (lacp, 'ad_actor_system = "02:00:5e:00:53:77"'),
        "AD_USER_PORT_KEY": (lacp, "ad_user_port_key = 12"), "COUPLED_CONTROL": (lacp, "coupled_control = false"),
        "BROADCAST_NEIGH": (lacp, "broadcast_neighbor = true"), "MIN_LINKS": (lacp, "min_links = 1"),
        "ALL_SLAVES_ACTIVE": (ab, "all_slaves_active = true"),
        "TLB_DYNAMIC_LB": ("balance-tlb", "tlb_dynamic_lb = false"), "LP_INTERVAL": ("balance-tlb", "lp_interval = 4"),
        "PACKETS_PER_SLAVE": ("balance-rr", "packets_per_slave = 7"), "NUM_PEER_NOTIF": (ab, "num_grat_arp = 3"),
        "PEER_NOTIF_DELAY": (ab, "miimon = 50\npeer_notif_delay = 100"),
        "SLAVE_QUEUE_ID": (ab, "", "queue_id = 2"), "SLAVE_PRIO": (ab, "", "prio = -7"),
        "SLAVE_ACTOR_PORT_PRIO": (lacp, "", "actor_port_prio = 100"),
    }  # fmt: skip
    for key, (mode, lines, *of_port) in rows.items():
        miimon = "" if "miimon" in lines or "arp" in lines else "miimon = 100\n"
        bond = f'[ns.node.dummy.d@]\n[ns.node.bond.b@]\nmode = "{mode}"\nports = ["d@"]\n{miimon}{lines}\n'
        port = "".join(f"[ns.node.bond.b@.port.d@]\n{line}\n" for line in of_port)
        yield f"IFLA_BOND_{key}", bond + port


KINDS = {
    "": of_bonds,
    "every link": of_every_link, "VLANs": of_vlans, "bridges": of_bridges,
    "ports of bridges": of_ports_of_bridges, "macvlans": of_macvlans, "VRFs": of_vrfs, "VXLANs": of_vxlans,
    "Geneve tunnels": of_geneve_tunnels, "GRE tunnels": of_gre_tunnels, "MACsec devices": of_macsec_devices,
}  # fmt: skip


def number(text, at):
    """The text of an option with names, numbers and ports that no other option has."""
    return text.replace("@", f"{at:02}")


def run(lab, kernel, text):
    """What stood in the way, as the lab has it; nothing where every option was read back as it was asked for."""
    with tempfile.NamedTemporaryFile("w", suffix=".toml", encoding="utf-8") as file:
        file.write(text)
        file.flush()
        command = [lab, "run", file.name, "--kernel", kernel, "--format", "json"]
        output = subprocess.run(command, stdout=subprocess.PIPE, check=False).stdout
    document = json.loads(output)
    if document["outcome"] == "pass":
        return ""
    return "; ".join(check["observed"] for check in document["checks"] if check["outcome"] != "pass")


def measure(lab, kernel, make):
    """The options of a kind that a kernel takes. Those that it refuses are taken away one after another."""
    left = {key: number(text, at) for at, (key, text) in enumerate(make(), start=1)}
    places = {f"{at:02}": key for at, (key, _) in enumerate(make(), start=1)}
    while left:
        why = run(lab, kernel, CABLE + "".join(left.values()))
        if not why:
            break
        named = {places[at] for at in re.findall(r"(?:node|far):[a-z](\d\d)\b", why)} & left.keys()
        if not named:
            sys.exit(f"{kernel}: {why}")
        print(f"{kernel}: without {', '.join(sorted(named))}: {why[:300]}", file=sys.stderr)
        for key in named:
            del left[key]
    return left.keys()


def main():
    lab, kernels = sys.argv[1], sys.argv[2].split(",")
    for of, make in KINDS.items():
        taken = {kernel: measure(lab, kernel, make) for kernel in kernels}
        for key, _ in make():
            print(f"{of and of + ', '}{key}: {' '.join(kernel for kernel in kernels if key in taken[kernel])}".rstrip())
        sys.stdout.flush()


if __name__ == "__main__":
    main()
