#!/usr/bin/env bash
# Builds what runs on Lambda, for one architecture, lays it out as Lambda expects it, and packs it, reproducibly:
#
#   layer/build.sh layer | fault-manager | split  x86_64 | arm64
#
#   target/layer/<architecture>/            what is under /opt:
#     extensions/aft-extension                Lambda starts every file in here; an extension registers under its file's name
#     aft-runtime-shim                        AWS_LAMBDA_EXEC_WRAPPER=/opt/aft-runtime-shim
#     bootstrap                               what OS-only runtimes start instead, if the function's package has none (docs/platforms.md)
#     licenses/aft                            ours, and those of what the programs contain
#     python/aft, nodejs/node_modules/aft     the helper libraries: Lambda has these folders on the languages' search paths
#   target/layer/local/                     the same, of `local`: for `aft local --layer`
#   target/layer/aft-<architecture>.zip     the same, packed, and its SHA-256 beside it
#   target/fault-manager/<architecture>/bootstrap, target/fault-manager/aft-fault-manager-<architecture>.zip
#
# `split` builds the layer's programs with their symbols instead, and prints which dependency has how many of their bytes.
#
# Linked against the glibc of Amazon Linux 2, which newer ones serve, too. The same source and compiler give the same bytes,
# whoever builds them, where and when: docs/adr/0026-how-the-layer-is-built.md.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."

glibc=2.26

usage() { echo "usage: layer/build.sh layer | fault-manager | split  x86_64 | arm64, or layer/build.sh local" >&2 && exit 1; }

copy() { # A helper library, without what only its developers need.
  mkdir -p "$2"
  cp -R "$1/." "$2"
  find "$2" -name __pycache__ -prune -exec rm -r {} +
  find "$2" -type f -exec chmod 644 {} +
}

lay_out() { # BINARIES STAGE
  rm -rf "$2"
  mkdir -p "$2/extensions"
  install -m 755 "$1/aft-extension" "$2/extensions"
  install -m 755 "$1/aft-runtime-shim" layer/bootstrap "$2"
  copy layer/python/aft "$2/python/aft"
  copy layer/nodejs/aft "$2/nodejs/node_modules/aft"
  mkdir -p "$2/licenses/aft"
  install -m 644 LICENSE-APACHE LICENSE-MIT layer/THIRD-PARTY.txt "$2/licenses/aft"
}

what=${1:-} architecture=${2:-}
case $what in
  layer | split) packages=(aft-extension aft-runtime-shim) ;;
  fault-manager) packages=(aft-fault-manager) ;;
  local)
    # By themselves, so that no other crate's features leak in.
    cargo build --release -p aft-extension -p aft-runtime-shim
    lay_out target/release target/layer/local
    exit
    ;;
  *) usage ;;
esac
case $architecture in
  x86_64) machine=x86_64 ;;
  arm64) machine=aarch64 ;;
  *) usage ;;
esac
target=$machine-unknown-linux-gnu
# A directory of its own: these flags and, for the other architecture, perhaps another compiler.
built=$PWD/target/portable
stage=target/$what/$architecture

zig=$(tests/tools.sh zig)
if [ "$(uname -s)-$(uname -m | sed s/arm64/aarch64/)" = "Linux-$machine" ]; then
  RUSTC=$(rustc --print sysroot)/bin/rustc
else
  RUSTC=$(tests/tools.sh cross-rust)/bin/rustc
fi
export RUSTC
echo "$what for $architecture: $("$RUSTC" --version), zig $("$zig/zig/zig" version)"

# No path of this machine gets into the binaries: not the checkout's, not those of the crates (whose folder is named after
# the registry), and not the standard library's, which are there only if its sources are installed.
cargo fetch --locked --quiet --target "$target"
remapped=("$PWD=/aft")
for crates in "${CARGO_HOME:-$HOME/.cargo}"/registry/src/*; do remapped+=("$crates=/crates"); done
remapped+=("$("$RUSTC" --print sysroot)/lib/rustlib/src/rust=/rustc/$("$RUSTC" -vV | sed -n 's/^commit-hash: //p')")
CARGO_ENCODED_RUSTFLAGS=$(printf -- '--remap-path-prefix=%s\x1f' "${remapped[@]}")
export CARGO_ENCODED_RUSTFLAGS=${CARGO_ENCODED_RUSTFLAGS%$'\x1f'}

# zig compiles the C code and links.
zigbuild() {
  CARGO_TARGET_DIR=$built CARGO_ZIGBUILD_ZIG_PATH=$zig/zig/zig CARGO_ZIGBUILD_CACHE_DIR=$built/zigbuild ZIG_GLOBAL_CACHE_DIR=$built/zig \
    "$zig/cargo-zigbuild" "$1" --locked --release --target "$target.$glibc" "${@:2}"
}

if [ "$what" = split ]; then
  mkdir -p "$stage"
  for package in "${packages[@]}"; do
    zigbuild rustc --package="$package" --bin="$package" -- -C strip=none
    cp "$built/$target/release/$package" "$stage"
  done
  exec layer/split.py "${packages[@]/#/$stage/}"
fi

zigbuild zigbuild "${packages[@]/#/--package=}"

case $what in
  layer)
    zip=target/layer/aft-$architecture.zip
    lay_out "$built/$target/release" "$stage"
    ;;
  fault-manager)
    zip=target/fault-manager/aft-fault-manager-$architecture.zip
    rm -rf "$stage"
    install -D -m 755 "$built/$target/release/aft-fault-manager" "$stage/bootstrap"
    ;;
esac
layer/pack.py "$stage" "$zip"
