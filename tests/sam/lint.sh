#!/usr/bin/env bash
# Lints every template of the repository: cfn-lint down to what is only informational, and SAM's own validation.
set -euo pipefail
shopt -s nullglob
cd "$(dirname "$0")/../.."

sam=$(tests/tools.sh sam)
templates=(template.yaml examples/*/template.yaml tests/sam/*.yaml)
"$sam/cfn-lint" --include-checks I -- "${templates[@]}"
for template in "${templates[@]}"; do
  said=$("$sam/sam" validate --lint --template "$template" 2>&1) || { printf '%s\n' "$said" >&2 && exit 1; }
done
printf '%s: linted\n' "${templates[@]}"
