#!/usr/bin/env bash
# Pins what a fresh installation takes today into constraints.txt; run both commands afterwards, then commit.
# torch and torchvision keep their pinned versions: which pair fits is chosen by hand, in constraints.txt itself.
set -euo pipefail
root=$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd -P)
. "$root/scripts/setup.sh"
fresh=$(mktemp -d)
trap 'rm -rf "$fresh"' EXIT
grep -E '^torch(vision)?==' "$root/constraints.txt" >"$fresh/pair.txt"
"$(find_python)" -m venv "$fresh/venv"
"$fresh/venv/bin/python" -m pip install -qq --disable-pip-version-check --constraint "$fresh/pair.txt" --editable "$root[$EXTRAS]"
# torch pins its CUDA packages itself; they and the suffix of a local build differ by platform
"$fresh/venv/bin/python" -m pip freeze --exclude-editable | grep -viE '^(nvidia|cuda|triton)' | sed 's/+[a-z0-9.]*$//' >"$fresh/pins.txt"
{
    echo "# Versions that the study was run with. Renew with scripts/renew_constraints.sh."
    cat "$fresh/pins.txt"
} >"$root/constraints.txt"
