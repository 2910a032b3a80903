#!/usr/bin/env bash
# Lays out the layer and zips it: target/layer/aft-<architecture>.zip.
#
#   extensions/aft-extension   Lambda starts every file in /opt/extensions; an extension registers under its file name
#   aft-runtime-shim           AWS_LAMBDA_EXEC_WRAPPER=/opt/aft-runtime-shim
#   bootstrap                  what OS-only runtimes start instead, if the function's package has no bootstrap (docs/platforms.md)
#
# Binaries are linked statically, so that they run on Amazon Linux 2 and 2023 alike. The same source gives the same zip:
# file times are fixed and the order is alphabetical.
set -euo pipefail
cd "$(dirname "$0")/.."

architecture=$(uname -m)
target=$architecture-unknown-linux-gnu
stage=target/layer/$architecture
zip=target/layer/aft-$architecture.zip

RUSTFLAGS="-C target-feature=+crt-static" cargo build --release --target "$target" -p aft-extension -p aft-runtime-shim
rm -rf "$stage" "$zip"
install -D -m 755 "target/$target/release/aft-extension" "$stage/extensions/aft-extension"
install -D -m 755 "target/$target/release/aft-runtime-shim" "$stage/aft-runtime-shim"
install -m 755 layer/bootstrap "$stage/bootstrap"
command -v python3 >/dev/null || { echo "python3 is missing: it writes the zip" >&2; exit 1; }
python3 - "$stage" "$zip" <<'PY'
import os, sys, zipfile

stage, target = sys.argv[1:]
files = sorted(os.path.join(folder, name) for folder, _, names in os.walk(stage) for name in names)
with zipfile.ZipFile(target, "w", zipfile.ZIP_DEFLATED, compresslevel=9) as archive:
    for path in files:
        entry = zipfile.ZipInfo(os.path.relpath(path, stage), date_time=(1980, 1, 1, 0, 0, 0))
        entry.external_attr = 0o100755 << 16
        entry.compress_type = zipfile.ZIP_DEFLATED
        with open(path, "rb") as file:
            archive.writestr(entry, file.read())
PY
ls -l "$zip"
