#!/usr/bin/env bash
# Fuzzes the parsers of bytes from outside with libFuzzer: docs/fuzzing.md.
#
#   proof/fuzz/fuzz.sh [TARGET [SECONDS]]    one target, or all of them in turn; 60 seconds each
#
# What is new is kept in target/fuzz/corpus, what breaks a property in target/fuzz/artifacts. `proof/fuzz/fuzz.sh TARGET FILE`
# runs one file.
set -euo pipefail

root=$(cd "$(dirname "${BASH_SOURCE[0]}")/../.." && pwd)
here=$root/proof/fuzz
version=0.13.2
tool=$root/.cache/cargo-fuzz-$version

command -v c++ >/dev/null || { echo "c++ is missing: libFuzzer is built with it" >&2; exit 3; }
if [ ! -x "$tool/bin/cargo-fuzz" ]; then
  cargo install cargo-fuzz --version "$version" --locked --root "$tool"
fi

# Safe Rust has nothing for AddressSanitizer to find, and runs faster without it; nor does that take a nightly compiler.
export CARGO_TARGET_DIR=$root/target/fuzz
fuzz() { # COMMAND TARGET [ARGUMENT…]
  "$tool/bin/cargo-fuzz" "$1" --fuzz-dir "$here/targets" --sanitizer none "${@:2}"
}

seconds=${2:-60}
if [ -f "$seconds" ]; then fuzz run "$1" "$seconds" && exit; fi
for target in ${1:-$(sed -n 's/^name = "\([a-z_]*\)"$/\1/p' "$here/targets/Cargo.toml")}; do
  found=$root/target/fuzz/corpus/$target artifacts=$root/target/fuzz/artifacts/$target/
  mkdir -p "$found" "$artifacts"
  seeds=("$here/corpus/$target")
  # The samples of every event source, which the shim's own tests have.
  if [ "$target" = event ]; then seeds+=("$root/runtime-shim/tests/events"); fi
  echo "$target: $seconds s" >&2
  fuzz run "$target" "$found" "${seeds[@]}" -- -max_total_time="$seconds" -dict="$here/dictionaries/$target.dict" \
    -max_len=8192 -timeout=20 -rss_limit_mb=2048 -print_final_stats=1 -artifact_prefix="$artifacts"
done
