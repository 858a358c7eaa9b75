#!/usr/bin/env python3
"""Downloads a package that kernels.toml pins, and checks it.

  fetch_package.py KERNELS.TOML PACKAGE FILE

The mirror is LAB_MIRROR, else the one apt is configured with.
"""

import hashlib
import os
import subprocess
import sys
import tomllib
import urllib.request


def mirror(archive):
    if given := os.environ.get("LAB_MIRROR"):
        return given.rstrip("/")
    targets = subprocess.run(["apt-get", "indextargets", "--format", "$(REPO_URI)"], capture_output=True, text=True)
    known = [uri.rstrip("/") for uri in targets.stdout.split()]
    found = [uri for uri in known if uri.rsplit("/", 1)[-1] == archive]
    return found[0] if found else sys.exit("no Debian mirror is known on this machine: set LAB_MIRROR to one")


def main(pins, name, target):
    with open(pins, "rb") as file:
        kernels = tomllib.load(file)["kernel"]
    pinned = [(kernel, package) for kernel in kernels for package in kernel["packages"] if package["package"] == name]
    if not pinned:
        sys.exit(f"{pins} pins no package {name}")
    kernel, package = pinned[0]
    print(f"fetching {name} ({package['size'] // 1_000_000} MB)", file=sys.stderr)
    digest = hashlib.sha256()
    with urllib.request.urlopen(f"{mirror(kernel['archive'])}/{package['path']}") as source, open(target, "wb") as copy:
        while chunk := source.read(1 << 20):
            digest.update(chunk)
            copy.write(chunk)
    if digest.hexdigest() != package["sha256"]:
        sys.exit(f"{name} is not the package that was pinned: its SHA-256 is {digest.hexdigest()}")


if len(sys.argv) != 4:
    sys.exit(__doc__)
main(*sys.argv[1:])
