#!/usr/bin/env bash
# Gathers what a release consists of in target/dist, of what `make layer fault-manager` built: layer/dist.sh x86_64 arm64
#
#   aft-<architecture>.zip, aft-fault-manager-<architecture>.zip   the packages themselves
#   aft-sam.tar.gz    aft/: template.yaml and all that it deploys, built, for `sam build` without a compiler (docs/deploy.md)
#   aft-layer.cdx.json, aft-fault-manager.cdx.json                 what is in the binaries, as CycloneDX
#   LICENSE-MIT, LICENSE-APACHE, THIRD-PARTY.txt                   ours, and those of what is in the binaries
#   SHA256SUMS        of all these
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."

dist=target/dist stage=target/dist-sam
licences=(LICENSE-MIT LICENSE-APACHE layer/THIRD-PARTY.txt)
rm -rf "$dist" "$stage"
mkdir -p "$dist" "$stage/aft/layer"
for architecture; do
  for built in "target/layer/$architecture" "target/fault-manager/$architecture"; do
    [ -d "$built" ] || { echo "$built is missing: make layer fault-manager builds it" >&2 && exit 1; }
  done
  cp "target/layer/aft-$architecture.zip" "target/fault-manager/aft-fault-manager-$architecture.zip" "$dist"
  mkdir -p "$stage/aft/built/$architecture"
  cp -R "target/layer/$architecture" "$stage/aft/built/$architecture/AftLayer"
  cp -R "target/fault-manager/$architecture" "$stage/aft/built/$architecture/FaultManager"
done
cp -R layer/sam "$stage/aft/layer"
mv "$stage/aft/layer/sam/built.mk" "$stage/aft/Makefile"
mkdir -p "$stage/aft/examples/bank"
cp examples/bank/app.py "$stage/aft/examples/bank"
cp template.yaml "${licences[@]}" "$stage/aft"
# As layer/pack.py packs: names, bytes, what is executable.
tar --create --directory "$stage" --sort=name --mtime=@0 --owner=0 --group=0 --numeric-owner --mode=u=rwX,go=rX aft |
  gzip -9n >"$dist/aft-sam.tar.gz"
layer/bill.py sbom "$dist" >/dev/null
cp "${licences[@]}" "$dist"
(cd "$dist" && sha256sum -- * >SHA256SUMS && cat SHA256SUMS)
