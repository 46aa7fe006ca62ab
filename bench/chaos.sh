#!/bin/bash
# Kills nodes of running jobs at random instants, and checks that the jobs give the same answer all the same.
#
#   bench/chaos.sh [--runs N] [--seed S] [--limit SECONDS] [--lulesh DIR] [--hpcg DIR] [--parres DIR]
#
# Each program runs on three nodes of this machine with checkpoints and --on-failure restart; one node is killed (SIGKILL)
# at an instant between the start and the end of an undisturbed run. Without DIRs the program is workloads/guests/faasm/steps.c;
# the others are checkouts of LULESH, HPCG and the ParRes Kernels that you fetched. The seed is printed, and with --seed the
# same nodes are killed after the same times. N is for each program (default 20); after SECONDS (default 600) no further run
# begins. FAASM_RUN, FAASM_CC and FAASM_CXX name other binaries.
set -u

fail() { echo "chaos.sh: $1" >&2; exit 2; }

root=$(cd "$(dirname "$0")/.." && pwd)
bin=$root/target/release
run=${FAASM_RUN:-$bin/faasm-run} cc=${FAASM_CC:-$bin/faasm-cc} cxx=${FAASM_CXX:-$bin/faasm-c++}
runs=20 limit=600 seed=$((16#$(od -An -N2 -tx2 /dev/urandom | tr -d ' ')))
lulesh= hpcg= parres=
while [ $# -gt 0 ]; do
    [ $# -ge 2 ] || fail "$1 needs a value; the head of this file says which"
    case $1 in
        --runs) runs=$2 ;;
        --seed) seed=$2 ;;
        --limit) limit=$2 ;;
        --lulesh) lulesh=$2 ;;
        --hpcg) hpcg=$2 ;;
        --parres) parres=$2 ;;
        *) fail "$1 is no option; the head of this file names them" ;;
    esac
    shift 2
done
for tool in "$run" "$cc" pgrep timeout; do
    command -v "$tool" >/dev/null || fail "$tool is not there: \`make build\`, or name it with FAASM_RUN, FAASM_CC"
done

work=$(mktemp -d) || fail "no temporary directory"
trap 'rm -rf "$work"' EXIT
RANDOM=$seed
echo "chaos: seed $seed, $runs runs of each program, at most $limit s"

# A copy of a checkout, for its makefile writes into it.
copy() { [ -d "$1" ] || fail "$1 is not there"; mkdir -p "$work/$2" && cp -r "$1/." "$work/$2" || fail "$1 cannot be copied"; }
made() { [ -f "$1" ] || fail "$1 was not built: see $work/make.log"; }

# For each program: what it is called, its ranks, what of its output is the answer, and the program with its arguments.
programs=()
if [ -z "$lulesh$hpcg$parres" ]; then
    "$cc" -O2 "$root/workloads/guests/faasm/steps.c" -o "$work/steps.wasm" || fail "steps.c was not built"
    programs+=("steps|6|^result.*|$work/steps.wasm 1500")
fi
if [ -n "$lulesh" ]; then
    copy "$lulesh" lulesh
    make -C "$work/lulesh" "CXX=$cxx -DUSE_MPI=1" "CXXFLAGS=-O3 -I." "LDFLAGS=-O3" >"$work/make.log" 2>&1
    made "$work/lulesh/lulesh2.0"
    programs+=("LULESH|8|Iteration count.*|Final Origin Energy.*|$work/lulesh/lulesh2.0 -s 12 -i 200")
fi
if [ -n "$hpcg" ]; then
    copy "$hpcg" hpcg
    make -C "$work/hpcg" arch=Linux_MPI "CXX=$cxx" >"$work/make.log" 2>&1
    made "$work/hpcg/bin/xhpcg"
    programs+=("HPCG|6|HPCG result is VALID|Maximum iteration=.*|Global Problem Dimensions::Global nx=.*|$work/hpcg/bin/xhpcg --nx=16 --ny=16 --nz=16 --rt=1")
fi
if [ -n "$parres" ]; then
    copy "$parres" parres
    printf 'MPICC=%s\nDEFAULT_OPT_FLAGS=-O3\n' "$cc" >"$work/parres/common/make.defs"
    make -C "$work/parres/MPI1/Stencil" stencil >"$work/make.log" 2>&1
    made "$work/parres/MPI1/Stencil/stencil"
    programs+=("Stencil|6|Solution validates|$work/parres/MPI1/Stencil/stencil 400 2000")
fi

# What of a run's output is the answer: the last text that matches each pattern, for what came after the last cut is
# printed again.
answer() {
    local out=$1 pattern
    shift
    for pattern in "$@"; do grep -ohE "$pattern" "$out"/stdout "$out"/HPCG*.txt 2>/dev/null | tail -n 1; done
}

milliseconds() { date +%s%3N; }

failed=0
for program in "${programs[@]}"; do
    IFS='|' read -r -a fields <<<"$program"
    name=${fields[0]} ranks=${fields[1]} last=$((${#fields[@]} - 1))
    patterns=("${fields[@]:2:last-2}")
    read -r -a command <<<"${fields[last]}"
    job=("$run" -q --local-nodes 3 --map-by node --oversubscribe -n "$ranks")
    kept=(--on-failure restart:10 --checkpoint-dir kept --checkpoint-every 200ms)
    mkdir -p "$work/$name/first"
    # Once before, so that the program is compiled.
    for _ in 1 2; do
        begun=$(milliseconds)
        (cd "$work/$name/first" && timeout 300 "${job[@]}" "${kept[@]}" "${command[@]}" >stdout 2>stderr </dev/null) ||
            { cat "$work/$name/first/stderr" >&2; fail "$name does not run undisturbed"; }
        took=$(($(milliseconds) - begun))
    done
    expected=$(answer "$work/$name/first" "${patterns[@]}")
    [ -n "$expected" ] || fail "$name gives no answer"
    same=0 done=0 hit=0
    for ((number = 1; number <= runs; number++)); do
        after=$((RANDOM % (took > 100 ? took : 100))) victim=$((RANDOM % 3))
        [ $SECONDS -lt "$limit" ] || { echo "chaos: $limit s are over"; break; }
        out=$work/$name/$number
        mkdir -p "$out"
        cd "$out" || fail "$out is gone"
        timeout 300 "${job[@]}" "${kept[@]}" "${command[@]}" >stdout 2>stderr </dev/null &
        waiter=$!
        sleep "$(printf '%d.%03d' $((after / 1000)) $((after % 1000)))"
        leader=$(pgrep -P "$waiter" | head -n 1)
        mapfile -t nodes < <([ -n "$leader" ] && pgrep -P "$leader")
        [ "${#nodes[@]}" -gt "$victim" ] && kill -KILL "${nodes[victim]}" 2>/dev/null
        wait "$waiter"
        status=$?
        cd "$work" || fail "$work is gone"
        done=$((done + 1))
        grep -q "is lost" "$out/stderr" && hit=$((hit + 1))
        if [ $status -eq 0 ] && [ "$(answer "$out" "${patterns[@]}")" = "$expected" ]; then
            same=$((same + 1))
            rm -rf "$out"
        elif grep -q "ended before it had joined" "$out/stderr"; then
            # The node died before there was a job.
            same=$((same + 1))
        else
            failed=1
            echo "chaos: $name, run $number: node $((victim + 1)) was killed after $after ms: status $status"
            tail -n 5 "$out/stderr" "$out/stdout"
        fi
    done
    [ $done -gt 0 ] || { failed=1; echo "chaos: no run of $name was made: give more time with --limit"; }
    echo "chaos: $name: the same answer $same of $done times; $hit of the jobs lost a node"
done
exit $failed
