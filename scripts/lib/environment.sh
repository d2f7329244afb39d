# The Python environment of every script. Source this file, do not run it.
#
#   ensure_environment [EXTRA]   makes it if it is missing, installs hcbench into it (editable, with the extra),
#                                and sets PYTHON. A second call does nothing until pyproject.toml or
#                                constraints.txt change.
#
# It lies in .venv. Set HCBENCH_VENV to use an environment of your own: it is taken as it is, nothing is
# installed into it. Set HCBENCH_PYTHON to choose the interpreter that makes .venv.

set -euo pipefail

ROOT=$(cd "$(dirname "${BASH_SOURCE[0]}")/../.." && pwd)
export PYTHONNOUSERSITE=1 PIP_DISABLE_PIP_VERSION_CHECK=1

# Worker processes share the cores: a thread that waits must not spin.
export OMP_WAIT_POLICY=${OMP_WAIT_POLICY:-PASSIVE} KMP_BLOCKTIME=${KMP_BLOCKTIME:-0}

step() { printf '\n== %s\n' "$*"; }
fail() { printf '%s\n' "$@" >&2; exit 1; }

# Prints the first Python that is at least 3.11.
find_python() {
    local candidate
    for candidate in ${HCBENCH_PYTHON:-python3 python3.14 python3.13 python3.12 python3.11}; do
        if "$candidate" -c 'import sys; sys.exit(sys.version_info < (3, 11))' 2>/dev/null; then
            printf '%s\n' "$candidate"
            return
        fi
    done
    fail "hcbench needs Python 3.11 or newer; found: $(python3 --version 2>/dev/null || echo 'no python3')." \
        "On Debian 12, Ubuntu 24.04 or newer: sudo apt install python3 python3-venv" \
        "Elsewhere, name an interpreter: HCBENCH_PYTHON=/path/to/python3.11 $0"
}

make_environment() {
    local venv=$1 base version
    base=$(find_python)
    version=$("$base" -c 'import sys; print("%d.%d" % sys.version_info[:2])')
    # Debian ships `venv` without `ensurepip`, and then fails half-way: ask first.
    "$base" -c 'import ensurepip, venv' 2>/dev/null || fail \
        "Python $version has no venv module, which makes environments." \
        "Install it: sudo apt install python3-venv    (or python$version-venv, where that is another version)"
    step "making the environment $venv with Python $version"
    rm -rf "$venv"
    "$base" -m venv "$venv"
}

ensure_environment() {
    local extra=${1:-} venv stamp wanted quiet
    if [[ -n ${HCBENCH_VENV:-} ]]; then
        PYTHON=$HCBENCH_VENV/bin/python
        [[ -x $PYTHON ]] || fail "HCBENCH_VENV=$HCBENCH_VENV is no Python environment: it has no bin/python."
        return
    fi
    venv=$ROOT/.venv
    PYTHON=$venv/bin/python
    # pip comes last when an environment is made: without it, making it was cut off.
    "$PYTHON" -m pip --version >/dev/null 2>&1 || make_environment "$venv"
    stamp=$venv/.hcbench-installed${extra:+-$extra}
    wanted=$(cat "$ROOT/pyproject.toml" "$ROOT/constraints.txt" | cksum)
    if [[ $(cat "$stamp" 2>/dev/null) != "$wanted" ]]; then
        step "installing hcbench${extra:+ with what its $extra extra names}: some minutes and about 5.5 GB, most of it torch"
        [[ -t 1 ]] && quiet=() || quiet=(--quiet) # bars for a person, few lines for a log
        "$PYTHON" -m pip install "${quiet[@]}" --constraint "$ROOT/constraints.txt" --editable "$ROOT${extra:+[$extra]}"
        printf '%s\n' "$wanted" >"$stamp"
    fi
}
