#!/bin/bash
# Builds MPICH's own test suite with faasm-cc and runs it with faasm-run, as its test lists say.
#
#   workloads/suites/mpich.sh CHECKOUT OUT [FOLDER...]
#
# CHECKOUT is a checkout of pmodels/mpich that you fetched; OUT is where programs, outputs and the list of results go;
# FOLDER are folders of test/mpi (default: all of C that MPI 5.0 knows). Each program runs once, with the first of its
# lines in the test list, at no more than 16 ranks; ALL=1 runs every line. FAASM_CC and FAASM_RUN name other binaries,
# LIMIT the seconds a program may take. The last lines count results; OUT/results.txt has one line a test.
set -u

fail() { echo "mpich.sh: $1" >&2; exit 2; }

[ $# -ge 2 ] || fail "usage: mpich.sh CHECKOUT OUT [FOLDER...]"
tests=$(cd "$1/test/mpi" 2>/dev/null && pwd) || fail "$1 has no test/mpi: give a checkout of pmodels/mpich"
mkdir -p "$2" && out=$(cd "$2" && pwd) || fail "cannot write to $2"
shift 2
cc=${FAASM_CC:-faasm-cc}
run=${FAASM_RUN:-faasm-run}
limit=${LIMIT:-60}
ranks_max=16
for tool in "$cc" "$run" timeout; do
    command -v "$tool" >/dev/null || fail "$tool is not there: build it, or name it with FAASM_CC, FAASM_RUN"
done
if [ $# -eq 0 ]; then
    set -- attr comm coll datatype errhan group info init io mpi_t part pt2pt rma session spawn topo \
        errors/{attr,coll,comm,datatype,group,io,pt2pt,rma,session,spawn,topo} \
        threads/{coll,comm,init,part,pt2pt,rma,spawn}
fi

# What the suite's configure would find.
conf=$out/include
mkdir -p "$conf/src"
cat > "$conf/mpitestconf.h" <<'CONF'
#define HAVE_MPI_SPAWN 1
#define HAVE_MPI_WIN_CREATE 1
#define HAVE_MPI_IO 1
#define HAVE_LONG_DOUBLE 1
#define HAVE_LONG_LONG 1
#define HAVE_STDARG_H 1
#define HAVE_STRING_H 1
#define HAVE_STDLIB_H 1
#define HAVE_UNISTD_H 1
#define HAVE_SYS_TIME_H 1
#define HAVE_SYS_RESOURCE_H 1
#define HAVE_GETRUSAGE 1
#define HAVE_STRDUP 1
#define HAVE_USLEEP 1
#define HAVE_PTHREAD_H 1
#define HAVE_PTHREAD_BARRIER_INIT 1
#define USE_STRICT_MPI 1
#define POINTERINT_t int
#define THREAD_PACKAGE_NAME THREAD_PACKAGE_POSIX
#define THREAD_PACKAGE_INVALID 0
#define THREAD_PACKAGE_NONE 1
#define THREAD_PACKAGE_POSIX 2
CONF
# The suite sets the world's error handler also where it awaits errors of calls that have no communicator, window or
# file. Since MPI 4.0 those go to MPI_COMM_SELF.
cat > "$conf/mtest_mpix.h" <<'CONF'
#ifndef MTEST_MPIX_H
#define MTEST_MPIX_H
static inline int mtest_set_errhandler(MPI_Comm comm, MPI_Errhandler handler)
{
    if (comm == MPI_COMM_WORLD) PMPI_Comm_set_errhandler(MPI_COMM_SELF, handler);
    return PMPI_Comm_set_errhandler(comm, handler);
}
#define MPI_Comm_set_errhandler mtest_set_errhandler
#define MPI_Errhandler_set mtest_set_errhandler
#endif
CONF
: > "$conf/dtpoolsconf.h"
flags="-O1 -w -I$conf -I$conf/src -I$tests/include -I$tests/dtpools/include"

# The suite's library, once for programs without and once with threads.
library() {
    kind=$1 option=$2
    mkdir -p "$out/lib-$kind"
    for file in util/mtest.c util/mtest_common.c "util/mtest_$kind.c" util/run_mpitests.c dtpools/src/*.c; do
        object=$out/lib-$kind/$(basename "$file" .c).o
        [ -e "$object" ] || "$cc" $flags $option -c "$file" -o "$object" || fail "$file does not compile"
    done
}
cd "$tests" || exit 2
library single ""
library thread -pthread

# Source and options of a program whose name is not that of its source, from the folder's Makefile.am.
variable() { sed -n "s/^${2}_$3 *= *//p" "$1/Makefile.am" 2>/dev/null | head -1; }

build() {
    folder=$1 name=$2 wasm=$3
    kind=single option=
    case $folder in threads/*) kind=thread option=-pthread ;; esac
    sources=$(variable "$folder" "$name" SOURCES)
    options=$(variable "$folder" "$name" CPPFLAGS | sed 's/\$([^)]*)//g')
    set --
    for source in ${sources:-$name.c}; do
        case $source in *.c) set -- "$@" "$folder/$source" ;; esac
    done
    libs=$(ls "$out/lib-$kind"/*.o)
    grep -q 'int main' "$@" && libs=$(ls "$out/lib-$kind"/*.o | grep -v run_mpitests)
    "$cc" $flags $option $options "$@" $libs -lm -o "$wasm" >"$wasm.log" 2>&1
}

# ok, skipped or FAILED, by the rules of the suite's own script.
verdict() {
    status=$1 log=$2 rule=$3
    if [ "$status" = 124 ]; then echo "FAILED (no end after $limit s)"; return; fi
    if grep -qx ' *Test Skipped *' "$log"; then echo skipped; return; fi
    case $rule in
        TestErrFatal) [ "$status" != 0 ] && echo ok || echo "FAILED (ends with status 0)" ;;
        TestStatusNoErrors)
            [ "$status" != 0 ] && grep -qix ' *No Errors *' "$log" && echo ok || echo "FAILED (status $status)" ;;
        TestStatus) [ "$status" != 0 ] && echo ok || echo "FAILED (ends with status 0)" ;;
        *)
            if ! grep -qix ' *No Errors *' "$log"; then echo "FAILED (status $status)"
            elif [ "$status" != 0 ]; then echo "FAILED (no errors, but status $status)"
            else echo ok; fi ;;
    esac
}

results=$out/results.txt
: > "$results"
for folder in "$@"; do
    list=$folder/testlist
    [ -e "$list" ] || list=$folder/testlist.in
    [ -e "$list" ] || fail "$folder has no test list"
    mkdir -p "$out/$folder"
    seen=" "
    sed 's/#.*//; s/@[a-z_]*@//' "$list" | while read -r name ranks options; do
        [ -n "$ranks" ] && [ -e "$folder/Makefile.am" ] || continue
        if [ -z "${ALL:-}" ]; then
            case $seen in *" $name "*) continue ;; esac
        fi
        seen="$seen$name "
        [ "$ranks" -gt $ranks_max ] && ranks=$ranks_max
        arguments= rule= settings=
        for word in $options; do
            case $word in
                arg=*) arguments="$arguments ${word#arg=}" ;;
                env=*) settings="$settings -x ${word#env=}" ;;
                resultTest=*) rule=${word#resultTest=} ;;
                xfail=*) rule=xfail ;;
            esac
        done
        wasm=$out/$folder/$name log=$out/$folder/$name.out
        if [ "$rule" = xfail ]; then
            result="skipped (the suite expects it to fail)"
        elif [ ! -e "$wasm" ] && ! build "$folder" "$name" "$wasm"; then
            result="FAILED to build: $(grep -m1 -E 'error|undefined' "$out/$folder/$name.log" | cut -c1-140)"
        else
            (cd "$out/$folder" && timeout "$limit" "$run" $settings -n "$ranks" "$wasm" $arguments </dev/null >"$log" 2>&1)
            result=$(verdict $? "$log" "$rule")
        fi
        echo "$folder/$name $ranks$arguments: $result" | tee -a "$results"
    done
done
printf 'ok %s, skipped %s, failed %s\n' "$(grep -c ': ok' "$results")" "$(grep -c ': skipped' "$results")" \
    "$(grep -c ': FAILED' "$results")"
