#!/usr/bin/env bash
# Flame graphs of the layer's hot paths, docs/bench/flame-PATH.svg; and how the time is shared, as the table of docs/benchmarks.md.
#
#   bench/profile.sh          as `make profile`; needs Linux and perf, as root or with kernel.perf_event_paranoid at 1 or less
#
# The programs are built as they ship, but with symbols and frame pointers, and nothing of that is shipped.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."

command -v perf >/dev/null || { echo "perf is missing: install linux-perf (Debian) or linux-tools (Ubuntu)" >&2; exit 3; }
version=0.12.4
inferno=.cache/inferno-$version
[ -x "$inferno/bin/inferno-flamegraph" ] || cargo install inferno --version "$version" --locked --root "$inferno" --no-default-features --features cli

built=target/profile
CARGO_PROFILE_RELEASE_STRIP=none CARGO_PROFILE_RELEASE_DEBUG=line-tables-only RUSTFLAGS="-C force-frame-pointers=yes" \
  cargo build --release -p aft-extension -p aft-runtime-shim --target-dir "$built"
cargo build --release -p aft-bench --bins

draw() { # PATH TIMES COMMAND TITLE
  perf=$built/$1.data
  target/release/hot-path "$built/release" "$1" "$2" "$(command -v perf)" record --quiet --freq 4999 --call-graph fp --output "$perf" --
  perf script --input "$perf" --comm "$3" --no-inline 2>/dev/null | "$inferno/bin/inferno-collapse-perf" --all >"$built/$1.folded"
  "$inferno/bin/inferno-flamegraph" --title "$4" --minwidth 0.3 --deterministic "$built/$1.folded" >"docs/bench/flame-$1.svg"
}

mkdir -p docs/bench
draw put 100000 aft-extension "PUT of 1 KB to the write buffer: aft-extension"
draw get 100000 aft-extension "GET of 1 KB from the write buffer: aft-extension"
draw transaction-write-1 4000 aft-extension "A transaction that writes one key: aft-extension"
draw transaction-write-10 1000 aft-extension "A transaction that writes ten keys: aft-extension"
draw invocation 10000 aft-runtime-shi "One invocation of 1 KB: aft-runtime-shim"
bench/shares.py "$built" put get transaction-write-1 transaction-write-10 invocation
