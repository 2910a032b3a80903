#!/usr/bin/env bash
# What CHANGELOG.md says of a version, for its release: layer/release-notes.sh v0.1.0
#
# Fails, in one line, if that is not the workspace's version or if the changelog has no section for it.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."

tag=${1:?the tag is missing}
version=$(sed -n '/^\[workspace.package\]/,/^\[/s/^version = "\(.*\)"/\1/p' Cargo.toml)
[ "$tag" = "v$version" ] || { echo "$tag is not v$version, the version in Cargo.toml" >&2 && exit 1; }
notes=$(awk -v heading="## $version " 'index($0 " ", heading) == 1 { inside = 1; next } /^## / { inside = 0 } inside' CHANGELOG.md)
[ -n "$notes" ] || { echo "CHANGELOG.md has no section \"## $version\": give what is unreleased this heading" >&2 && exit 1; }
printf '%s\n' "$notes"
