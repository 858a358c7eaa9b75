#!/usr/bin/env python3
"""Runs a command of the lab and watches the QEMU it starts: memory at its peak, and the files both have open.

  watch_guest.py LAB ARGUMENTS...
"""

import os
import subprocess
import sys
import time

INTERVAL_S = 0.002


def children(pid):
    try:
        with open(f"/proc/{pid}/task/{pid}/children", encoding="ascii") as file:
            return [int(child) for child in file.read().split()]
    except OSError:
        return []


def argument(pid, name):
    """The word after `name` on a command line."""
    try:
        with open(f"/proc/{pid}/cmdline", encoding="utf-8") as file:
            words = file.read().split("\0")
    except OSError:
        return None
    return words[words.index(name) + 1] if name in words else None


def open_file(pid, ending):
    try:
        for number in os.listdir(f"/proc/{pid}/fd"):
            path = os.readlink(f"/proc/{pid}/fd/{number}")
            if path.endswith(ending):
                return os.stat(f"/proc/{pid}/fd/{number}")
    except OSError:
        pass
    return None


def memory(pid):
    """Resident set and proportional set in bytes, as long as the process lives."""
    try:
        with open(f"/proc/{pid}/smaps_rollup", encoding="ascii") as file:
            lines = dict(line.split(":", 1) for line in file.readlines()[1:])
        return [int(lines[name].split()[0]) * 1024 for name in ("Rss", "Pss")]
    except (OSError, KeyError, ValueError):
        return [0, 0]


def row(name, size, more=""):
    print(f"{name:28}{size / 1e6:9.1f} MB{more}")


def main(command):
    lab = subprocess.Popen(command, stdout=subprocess.DEVNULL)
    peak, initramfs, saved = [0, 0], None, None
    while lab.poll() is None:
        for child in children(lab.pid):
            # `qemu --version` has none of these.
            if found := argument(child, "-initrd"):
                initramfs = found
                peak = [max(pair) for pair in zip(peak, memory(child))]
        saved = saved or open_file(lab.pid, ".machine")
        time.sleep(INTERVAL_S)
    if lab.returncode != 0 or not initramfs or not peak[0]:
        sys.exit(f"no guest was seen; the lab's exit code is {lab.returncode}")
    row("QEMU, resident", peak[0])
    row("QEMU, proportional", peak[1])
    row("initramfs", os.stat(initramfs).st_size)
    if saved:
        row("saved machine on disk", saved.st_blocks * 512, f" ({saved.st_size / 1e6:.1f} MB with its holes)")
    else:
        print("no saved machine was seen open: was this a cold boot?")


if len(sys.argv) < 2:
    sys.exit(__doc__)
main(sys.argv[1:])
