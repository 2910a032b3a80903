#!/usr/bin/env python3
"""How the time of hot paths is shared, out of folded stacks, as a table: `bench/profile.sh`.

  bench/shares.py DIRECTORY PATH…      reads DIRECTORY/PATH.folded

A sample belongs to the innermost of its frames that a row names; the allocator and copies of memory, only if the sample is in them
itself.
"""

import sys
from pathlib import Path

ROWS = [
    ("the kernel: sockets, waking others", ["_[k]"]),
    ("signing, SHA-256", ["sigv4", "sha2::", "hmac::", "digest::"]),
    ("JSON", ["aws_smithy_json", "serde_json", "protocol_serde", "base64"]),
    ("the SDK's own: configuration, endpoint, headers, orchestration", ["aws_smithy", "aws_sdk", "aws_runtime", "aws_credential", "aws_types"]),
    ("hyper and HTTP", ["hyper", "http::", "httparse", "h2::", "http_body"]),
    ("this project", ["aft_"]),
    ("tokio", ["tokio", "mio::"]),
]
MEMORY = ["malloc", "free", "realloc", "calloc", "memcpy", "memmove", "memset"]
ALLOCATOR = "allocation, copies of memory"
OTHER = "all else"


def row_of(stack):
    frames = stack.split(";")
    leaf = frames[-1]
    if leaf.endswith("_[k]"):
        return ROWS[0][0]
    if any(name in leaf for name in MEMORY):
        return ALLOCATOR
    for frame in reversed(frames):
        for row, names in ROWS[1:]:
            if any(name in frame for name in names):
                return row
    return OTHER


def shares(folded):
    counts = {}
    for line in folded.splitlines():
        stack, _, count = line.rpartition(" ")
        row = row_of(stack)
        counts[row] = counts.get(row, 0) + int(count)
    everything = sum(counts.values())
    return {row: 100 * count / everything for row, count in counts.items()}


def main():
    directory, *paths = sys.argv[1:]
    columns = [shares(Path(directory, f"{path}.folded").read_text()) for path in paths]
    print("| | " + " | ".join(f"[`{path}`](flame-{path}.svg)" for path in paths) + " |")
    print("|---|" + "---|" * len(paths))
    for row in [name for name, _ in ROWS] + [ALLOCATOR, OTHER]:
        print(f"| {row} | " + " | ".join(f"{column.get(row, 0):.0f} %" for column in columns) + " |")


if __name__ == "__main__":
    main()
