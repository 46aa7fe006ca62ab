#!/bin/sh
# Installs the native MPI libraries that the benchmarks compare with: Open MPI and MPICH of the distribution, side by
# side. The harness calls them by their full names (mpicc.openmpi, mpirun.mpich, ...), so it does not matter which one
# the distribution makes the default `mpirun`.
set -eu

# With the argument `omp` instead: gcc and clang with their OpenMP libraries.
if [ "${1:-}" = omp ]; then
    what="gcc's and clang's OpenMP"
    packages="gcc make libc6-dev clang libomp-dev"
    tools="gcc clang make"
    leave_out="faasm-bench --omp --rivals libgomp"
else
    what="Open MPI and MPICH"
    packages="gcc g++ make libc6-dev openmpi-bin libopenmpi-dev mpich libmpich-dev"
    leave_out="faasm-bench --rivals openmpi | --rivals mpich"
    tools="mpicc.openmpi mpicxx.openmpi mpirun.openmpi mpicc.mpich mpicxx.mpich mpirun.mpich gcc g++ make"
fi

missing() {
    for tool in $tools; do
        command -v "$tool" >/dev/null 2>&1 || printf ' %s' "$tool"
    done
}

fail() {
    echo "rivals.sh: $1" >&2
    exit 1
}

if [ -z "$(missing)" ]; then
    echo "$what are installed."
    exit 0
fi

command -v apt-get >/dev/null 2>&1 ||
    fail "missing:$(missing); this script knows Debian and Ubuntu only. Install $what so that these names
exist, or measure what there is with: $leave_out | --without-rivals"

as_root=""
if [ "$(id -u)" -ne 0 ]; then
    command -v sudo >/dev/null 2>&1 || fail "missing:$(missing); installing them needs root or sudo"
    as_root="sudo"
fi

# Another installation may hold the package manager's lock for a while.
wait_for_lock="-o DPkg::Lock::Timeout=300"
$as_root apt-get $wait_for_lock update -qq ||
    echo "rivals.sh: the package lists could not be refreshed, going on with those there are" >&2
# shellcheck disable=SC2086
$as_root env DEBIAN_FRONTEND=noninteractive apt-get $wait_for_lock install -y --no-install-recommends \
    $packages >/dev/null ||
    fail "apt-get could not install $packages; its message is above"

[ -z "$(missing)" ] || fail "installed, but still missing:$(missing)"
echo "$what are installed."
