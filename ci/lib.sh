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

# skip REASON…: ends a section, or a script that is one, which cannot do its work
# here. The summary then says so, and why.
skipped=77 # the exit status by which test harnesses know a skipped test
skip() {
    say "skipped: $*"
    if [ -n "${FLOPWATT_SKIP_REASON:-}" ]; then printf '%s' "$*" >"$FLOPWATT_SKIP_REASON"; fi
    exit "$skipped"
}

# section NAME COMMAND…: runs the command with nothing on its standard input and
# notes outcome and duration; `summary` prints them and returns 1 if any failed.
# Not to be called in a condition: bash would ignore `set -e` inside the command.
sections=()
failed=0
section() {
    local name=$1 start=$SECONDS status outcome reason=
    shift
    FLOPWATT_SKIP_REASON=$(mktemp)
    export FLOPWATT_SKIP_REASON
    printf '\n== %s\n' "$name" >&2
    set +e
    (set -e; "$@") </dev/null
    status=$?
    set -e
    case $status in
        0) outcome=ok ;;
        "$skipped") outcome=skipped reason=$(cat "$FLOPWATT_SKIP_REASON") ;;
        *) outcome=FAILED reason="exit status $status" failed=1 ;;
    esac
    rm -f "$FLOPWATT_SKIP_REASON"
    sections+=("$(printf '%-24s %-7s %4d s  %s' "$name" "$outcome" $((SECONDS - start)) "$reason")")
}

summary() {
    printf '\n== %s\n' "${0##*/}: summary" >&2
    printf '%s\n' "${sections[@]}" >&2
    return "$failed"
}

# need_tool PROGRAM PACKAGE: makes sure that a program is there, and installs the
# package where that is possible. Returns 1 where it is not.
need_tool() {
    if command -v "$1" >/dev/null; then return; fi
    say "$1 is not installed"
    can_be_root && (install_packages "$2") && command -v "$1" >/dev/null
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

# Real drivers of GPUs that are not here: Mesa's DRM shims stand in for the kernel
# side. Every shader is compiled, and nothing is executed.
#
# Debian 13 and newer (and Ubuntu releases that have mesa-drm-shim together with
# NVK) load them directly; elsewhere a Debian 13 is unpacked once into the folder
# that FLOPWATT_TRIXIE names (default ~/.cache/flopwatt/trixie) and programs run
# inside, which needs root and the right to mount /proc.
shim_packages=(mesa-vulkan-drivers mesa-drm-shim libvulkan1)
shim_libraries=/usr/lib/$(uname -m)-linux-gnu

# The manifest of a driver below a root; its name carries the architecture in
# some releases.
shim_manifest() { # ROOT DRIVER
    find "$1/usr/share/vulkan/icd.d" -name "$2_icd*.json" ! -name '*.i686.json' 2>/dev/null | head -n 1
}

has_shims() { # ROOT
    [ -e "$1$shim_libraries/libamdgpu_noop_drm_shim.so" ] &&
        [ -e "$1$shim_libraries/libnouveau_noop_drm_shim.so" ] &&
        [ -n "$(shim_manifest "$1" radeon)" ] && [ -n "$(shim_manifest "$1" nouveau)" ]
}

# Runs a command as root in mount points of its own, gone when it ends: an
# interrupted run leaves no /proc mounted behind.
as_root_with_own_mounts() { as_root unshare --mount "$@"; }

inside_root() { # ROOT ENVIRONMENT… PROGRAM ARGUMENTS…
    # shellcheck disable=SC2016 # expanded by the inner shell
    as_root_with_own_mounts sh -euc 'root=$1; shift; mount -t proc proc "$root/proc"; exec chroot "$root" "$@"' sh \
        "$1" env -i PATH=/usr/sbin:/usr/bin:/sbin:/bin LC_ALL=C.UTF-8 HOME=/tmp "${@:2}"
}

# Unpacks a Debian release with some packages into a folder, once; needs root.
unpack_debian() { # RELEASE FOLDER [PACKAGE…]
    local release=$1 final=$2 unpacked tools=(debootstrap)
    shift 2
    can_be_root || die 2 "unpacking Debian needs root"
    if [ "$(package_manager)" = apt-get ]; then tools+=(debian-archive-keyring util-linux mount); fi
    command -v debootstrap >/dev/null || install_packages "${tools[@]}"
    say "unpacking Debian's $release into $final"
    mkdir -p "$(dirname "$final")"
    unpacked=$(mktemp -d "$final.XXXXXX") # renamed only when complete
    as_root chmod 755 "$unpacked"
    if ! fill_debian "$release" "$unpacked" "$@"; then
        as_root rm -rf "$unpacked"
        die 2 "could not unpack Debian's $release"
    fi
    as_root mv -T "$unpacked" "$final"
}

fill_debian() { # RELEASE FOLDER [PACKAGE…]
    local release=$1 folder=$2
    shift 2
    as_root_with_own_mounts debootstrap --variant=minbase "$release" "$folder" >&2 || return 1
    if [ $# = 0 ]; then return; fi
    inside_root "$folder" apt-get update >&2 &&
        inside_root "$folder" DEBIAN_FRONTEND=noninteractive apt-get install -y --no-install-recommends "$@" >&2 &&
        inside_root "$folder" apt-get clean
}

# Finds or sets up the shims. `shim_root` is then where they are: empty for this
# system itself.
shims() {
    local release
    [ "$(uname -s)" = Linux ] || die 2 "needs Linux"
    shim_root=
    if has_shims ""; then return; fi
    release=$(. /etc/os-release && echo "${ID:-} ${VERSION_ID:-0}")
    case $release in
        "debian 1"[3-9]* | "debian "[2-9][0-9]* | ubuntu*)
            (install_packages "${shim_packages[@]}") || say "going on with a folder of its own" ;;
    esac
    if has_shims ""; then return; fi
    shim_root=${FLOPWATT_TRIXIE:-${XDG_CACHE_HOME:-$HOME/.cache}/flopwatt/trixie}
    if ! has_shims "$shim_root"; then
        [ ! -e "$shim_root" ] || die 2 "$shim_root is there and lacks ${shim_packages[*]}; remove it or set FLOPWATT_TRIXIE"
        unpack_debian trixie "$shim_root" "${shim_packages[@]}"
    fi
}

# A new folder that programs see in which the shims are: as `shim_folder` out here,
# as `shim_inside` to them. Whoever asks for it removes it, as root.
make_shim_folder() {
    shim_folder=$(as_root mktemp -d "${shim_root:-}/tmp/flopwatt.XXXXXX")
    as_root chmod 755 "$shim_folder"
    # shellcheck disable=SC2034 # for whoever asked
    shim_inside=${shim_folder#"$shim_root"}
}

# Runs a program on the driver of a chip: navi31 and the like of AMD's, or the
# number of an NVIDIA chipset (172 is an Ampere).
on_chip() { # CHIP ENVIRONMENT… PROGRAM ARGUMENTS…
    local variable library driver manifest run
    case $1 in
        [0-9]*) variable=NOUVEAU_CHIPSET library=nouveau driver=nouveau ;;
        *) variable=AMDGPU_GPU_ID library=amdgpu driver=radeon ;;
    esac
    manifest=$(shim_manifest "$shim_root" "$driver")
    run=("$variable=$1" "LD_PRELOAD=$shim_libraries/lib${library}_noop_drm_shim.so"
        "VK_DRIVER_FILES=${manifest#"$shim_root"}" "${@:2}")
    if [ -n "$shim_root" ]; then inside_root "$shim_root" "${run[@]}"; else env "${run[@]}"; fi
}

# test_binary TARGET: builds a test target and prints the program's path.
test_binary() {
    local program
    # Cargo names the program on standard error.
    program=$(cargo test --locked --no-run --test "$1" 2>&1 | tee -a /dev/stderr |
        sed -n 's/^ *Executable .*(\(.*\))$/\1/p')
    [ -x "$program" ] || die 1 "the tests were not built"
    echo "$program"
}

# start_local_cluster FOLDER: a Slurm of this machine alone until the script ends;
# its logs are then in the folder.
start_local_cluster() {
    cluster_script=$PWD/ci/fleet/slurm/local-cluster
    cluster_logs=$1
    # Munge insists on a folder that everybody can enter and nobody else change.
    cluster=$(mktemp -d /tmp/flopwatt-slurm.XXXXXX)
    chmod 755 "$cluster"
    trap end_local_cluster EXIT
    "$cluster_script" start "$cluster" >/dev/null
    export SLURM_CONF=$cluster/slurm.conf
}

end_local_cluster() {
    "$cluster_script" stop "$cluster" || say "Slurm did not end: $cluster"
    cp "$cluster"/*.log "$cluster_logs" || true
    rm -rf "$cluster"
}
