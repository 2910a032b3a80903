#!/usr/bin/env python3
"""Packs a folder reproducibly, and writes the archive's SHA-256 beside it: layer/pack.py FOLDER ZIP

Of a file only its name, its bytes and whether it is executable get into the archive: no time, no owner, no other bit of its
mode, and the order is that of the names. What zlib makes of the bytes is its own affair: zlib-ng, which some builds of Python
use instead, packs the same files into other bytes.
"""

import hashlib
import os
import stat
import sys
import zipfile


def files(folder):
    """Paths within the folder, in the order of their names, whatever the file system's order."""
    found = [os.path.join(where, name) for where, _, names in os.walk(folder) for name in names]
    return sorted(os.path.relpath(path, folder).replace(os.sep, "/") for path in found)


def pack(folder, target):
    with zipfile.ZipFile(target, "w", zipfile.ZIP_DEFLATED, compresslevel=9) as archive:
        for name in files(folder):
            path = os.path.join(folder, name)
            # The earliest that the format can say.
            entry = zipfile.ZipInfo(name, date_time=(1980, 1, 1, 0, 0, 0))
            entry.create_system = 3  # Unix, on any machine: without it the mode says nothing
            executable = os.stat(path).st_mode & stat.S_IXUSR
            entry.external_attr = (stat.S_IFREG | (0o755 if executable else 0o644)) << 16
            entry.compress_type = zipfile.ZIP_DEFLATED
            with open(path, "rb") as file:
                archive.writestr(entry, file.read())


def main(folder, target):
    pack(folder, target)
    with open(target, "rb") as file:
        digest = hashlib.sha256(file.read()).hexdigest()
    with open(target + ".sha256", "w") as file:
        file.write(f"{digest}  {os.path.basename(target)}\n")
    unpacked = sum(os.path.getsize(os.path.join(folder, name)) for name in files(folder))
    print(f"{target}: {os.path.getsize(target):,} bytes, unpacked {unpacked:,}; SHA-256 {digest}")


if __name__ == "__main__":
    if len(sys.argv) != 3:
        sys.exit(__doc__.split("\n", maxsplit=1)[0])
    main(*sys.argv[1:])
