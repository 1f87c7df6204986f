# Sourced by run_all.sh and run_tests.sh: makes .venv and installs the project into it, once.
#
#   setup ROOT        leaves ROOT/.venv ready; installs nothing when pyproject.toml and constraints.txt have not changed
#   environment ROOT  sets what every run has in common
#
# PYTHON names another interpreter. Where packages come from is pip's own business (its configuration or PIP_* variables).

EXTRAS="test,onnx,ray"

fail() { echo "koalib: $*" >&2; exit 2; }

find_python() {
    local candidate
    for candidate in ${PYTHON:+"$PYTHON"} python3 python3.14 python3.13 python3.12 python3.11; do
        if "$candidate" -c 'import sys; sys.exit(not (3, 11) <= sys.version_info[:2] <= (3, 14))' 2>/dev/null; then
            echo "$candidate"
            return
        fi
        [ -z "${PYTHON:-}" ] || break
    done
    local here=${PYTHON:-python3}
    here="$here is $("$here" --version 2>/dev/null || echo missing)"
    fail "Python 3.11 to 3.14 is needed, for which all pinned packages are built, but $here; install it, or name one: PYTHON=/path/to/python3.12 $0"
}

# What the installation depends on: a change of any of these installs again.
fingerprint() {
    "$1/.venv/bin/python" - "$1" "$EXTRAS" <<'PY'
import hashlib, pathlib, sys
root = pathlib.Path(sys.argv[1])
parts = [sys.version, *sys.argv[1:]] + [(root / name).read_text() for name in ("pyproject.toml", "constraints.txt")]
print(hashlib.sha256("\0".join(parts).encode()).hexdigest())
PY
}

# A stamp file in .venv says "installing" until all is there, then the fingerprint: an interrupted set-up starts anew.
setup() {
    local root=$1 venv=$1/.venv stamp=$1/.venv/koalib-stamp python quiet
    mkdir -p "$root/build"
    exec 9>"$root/build/setup.lock"
    if command -v flock >/dev/null; then flock 9; fi
    if [ -f "$stamp" ] && [ "$(cat "$stamp")" = installing ]; then
        echo "An earlier set-up was interrupted: starting it anew."
        rm -rf "$venv"
    fi
    if ! "$venv/bin/python" -c '' 2>/dev/null; then
        python=$(find_python)
        "$python" -c 'import venv, ensurepip' 2>/dev/null || fail "$python has no venv module; install it (Debian, Ubuntu: apt-get install python3-venv) and run again"
        rm -rf "$venv"
        mkdir "$venv"
        echo installing >"$stamp"
        "$python" -m venv "$venv"
    fi
    if [ ! -f "$stamp" ] || [ "$(cat "$stamp")" != "$(fingerprint "$root")" ]; then
        echo "Installing into .venv (once; README.md says how much is downloaded) ..."
        echo installing >"$stamp"
        [ -t 1 ] || quiet="-qq --progress-bar=off"
        "$venv/bin/python" -m pip install ${quiet:-} --disable-pip-version-check \
            --constraint "$root/constraints.txt" --editable "$root[$EXTRAS]" \
            || fail "the installation failed, the lines above say why; run the same command again once that is mended"
        fingerprint "$root" >"$stamp.new"
        mv "$stamp.new" "$stamp"
    fi
    exec 9>&-
}

# What every run has in common: caches stay in the checkout, and the order of sets does not change from run to run.
environment() {
    export KOALIB_CACHE="${KOALIB_CACHE:-$1/build/cache}" PYTHONHASHSEED=0
}
