#!/usr/bin/env bash
# Builds the layer here, and once more as somebody else would: at another path, with another home and another folder for
# Cargo's downloads, other file times, time zone and default permissions. The zips must be the same, byte for byte.
#
#   layer/reproducible.sh x86_64 | arm64…
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."

# Where Rust is, said before HOME changes; and what Cargo has downloaded, which the other one unpacks by himself.
cargo_home=${CARGO_HOME:-$HOME/.cargo}
export RUSTUP_HOME=${RUSTUP_HOME:-$HOME/.rustup}

elsewhere=$(mktemp -d)
trap 'rm -rf "$elsewhere"' EXIT
mkdir -p "$elsewhere"/{home,cargo/registry} "$elsewhere/a/longer path/to/aft"
git ls-files -z --cached --others --exclude-standard | tar --null --no-recursion --files-from=- --create |
  tar --extract --touch --directory="$elsewhere/a/longer path/to/aft"
for part in config.toml registry/index registry/cache; do
  if [ -e "$cargo_home/$part" ]; then cp -R "$cargo_home/$part" "$elsewhere/cargo/$part"; fi
done
# Tools are the same, and pinned.
if [ -d .cache ]; then ln -s "$(cd .cache && pwd -P)" "$elsewhere/a/longer path/to/aft/.cache"; fi

for architecture; do
  layer/build.sh layer "$architecture"
  (
    cd "$elsewhere/a/longer path/to/aft"
    umask 077
    HOME=$elsewhere/home CARGO_HOME=$elsewhere/cargo TZ=Pacific/Kiritimati layer/build.sh layer "$architecture"
  )
  cmp "target/layer/aft-$architecture.zip" "$elsewhere/a/longer path/to/aft/target/layer/aft-$architecture.zip"
  echo "The same bytes in both places: aft-$architecture.zip, $(cut -d ' ' -f 1 "target/layer/aft-$architecture.zip.sha256")"
done
