#!/usr/bin/env bash
# Runs the whole study: sets up .venv when needed, then executes every notebook and builds the site.
#
#   ./run_all.sh [--profile quick|full] [--data DIR] [--only 03] [--without-solutions]
#
# Writes under build/ only; exits non-zero when any notebook fails.
set -euo pipefail
root=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd -P)
. "$root/scripts/setup.sh"
setup "$root"
environment "$root"
exec "$root/.venv/bin/koalib" notebooks "$@"
