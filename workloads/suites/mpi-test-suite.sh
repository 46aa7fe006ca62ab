#!/bin/bash
# Builds the Open MPI project's mpi-test-suite with faasm-cc and runs its tests with faasm-run.
#
#   workloads/suites/mpi-test-suite.sh CHECKOUT OUT [RANKS [VALUES]]
#
# CHECKOUT is a checkout of open-mpi/mpi-test-suite that you fetched; OUT is where the program, its output and results go.
# One program holds all tests; it runs once for each of them, on all of its communicators and datatypes, at RANKS ranks
# (default 4) with messages of VALUES elements (default 100). FAASM_CC and FAASM_RUN name other binaries, LIMIT the
# seconds a test may take. OUT/results.txt has one line a test.
set -u

fail() { echo "mpi-test-suite.sh: $1" >&2; exit 2; }

[ $# -ge 2 ] || fail "usage: mpi-test-suite.sh CHECKOUT OUT [RANKS [VALUES]]"
suite=$(cd "$1" 2>/dev/null && pwd) && [ -e "$suite/mpi_test_suite.c" ] ||
    fail "$1 has no mpi_test_suite.c: give a checkout of open-mpi/mpi-test-suite"
mkdir -p "$2" && out=$(cd "$2" && pwd) || fail "cannot write to $2"
ranks=${3:-4} values=${4:-100}
cc=${FAASM_CC:-faasm-cc}
run=${FAASM_RUN:-faasm-run}
limit=${LIMIT:-60}
for tool in "$cc" "$run" timeout; do
    command -v "$tool" >/dev/null || fail "$tool is not there: build it, or name it with FAASM_CC, FAASM_RUN"
done

# What the suite's configure would find, and what gengetopt would make of its options.
conf=$out/include
mkdir -p "$conf"
cat > "$conf/config.h" <<'CONF'
#define HAVE_MPI2 1
#define HAVE_MPI2_ONE_SIDED 1
#define HAVE_MPI2_IO 1
#define HAVE_LONG_DOUBLE 1
#define HAVE_C_MPI_LONG_LONG_INT 1
#define SIZEOF_CHAR 1
#define SIZEOF_SHORT 2
#define SIZEOF_INT 4
#define SIZEOF_LONG 4
#define SIZEOF_LONG_LONG 8
#define SIZEOF_UNSIGNED_SHORT 2
#define SIZEOF_UNSIGNED_INT 4
#define SIZEOF_UNSIGNED_LONG 4
#define SIZEOF_UNSIGNED_LONG_LONG 8
#define SIZEOF_FLOAT 4
#define SIZEOF_DOUBLE 8
#define SIZEOF_LONG_DOUBLE 16
#define HAVE_FLOAT_H 1
#define HAVE_GETOPT_H 1
#define HAVE_LIMITS_H 1
#define HAVE_STDLIB_H 1
#define HAVE_STRING_H 1
#define HAVE_STRINGS_H 1
#define HAVE_UNISTD_H 1
#define HAVE_SYS_TIME_H 1
#define HAVE_SYS_TYPES_H 1
#define HAVE_MEMSET 1
#define HAVE_STRCASECMP 1
#define HAVE_STRERROR 1
#define HAVE_STRSTR 1
#define PACKAGE_VERSION "1.1.1"
#define PACKAGE_STRING "mpi_test_suite 1.1.1"
#ifndef SUITE_GETPID
#define SUITE_GETPID
/* Ranks are told apart by it, where files get names; ranks of one process have one number. */
#include <unistd.h>
#include <mpi.h>
static inline int suite_getpid(void)
{
    int rank = 0;
    MPI_Comm_rank(MPI_COMM_WORLD, &rank);
    return 1000 + rank;
}
#define getpid suite_getpid
#endif
CONF
cat > "$conf/cmdline.h" <<'CONF'
#ifndef CMDLINE_H
#define CMDLINE_H
#include <stdlib.h>
#include <string.h>
struct gengetopt_args_info {
    char *test_arg, *comm_arg, *datatype_arg, *num_values_arg, *report_arg, *execution_mode_arg;
    int num_threads_arg, atomic_io_given, list_given;
};
static inline int cmdline_parser(int argc, char **argv, struct gengetopt_args_info *info)
{
    struct gengetopt_args_info usual = {strdup("all"), strdup("all"), strdup("all"), strdup("1000"), "summary", "relaxed"};
    *info = usual;
    for (int i = 1; i < argc; i++) {
        if (!strcmp(argv[i], "-l")) info->list_given = 1;
        else if (!strcmp(argv[i], "-a")) info->atomic_io_given = 1;
        else if (i + 1 == argc) return 1;
        else if (!strcmp(argv[i], "-t")) info->test_arg = strdup(argv[++i]);
        else if (!strcmp(argv[i], "-c")) info->comm_arg = strdup(argv[++i]);
        else if (!strcmp(argv[i], "-d")) info->datatype_arg = strdup(argv[++i]);
        else if (!strcmp(argv[i], "-n")) info->num_values_arg = strdup(argv[++i]);
        else if (!strcmp(argv[i], "-r")) info->report_arg = strdup(argv[++i]);
        else if (!strcmp(argv[i], "-x")) info->execution_mode_arg = strdup(argv[++i]);
        else return 1;
    }
    return 0;
}
#endif
CONF

# The sources that the suite's Makefile.am names, without those of tests with threads, and without those of dynamic
# processes, which do not compile (undeclared names).
wasm=$out/mpi_test_suite
if [ ! -e "$wasm" ]; then
    sources=$(sed -n 's/^[[:space:]]*\([a-z0-9_-]*\/*[a-z0-9_]*\.c\).*/\1/p' "$suite/Makefile.am" | grep -v 'cmdline\|threaded\|dynamic')
    (cd "$suite" && "$cc" -O1 -w -D_GNU_SOURCE -I"$conf" -I. $sources -lm -o "$wasm") >"$out/build.log" 2>&1 ||
        fail "the suite does not compile; see $out/build.log"
fi
"$run" -n 1 "$wasm" -l >"$out/list.txt" 2>&1 || fail "the suite cannot list its tests; see $out/list.txt"

# Two types are in the suite's table and are not made since MPI 3.0, which has no MPI_LB; tests would then use others
# under their names, with buffers that are too short.
types='all,^MPI_TYPE_MIX_LB_UB,^Dup MPI_CHAR,^Dup MPI_TYPE_MIX_LB_UB'
results=$out/results.txt
: > "$results"
mkdir -p "$out/run"
sed -n 's/^.* test:\([0-9][0-9]* .*\)/\1/p' "$out/list.txt" | while read -r number name; do
    log=$out/run/$number.out
    (cd "$out/run" && timeout "$limit" "$run" --dir . -n "$ranks" "$wasm" -t "$name" -d "$types" -n "$values" -r summary </dev/null >"$log" 2>&1)
    status=$?
    if [ "$status" = 124 ]; then result="FAILED (no end after $limit s)"
    elif [ "$status" != 0 ]; then result="FAILED (status $status)"
    elif ! grep -q 'Number of failed tests: 0' "$log"; then result="FAILED ($(grep -m1 'Number of failed' "$log"))"
    else result=ok; fi
    echo "$name: $result" | tee -a "$results"
done
printf 'ok %s, failed %s\n' "$(grep -c ': ok' "$results")" "$(grep -c ': FAILED' "$results")"
