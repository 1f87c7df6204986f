#!/usr/bin/env bash
# Runs the unit tests and every cell of every notebook (nbval, quick profile); sets up .venv when needed.
#
#   ./run_tests.sh [pytest arguments]      for example: ./run_tests.sh -m slow, ./run_tests.sh tests/model -x
#
# Writes under build/ only; the exit status is pytest's.
set -euo pipefail
root=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd -P)
. "$root/scripts/setup.sh"
setup "$root"
environment "$root"
export OMP_NUM_THREADS="${OMP_NUM_THREADS:-1}"  # two test processes share the cores
cd "$root"
exec "$root/.venv/bin/python" -m pytest --nbval-lax --nbval-current-env --numprocesses=2 --dist=loadscope "$@"
