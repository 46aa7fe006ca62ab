#!/bin/bash
# Measures what it costs a program that its call stack can be taken: the migratable variant beside the plain one.
#
#   bench/migratable.sh [--runs N] [--strict] [--parres DIR] [--lulesh DIR] [--hpcg DIR] [--minimd DIR]
#
# The DIRs are checkouts of the ParRes Kernels, LULESH, HPCG and miniMD (github.com/Mantevo/miniMD, molecular dynamics in the
# style of LAMMPS, in C++), which you fetched. Each program runs with one rank, both variants in turn; the time is processor
# time, of which the median counts, and the size is that of the compiled code. With --strict a missed target is a failure.
set -euo pipefail

fail() { echo "migratable.sh: $1" >&2; exit 2; }
root=$(cd "$(dirname "$0")/.." && pwd)
runs=5 strict= parres= lulesh= hpcg= minimd=
while [ $# -gt 0 ]; do
    case $1 in
        --strict) strict=1; shift; continue ;;
        --runs | --parres | --lulesh | --hpcg | --minimd) [ $# -ge 2 ] || fail "$1 needs a value" ;;
        *) fail "$1 is no option; its head explains them" ;;
    esac
    declare "${1#--}=$2"
    shift 2
done
[ -n "$parres$lulesh$hpcg$minimd" ] || fail "name at least one program's checkout; the head of this file says which there are"
release=$root/${RELEASE:-target/release}
run=$release/faasm-run cc=$release/faasm-cc cxx=$release/faasm-c++
for tool in "$run" "$cc" "$cxx"; do [ -x "$tool" ] || fail "$tool is not there; run \`make build\`"; done

work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
copy() { [ -d "$1" ] || fail "$1 is not there"; mkdir -p "$work/$2" && cp -r "$1/." "$work/$2"; }
made() { [ -f "$1" ] || { cat "$work/make.log" >&2; fail "$1 was not built"; }; }

# What each program is called, and the program with its arguments.
programs=()
if [ -n "$parres" ]; then
    copy "$parres" parres
    printf 'MPICC=%s\nDEFAULT_OPT_FLAGS=-O3\n' "$cc" >"$work/parres/common/make.defs"
    kernel() { # folder, program, arguments
        make -C "$work/parres/MPI1/$1" "$2" >"$work/make.log" 2>&1 || true
        made "$work/parres/MPI1/$1/$2"
        programs+=("ParRes $1|$work/parres/MPI1/$1/$2 $3")
    }
    kernel Stencil stencil "60 2000"
    kernel Transpose transpose "40 2000"
    kernel Synch_p2p p2p "100 4000 4000"
    kernel Sparse sparse "40 11 5"
    kernel Nstream nstream "100 4000000 0"
    kernel Reduce reduce "200 4000000"
    kernel DGEMM dgemm "10 600 32 1"
    kernel PIC-static pic "60 1000 600000 1 2 GEOMETRIC 0.99"
fi
if [ -n "$lulesh" ]; then
    copy "$lulesh" lulesh
    make -C "$work/lulesh" "CXX=$cxx -DUSE_MPI=1" "CXXFLAGS=-O3 -I." "LDFLAGS=-O3" >"$work/make.log" 2>&1 || true
    made "$work/lulesh/lulesh2.0"
    programs+=("LULESH|$work/lulesh/lulesh2.0 -s 30 -i 40")
fi
if [ -n "$hpcg" ]; then
    copy "$hpcg" hpcg
    make -C "$work/hpcg" arch=Linux_MPI "CXX=$cxx" >"$work/make.log" 2>&1 || true
    made "$work/hpcg/bin/xhpcg"
    programs+=("HPCG|$work/hpcg/bin/xhpcg --nx=32 --ny=32 --nz=32 --rt=1")
fi
if [ -n "$minimd" ]; then
    copy "$minimd" minimd
    cd "$work/minimd/ref"
    # Without OpenMP it hides its directives in a macro, and takes a name that is clang's.
    sed -i 's/^#define OMPFORSCHEDULE.*/#define OMPFORSCHEDULE/' types.h
    "$cxx" -O3 -DPRECISION=2 -D__sync_fetch_and_add=serial_fetch_and_add -I. *.cpp -o minimd >"$work/make.log" 2>&1 || true
    made "$PWD/minimd"
    programs+=("miniMD|$PWD/minimd -i in.lj.miniMD -s 20 -n 100")
fi

median() { sort -n | awk '{ v[NR] = $1 } END { print NR % 2 ? v[(NR + 1) / 2] : (v[NR / 2] + v[NR / 2 + 1]) / 2 }'; }
# Processor time of a program in a variant, which is "" or --migratable.
seconds() {
    local variant=$1 took
    shift
    cd "$work/run"
    # shellcheck disable=SC2086
    TIMEFORMAT='%3U %3S'
    took=$({ time FAASM_CACHE_DIR=$work/cache$variant "$run" -q -n 1 $variant "$@" >"$work/out" 2>"$work/err"; } 2>&1) ||
        { cat "$work/out" "$work/err" >&2; fail "$1 has failed"; }
    awk '{ print $1 + $2 }' <<<"$took"
}
size() { du -sb "$1" | cut -f1; }

mkdir -p "$work/run"
cp "$work"/minimd/ref/in.* "$work"/minimd/ref/Cu_u6.eam "$work/run/" 2>/dev/null || true
ratios=() sizes=()
printf '%-20s %8s %11s %7s %9s\n' program plain migratable ratio "code size"
for program in "${programs[@]}"; do
    IFS='|' read -r name command <<<"$program"
    read -ra words <<<"$command"
    plain=() migratable=()
    rm -rf "$work/cache" "$work/cache--migratable"
    # The first run compiles.
    seconds "" "${words[@]}" >"$work/first" && seconds --migratable "${words[@]}" >"$work/first"
    bytes=$(awk -v p="$(size "$work/cache")" -v m="$(size "$work/cache--migratable")" 'BEGIN { printf "%.3f", m / p }')
    for _ in $(seq "$runs"); do
        plain+=("$(seconds "" "${words[@]}")") migratable+=("$(seconds --migratable "${words[@]}")")
    done
    p=$(printf '%s\n' "${plain[@]}" | median) m=$(printf '%s\n' "${migratable[@]}" | median)
    ratio=$(awk -v p="$p" -v m="$m" 'BEGIN { printf "%.3f", m / p }')
    printf '%-20s %8s %11s %7s %9s\n' "$name" "$p" "$m" "$ratio" "$bytes"
    ratios+=("$ratio") sizes+=("$bytes")
done
read -r mean worst <<<"$(printf '%s\n' "${ratios[@]}" | awk '{ s += log($1); if ($1 > w) w = $1 } END { printf "%.3f %.3f\n", exp(s / NR), w }')"
largest=$(printf '%s\n' "${sizes[@]}" | sort -n | tail -n 1)
echo "time: geometric mean $mean (target: at most 1.05), worst $worst (target: at most 1.20); code at most $largest times as large (target: 1.3)"
[ -z "$strict" ] || awk -v m="$mean" -v w="$worst" -v l="$largest" 'BEGIN { exit !(m <= 1.05 && w <= 1.2 && l <= 1.3) }'
