# shellcheck shell=bash
# What the scripts in ci/ share. Sourced, never run.

# Rust's own installer puts cargo here and relies on a fresh login shell.
if ! command -v cargo >/dev/null && [ -x "${HOME:-}/.cargo/bin/cargo" ]; then
    PATH=$HOME/.cargo/bin:$PATH
fi

# Mesa's device-select layer prints an error where there is no window system.
# flopwatt itself turns it off; benches and tests take it from here.
export NODEVICE_SELECT=${NODEVICE_SELECT:-1}

# Talk goes to standard error, so that standard output stays data.
say() { printf '%s: %s\n' "${0##*/}" "$*" >&2; }

# die STATUS MESSAGE…
die() {
    local status=$1
    shift
    say "$@"
    exit "$status"
}

# Runs a command as root; `can_be_root` says beforehand whether it will work.
as_root() {
    if [ "$(id -u)" = 0 ]; then "$@"; else sudo "$@"; fi
}

can_be_root() {
    [ "$(id -u)" = 0 ] || command -v sudo >/dev/null
}

# The first package manager found; prints nothing when there is none we know.
package_manager() {
    local tool
    for tool in apt-get dnf pacman zypper; do
        if command -v "$tool" >/dev/null; then
            echo "$tool"
            return
        fi
    done
}

# install_packages PACKAGE…: the names are those of this system's manager.
# With dry_run=1 it prints the command and runs nothing.
install_packages() {
    local refresh=() install
    case $(package_manager) in
        apt-get) # A container has no package lists: fetch them.
            refresh=(apt-get update)
            install=(apt-get -o DPkg::Lock::Timeout=120 install -y --no-install-recommends "$@") ;;
        dnf)    install=(dnf install -y --setopt=install_weak_deps=False "$@") ;;
        pacman) install=(pacman -Sy --needed --noconfirm "$@") ;;
        zypper) install=(zypper --non-interactive install --no-recommends "$@") ;;
        *) die 2 "needs packages like these, and found none of apt-get, dnf, pacman, zypper: $*" ;;
    esac
    local shown="${refresh[*]:+${refresh[*]} && }${install[*]}"
    if [ "${dry_run:-0}" = 1 ]; then
        say "would run: $shown"
        return
    fi
    can_be_root || die 2 "neither root nor sudo here; run this as root: $shown"
    say "running: $shown"
    # One unreachable third-party source must not stop the rest: installing decides.
    if [ ${#refresh[@]} -gt 0 ]; then
        as_root "${refresh[@]}" >&2 || say "${refresh[*]} failed; going on"
    fi
    as_root env DEBIAN_FRONTEND=noninteractive "${install[@]}" >&2 ||
        die 2 "could not install: $*"
}

# section NAME COMMAND…: runs the command with nothing on its standard input and
# notes outcome and duration; `summary` prints them and returns 1 if any failed.
# Not to be called in a condition: bash would ignore `set -e` inside the command.
sections=()
failed=0
section() {
    local name=$1 start=$SECONDS status
    shift
    printf '\n== %s\n' "$name" >&2
    set +e
    (set -e; "$@") </dev/null
    status=$?
    set -e
    if [ "$status" = 0 ]; then
        sections+=("$(printf '%-24s ok      %4d s' "$name" $((SECONDS - start)))")
    else
        sections+=("$(printf '%-24s FAILED  %4d s  exit status %d' "$name" $((SECONDS - start)) "$status")")
        failed=1
    fi
}

summary() {
    printf '\n== %s\n' "${0##*/}: summary" >&2
    printf '%s\n' "${sections[@]}" >&2
    return "$failed"
}

# release_binary: builds the command and prints its path. FLOPWATT_BIN names one
# that is built already.
release_binary() {
    if [ -n "${FLOPWATT_BIN:-}" ]; then
        echo "$FLOPWATT_BIN"
        return
    fi
    cargo build --release --locked >&2
    echo "${CARGO_TARGET_DIR:-target}/release/flopwatt"
}

# python_environment NAME REQUIREMENTS MODULE…: prints the Python of a virtual
# environment under target/ that has these modules; it is kept from one run to the
# next.
python_environment() {
    local folder=${CARGO_TARGET_DIR:-target}/$1 requirements=$2 modules
    shift 2
    modules=$(printf 'import %s\n' "$@")
    if ! "$folder/bin/python" -c "$modules" 2>/dev/null; then
        # Debian and Ubuntu ship Python without what makes environments.
        if ! python3 -c 'import ensurepip' 2>/dev/null; then
            case $(package_manager) in
                apt-get) install_packages python3 python3-venv ;;
                *) install_packages python3 ;;
            esac
        fi
        python3 -m venv --clear "$folder" >&2
        "$folder/bin/python" -m pip install --quiet --disable-pip-version-check \
            -r "$requirements" >&2
    fi
    echo "$folder/bin/python"
}

# json_scalars FILE: one `"key":value` a line for every member that is a string,
# number, boolean or null. Enough to check a report where neither jq nor python is.
json_scalars() {
    grep -oE '"[A-Za-z_0-9]+"[[:space:]]*:[[:space:]]*("([^"\\]|\\.)*"|-?[0-9][-+.0-9eE]*|true|false|null)' "$1" |
        sed -E 's/^("[A-Za-z_0-9]+")[[:space:]]*:[[:space:]]*/\1:/'
}

# count PATTERN: how many lines of standard input match; 0 is no error.
count() { grep -cE "$1" || true; }
