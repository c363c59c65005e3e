#!/usr/bin/env bash
# Makes .venv usable: gigqd installed from this checkout, editable, with what it depends on.
#
#   scripts/environment.sh          what gigqd itself needs
#   scripts/environment.sh test     ... and what its tests need
#   scripts/environment.sh lint     ... and what its checks need
#
# Nothing is installed again until pyproject.toml, the place of the checkout or the interpreter
# changes. PYTHON names the interpreter to build on (default: python3; 3.11 or newer).
#
# The first of these that works brings the packages in:
#   1. the pip that python's own venv module puts into .venv (ensurepip);
#   2. a pip of at least 22.3 that this python already has (pip --python .venv/bin/python);
#   3. uv, if it is on PATH;
#   4. the pip wheel in Debian's package python3-pip-whl. Downloading it needs no rights when the
#      package lists are there; as root, or with a sudo that asks nothing, they are fetched first.
# A plain Debian has none of the first three: it splits ensurepip off into python3-venv.
set -euo pipefail

root=$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd -P)
venv=$root/.venv
unfinished=$venv/.unfinished # lies there while .venv is being made or installed into
place=$venv/.place           # which checkout .venv was made in: the commands in it hold its path

extra=${1:-}
case $extra in
'' | test | lint) ;;
*)
    printf 'usage: %s [test|lint]\n' "$0" >&2
    exit 2
    ;;
esac

say() { printf 'environment: %s\n' "$*" >&2; }

die() {
    printf 'environment: %s\n' "$1" >&2
    if (($# > 1)); then printf '    %s\n' "${@:2}" >&2; fi
    exit 1
}

# One line on what an interpreter is, "old" first if it will not do. Python 2 can read it too.
describe='
import sys
if sys.version_info < (3, 11):
    print("old %d.%d" % sys.version_info[:2])
else:
    print("%d.%d %s" % (sys.version_info[0], sys.version_info[1], sys.base_prefix))
'

venv_python() { "$venv/bin/python" -I -c "$describe" 2>/dev/null; }

# What an installation depends on; the stamp of an installed extra holds this line.
stamp_of() { sha256sum <<<"$1 $root $(cat "$root/pyproject.toml")" | cut -d' ' -f1; }

is_current() {
    local now wanted
    [[ ! -e $unfinished && -e $venv/.installed-${extra:-base} ]] || return 1
    now=$(venv_python) || return 1
    [[ $now != old* ]] || return 1
    if [[ -n ${PYTHON:-} ]]; then
        wanted=$("$PYTHON" -c "$describe" 2>/dev/null) && [[ $now == "$wanted" ]] || return 1
    fi
    [[ $(stamp_of "$now") == "$(cat "$venv/.installed-${extra:-base}")" ]]
}

if is_current; then exit 0; fi

# From here on only one at a time: scripts/demo and scripts/test may be started side by side.
if command -v flock >/dev/null; then
    exec {lock}<"${BASH_SOURCE[0]}"
    flock "$lock"
    if is_current; then exit 0; fi
fi

# The invoker's PYTHON may be a relative path: look at it before leaving for a directory of which
# nothing can be imported by accident.
python='' wanted=''
if found=$(command -v "${PYTHON:-python3}"); then
    python=$found
    wanted=$("$found" -c "$describe") || wanted=broken
    # Not the .venv that may be about to go, should it be the one on PATH.
    if [[ $wanted != broken && $wanted != old* ]]; then
        python=$("$found" -c '
import os, sys
inside = os.path.realpath(sys.prefix) == os.path.realpath(sys.argv[1])
print(getattr(sys, "_base_executable", sys.executable) if inside else sys.executable)
' "$venv")
    fi
fi

work=$(mktemp -d "${TMPDIR:-/tmp}/gigqd-environment.XXXXXX")
trap 'rm -rf -- "$work"' EXIT
trap 'exit 130' INT
trap 'exit 143' TERM HUP
cd /

export PIP_DISABLE_PIP_VERSION_CHECK=1 PIP_NO_INPUT=1 PIP_USER=0

# Runs a command quietly; what it had to say is kept in case nothing else works either.
attempt() {
    printf '$ %s\n' "$*" >>"$work/log"
    "$@" >>"$work/log" 2>&1 </dev/null
}

show_log() { sed 's/^/    /' "$work/log" >&2; }

with_rights() {
    if ((EUID == 0)); then
        "$@"
    else
        sudo -n "$@"
    fi
}

has_rights() { ((EUID == 0)) || { command -v sudo >/dev/null && sudo -n true 2>/dev/null; }; }

apt_get() { with_rights env DEBIAN_FRONTEND=noninteractive apt-get "$@"; }

how_to_get_pip() {
    local install='apt-get update && apt-get install -y python3-venv'
    if ! command -v apt-get >/dev/null; then
        die "no way found to install into .venv. Install pip (22.3 or newer) for $python with your" \
            "system's package manager, and run this again. The package is called python3-pip," \
            'python-pip or py3-pip.'
    fi
    if ((EUID == 0)); then
        :
    elif command -v sudo >/dev/null; then
        install="sudo sh -c '$install'"
    else
        install="su -c '$install'"
    fi
    die 'no way found to install into .venv. Type this, and run this again:' "$install"
}

# --- .venv itself -------------------------------------------------------------------------------

start_venv() {
    rm -rf -- "$venv"
    mkdir -- "$venv"
    : >"$unfinished"
}

has_module() { "$python" -c "import $1" >/dev/null 2>&1; }

make_venv() {
    [[ -n $python ]] ||
        die "${PYTHON:-python3} is not there. gigqd needs Python 3.11 or newer:" \
            'name one with PYTHON=/path/to/python3.11 in front of the command.'
    [[ $wanted != broken ]] || die "$python does not run (PYTHON names another)."
    [[ $wanted != old* ]] ||
        die "$python is Python ${wanted#old }, and gigqd needs 3.11 or newer:" \
            'name one with PYTHON=/path/to/python3.11 in front of the command.'

    say "making .venv with Python ${wanted%% *} ($python)"
    start_venv
    if has_module ensurepip && attempt "$python" -m venv "$venv"; then return; fi
    start_venv
    if attempt "$python" -m venv --without-pip "$venv"; then return; fi
    rm -rf -- "$venv" # uv makes the directory itself
    if command -v uv >/dev/null && attempt uv venv --python "$python" "$venv"; then
        : >"$unfinished"
        return
    fi
    start_venv
    if command -v apt-get >/dev/null && has_rights; then
        say 'this python has no venv module: installing python3-venv'
        attempt apt_get update || :
        if attempt apt_get install -y python3-venv && attempt "$python" -m venv "$venv"; then return; fi
    fi
    show_log
    how_to_get_pip
}

# --- something that installs into it -------------------------------------------------------------

outer_pip_will_do() {
    [[ -n $python && $wanted != old* && $wanted != broken ]] && "$python" -c '
import pip
raise SystemExit(tuple(int(n) for n in pip.__version__.split(".")[:2]) < (22, 3))
' >/dev/null 2>&1
}

debian_pip_wheel() {
    local wheel
    for wheel in "$1"/usr/share/python-wheels/pip-*.whl; do
        if [[ -e $wheel ]]; then
            printf '%s\n' "$wheel"
            return
        fi
    done
    return 1
}

download_debian_pip() {
    mkdir -p "$work/deb"
    # apt's own user must be able to write there, should apt run as root.
    chmod 755 "$work"
    if ((EUID == 0)) && id _apt >/dev/null 2>&1; then chown _apt "$work/deb"; fi
    (cd "$work/deb" && attempt apt-get download python3-pip-whl) &&
        attempt dpkg-deb -x "$work"/deb/python3-pip-whl_*.deb "$work/deb"
}

# Bootstraps pip into .venv with the wheel Debian packages.
install_debian_pip() {
    local wheel
    command -v apt-get >/dev/null || return 1
    if ! wheel=$(debian_pip_wheel ''); then
        say "getting pip from Debian's package python3-pip-whl"
        if ! download_debian_pip; then
            has_rights || return 1
            say 'fetching the package lists (apt-get update)'
            attempt apt_get update || :
            if ! download_debian_pip; then
                say 'installing python3-venv'
                attempt apt_get install -y python3-venv || return 1
            fi
        fi
        wheel=$(debian_pip_wheel "$work/deb") || wheel=$(debian_pip_wheel '') || return 1
    fi
    attempt "$venv/bin/python" "$wheel/pip" install --no-index --no-deps "$wheel"
}

find_installer() {
    if "$venv/bin/python" -m pip --version >/dev/null 2>&1; then
        installer=("$venv/bin/python" -m pip install)
    elif outer_pip_will_do; then
        installer=("$python" -m pip --python "$venv/bin/python" install)
    elif command -v uv >/dev/null; then
        installer=(uv pip install --python "$venv/bin/python")
    elif install_debian_pip; then
        installer=("$venv/bin/python" -m pip install)
    else
        show_log
        how_to_get_pip
    fi
}

# --- in order ------------------------------------------------------------------------------------

now=$(venv_python) || now=''
if [[ -z $now || $now == old* ]]; then
    make_venv
elif [[ -e $unfinished ]]; then
    say 'an earlier run did not get to its end: starting over'
    make_venv
elif [[ -n ${PYTHON:-} && $now != "$wanted" ]]; then
    make_venv
elif [[ -e $place && $(cat "$place") != "$root" ]]; then
    say 'the checkout has moved, and the commands in .venv would not start'
    make_venv
fi
now=$(venv_python) || die "$venv/bin/python does not run."

: >"$unfinished"
find_installer

: >"$work/log"
if [[ -n $extra ]]; then
    say "installing gigqd and what ${extra}ing needs"
else
    say 'installing gigqd'
fi
if ! attempt "${installer[@]}" -e "$root${extra:+[$extra]}"; then
    show_log
    die 'the installation failed; what it said stands above.'
fi

printf '%s\n' "$root" >"$place"
for done_now in base $extra; do stamp_of "$now" >"$venv/.installed-$done_now"; done
rm -f -- "$unfinished"
