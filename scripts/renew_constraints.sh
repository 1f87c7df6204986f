#!/usr/bin/env bash
# Pins what a fresh installation takes today into constraints.txt; run both commands afterwards, then commit.
set -euo pipefail
root=$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd -P)
. "$root/scripts/setup.sh"
fresh=$(mktemp -d)
trap 'rm -rf "$fresh"' EXIT
"$(find_python)" -m venv "$fresh"
"$fresh/bin/python" -m pip install -qq --disable-pip-version-check --editable "$root[$EXTRAS]"
{
    echo "# Versions that the study was run with. Renew with scripts/renew_constraints.sh."
    # torch itself pins its CUDA packages, which differ by platform and build
    "$fresh/bin/python" -m pip freeze --exclude-editable | grep -viE '^(nvidia|cuda|triton)' | sed 's/+[a-z0-9.]*$//'
} >"$root/constraints.txt.new"
mv "$root/constraints.txt.new" "$root/constraints.txt"
