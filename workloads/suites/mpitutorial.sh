#!/bin/bash
# Builds the programs of the MPI tutorials at mpitutorial.com with faasm-cc and runs them with faasm-run.
#
#   workloads/suites/mpitutorial.sh CHECKOUT OUT
#
# CHECKOUT is a checkout of mpitutorial/mpitutorial that you fetched; OUT is where programs and outputs go. Each program
# runs with the number of ranks and the arguments of the tutorials' run.py; it passes if it ends with status 0 and,
# where its output does not depend on chance or time, says what the tutorial says. FAASM_CC, FAASM_CXX and FAASM_RUN
# name other binaries, LIMIT the seconds a program may take. One program uses time() without its header, which a
# compiler for WebAssembly cannot guess.
set -u

fail() { echo "mpitutorial.sh: $1" >&2; exit 2; }

[ $# -eq 2 ] || fail "usage: mpitutorial.sh CHECKOUT OUT"
tutorials=$(cd "$1/tutorials" 2>/dev/null && pwd) || fail "$1 has no tutorials: give a checkout of mpitutorial/mpitutorial"
mkdir -p "$2" && out=$(cd "$2" && pwd) || fail "cannot write to $2"
cc=${FAASM_CC:-faasm-cc}
cxx=${FAASM_CXX:-faasm-c++}
run=${FAASM_RUN:-faasm-run}
limit=${LIMIT:-60}
for tool in "$cc" "$cxx" "$run" timeout; do
    command -v "$tool" >/dev/null || fail "$tool is not there: build it, or name it with FAASM_CC, FAASM_CXX, FAASM_RUN"
done
failed=0 passed=0

# program TUTORIAL NAME RANKS LINE [ARGUMENT...]: LINE must be among the output's lines; - for any output.
program() {
    tutorial=$1 name=$2 ranks=$3 line=$4
    shift 4
    code=$tutorials/$tutorial/code
    compiler=$cc sources=$code/$name.c
    [ -e "$sources" ] || { compiler=$cxx sources=$code/$name.cc; }
    case $name in random_rank) sources="$code/random_rank.c $code/tmpi_rank.c" ;; esac
    result=ok
    if ! "$compiler" -O2 -w -include time.h $sources -lm -o "$out/$name" >"$out/$name.log" 2>&1; then
        result="FAILED to build: $(grep -m1 -E 'error|undefined' "$out/$name.log" | cut -c1-140)"
    else
        timeout "$limit" "$run" -n "$ranks" "$out/$name" "$@" </dev/null >"$out/$name.out" 2>&1
        status=$?
        if [ "$status" != 0 ]; then result="FAILED (status $status)"
        elif [ "$line" != - ] && ! grep -qE "$line" "$out/$name.out"; then result="FAILED (no line \"$line\")"
        fi
    fi
    case $result in ok) passed=$((passed + 1)) ;; *) failed=$((failed + 1)) ;; esac
    echo "$tutorial/$name $ranks: $result"
}

program mpi-hello-world mpi_hello_world 4 'Hello world from processor .*, rank 3 out of 4 processors'
program mpi-send-and-receive send_recv 2 'Process 1 received number -1 from process 0'
program mpi-send-and-receive ping_pong 2 '[01] received ping_pong_count 10 from [01]'
program mpi-send-and-receive ring 5 'Process 0 received token -1 from process 4'
program dynamic-receiving-with-mpi-probe-and-mpi-status check_status 2 '1 received [0-9]+ numbers from 0.*tag = 0'
program dynamic-receiving-with-mpi-probe-and-mpi-status probe 2 '1 dynamically received [0-9]+ numbers from 0'
program point-to-point-communication-application-random-walk random_walk 5 'Process 4 done' 100 500 20
program mpi-broadcast-and-collective-communication my_bcast 4 'Process 3 received data 100 from root process'
program mpi-broadcast-and-collective-communication compare_bcast 16 'Avg MPI_Bcast time = ' 100000 10
program mpi-scatter-gather-and-allgather avg 4 'Avg of all elements is ' 100
program mpi-scatter-gather-and-allgather all_avg 4 'Avg of all elements from proc 3 is ' 100
program performing-parallel-rank-with-mpi random_rank 4 'Rank for .* on process 3 - [0-3]' 100
program mpi-reduce-and-allreduce reduce_avg 4 'Total sum = .*, avg = ' 100
program mpi-reduce-and-allreduce reduce_stddev 4 'Mean - .*, Standard deviation = ' 100
program introduction-to-groups-and-communicators comm_split 16 'WORLD RANK/SIZE: 15/16 --- ROW RANK/SIZE: 3/4'
program introduction-to-groups-and-communicators comm_groups 16 'WORLD RANK/SIZE: 13/16 --- PRIME RANK/SIZE: 6/7'
program mpi-alltoall-and-v-routines bin 4 - 100
echo "ok $passed, failed $failed"
[ "$failed" = 0 ]
