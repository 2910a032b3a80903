#!/usr/bin/env python3
"""Where the bytes of a program come from, by crate: layer/split.py PROGRAM… (not stripped; `make layer-split` builds them)

A symbol counts for the first crate in its demangled name that is not the standard library: what is generic counts for the
crate that it was made for, if it is the standard library's, and for the crate that wrote it otherwise. What has no symbol
(strings, tables of the unwinder and of the dynamic linker) counts by section. Needs `nm` and `readelf`.
"""

import re
import subprocess
import sys
from collections import Counter

STANDARD = {"core", "alloc", "std"}
# One line each in the table; what is not listed is listed by itself, or as one of the others if it is small.
GROUPS = {
    "AWS's SDK for DynamoDB": r"aws_sdk_dynamodb",
    "AWS's SDK, what all services share": r"aws_\w+",
    "TLS: rustls, ring, webpki, roots": r"rustls\w*|ring|webpki\w*|untrusted|tokio_rustls",
    "HTTP: hyper, h2, http": r"hyper\w*|h2|http\w*|httparse|want|tower\w*",
    "tokio": r"tokio|mio|tokio_util|socket2|signal_hook_registry|parking_lot\w*|futures\w*",
    "JSON: serde": r"serde\w*|itoa|ryu|zmij",
    "URLs: url, idna, icu": r"url|idna\w*|icu_\w+|form_urlencoded|percent_encoding|zerovec|yoke|zerotrie|litemap|utf8_iter|potential_utf|writeable|tinystr",
    "logging: tracing": r"tracing\w*|sharded_slab|thread_local|lazy_static",
    "JMESPath": r"jmespath",
    "AFT": r"aft_\w+",
    "C: start and unwinding": r"libunwind",
    "the standard library": r"core|alloc|std|hashbrown|rustc_demangle|gimli|addr2line|miniz_oxide|memchr|object",
}
SMALL = 10_000


def run(*command):
    return subprocess.run(command, check=True, capture_output=True, text=True).stdout


def crate(symbol):
    """The crate of a demangled name; None if it is not Rust's."""
    if symbol.startswith(("ring_core_", "ecp_nistz256_")):
        return "ring"
    names = re.findall(r"(?<![\w:])([a-z_][a-z0-9_]*)(?:\[[0-9a-f]+\])?::", symbol)
    return next((name for name in names if name not in STANDARD), names[0] if names else None)


def group(name):
    if name is None:
        return "C: start and unwinding"
    return next((title for title, names in GROUPS.items() if re.fullmatch(names, name)), name)


def sections(program):
    """Name, address and size of what is in the file and loaded."""
    line = re.compile(r"\[ *\d+\] (\S+) +(\S+) +([0-9a-f]+) +[0-9a-f]+ +([0-9a-f]+) +\S+ +(\S*A\S*) ")
    for name, kind, address, size, _ in line.findall(run("readelf", "-SW", program)):
        if kind != "NOBITS":
            yield name, int(address, 16), int(size, 16)


def split(program):
    spans = list(sections(program))
    shares, named, end = Counter(), Counter(), 0
    for line in run("nm", "-n", "-S", "-C", "--defined-only", program).splitlines():
        fields = line.split(maxsplit=3)
        if len(fields) < 4 or not re.fullmatch("[0-9a-f]+", fields[1]):
            continue  # no size
        address, size, symbol = int(fields[0], 16), int(fields[1], 16), fields[3]
        section = next((name for name, start, length in spans if start <= address < start + length), None)
        # Several names of the same bytes count once.
        size = max(0, address + size - max(address, end))
        end = max(end, address + size)
        if section is not None:
            shares[group(crate(symbol))] += size
            named[section] += size
    for name, _, size in spans:
        what = {".rodata": "constants without a name: strings and tables", ".eh_frame": "tables of the unwinder",
                ".eh_frame_hdr": "tables of the unwinder", ".gcc_except_table": "tables of the unwinder",
                ".rela.dyn": "relocations", ".relr.dyn": "relocations"}
        shares[what.get(name, "pointers, padding and the rest")] += size - named[name]
    return shares


def main(programs):
    columns = [split(program) for program in programs]
    rows = {}
    for title in set().union(*columns):
        sizes = [column[title] for column in columns]
        row = title if sum(sizes) >= SMALL else "others"
        rows[row] = [a + b for a, b in zip(rows.get(row, [0] * len(columns)), sizes)]
    rows["together"] = [sum(column.values()) for column in columns]
    print("| what |" + "".join(f" {program.rsplit('/', 1)[-1]} |" for program in programs))
    print("|---|" + "---:|" * len(programs))
    for title, sizes in sorted(rows.items(), key=lambda row: (row[0] == "together", row[0] == "others", -sum(row[1]))):
        print(f"| {title} |" + "".join(f" {size:,} |" for size in sizes))


if __name__ == "__main__":
    if len(sys.argv) < 2:
        sys.exit(__doc__.split("\n", maxsplit=1)[0])
    main(sys.argv[1:])
