#!/bin/bash
# Builds public test suites of OpenMP with faasm-cc and runs their programs with faasm-run.
#
#   workloads/suites/openmp.sh CHECKOUT OUT [NAME...]
#
# CHECKOUT is a checkout that you fetched: of LLVM's OpenMP (llvm-project, or its openmp folder alone), whose programs say
# in their first lines how they are run, or of OpenMP_VV, whose programs end with status 0. OUT is where programs,
# outputs and the list of results go; NAME are parts of names (default: all programs). FAASM_CC, FAASM_CXX and FAASM_RUN name
# other binaries, LIMIT the seconds a program may take. The last line counts results; OUT/results.txt has one line a test.
set -u

fail() { echo "openmp.sh: $1" >&2; exit 2; }

[ $# -ge 2 ] || fail "usage: openmp.sh CHECKOUT OUT [NAME...]"
checkout=$1
mkdir -p "$2" && out=$(cd "$2" && pwd) || fail "cannot write to $2"
shift 2
cc=${FAASM_CC:-faasm-cc}
cxx=${FAASM_CXX:-faasm-c++}
run=${FAASM_RUN:-faasm-run}
limit=${LIMIT:-60}
for tool in "$cc" "$cxx" "$run" timeout python3; do
    command -v "$tool" >/dev/null || fail "$tool is not there: build it, or name it with FAASM_CC, FAASM_CXX, FAASM_RUN"
done

kind=
for folder in openmp/runtime/test runtime/test; do
    [ -e "$checkout/$folder/omp_testsuite.h" ] && kind=llvm tests=$checkout/$folder
done
[ -e "$checkout/ompvv/ompvv.h" ] && kind=vv tests=$checkout/tests
[ -n "$kind" ] || fail "$checkout is neither LLVM's OpenMP nor OpenMP_VV"
tests=$(cd "$tests" && pwd)
options="-fopenmp -O1 -w"
case $kind in
    llvm) options="$options -I$tests -I$tests/ompt -D_GNU_SOURCE" ;;
    vv) options="$options -I$tests/../ompvv -fopenmp-version=60" ;;
esac

compiler() { case $1 in *.cpp) echo "$cxx" ;; *) echo "$cc" ;; esac }

# A program's own lines of how it is run, as shell commands.
commands() {
    source=$1 wasm=$2
    sed -n 's/^.*RUN: *//p' "$source" | sed -e ':a' -e '/\\$/{N;s/\\\n *//;ta' -e '}' \
        -e 's/%libomp-\(cxx-\)\?compile-and-run/%libomp-compile \&\& %libomp-run/g' \
        -e 's/%libomp-cxx-compile/%libomp-compile/g' \
        -e "s#%libomp-compile#'$(compiler "$source")' $options %s -o %t -lm#g" \
        -e "s#%libomp-run#timeout $limit '$run' -n 1 %t#g" \
        -e 's#%python#python3#g' -e 's#%sort-threads#sort -n -s#g' \
        -e "s#%s#'$source'#g" -e "s#%S#'$(dirname "$source")'#g" -e "s#%t#'$wasm'#g"
}

run_llvm() {
    source=$1 wasm=$2 log=$3
    lines=$(commands "$source" "$wasm")
    case $lines in
        "") echo "skipped (has no line that says how it is run)"; return ;;
        *FileCheck*) echo "skipped (needs FileCheck)"; return ;;
    esac
    : > "$log"
    while read -r line; do
        (set -o pipefail; eval "$line") </dev/null >>"$log" 2>&1 && continue
        status=$?
        echo "FAILED (status $status): $line" | sed "s#$tests/##g; s#$out/##g; s#'[^']*/faasm#'faasm#g" | cut -c1-200
        return
    done <<<"$lines"
    echo ok
}

run_vv() {
    source=$1 wasm=$2 log=$3
    # The compiler never ends with one of them.
    if ! timeout "$limit" "$(compiler "$source")" $options "$source" -o "$wasm" -lm >"$log" 2>&1; then
        echo "FAILED to build: $(grep -m1 -E 'error|undefined' "$log" | sed 's/.*error: //' | cut -c1-140)"
        return
    fi
    timeout "$limit" "$run" -n 1 "$wasm" </dev/null >"$log" 2>&1
    status=$?
    [ $status = 0 ] && echo ok || echo "FAILED (status $status)"
}

chosen() {
    [ $# -eq 1 ] && return 0
    name=$1
    shift
    for part in "$@"; do
        case $name in *"$part"*) return 0 ;; esac
    done
    return 1
}

results=$out/results.txt
: > "$results"
find "$tests" -name '*.c' -o -name '*.cpp' | sort | while read -r source; do
    name=${source#"$tests"/}
    chosen "$name" "$@" || continue
    case $kind:$name in
        # The interface for tools is not offered.
        llvm:ompt/*) continue ;;
    esac
    base=$out/${name%.*}
    mkdir -p "$(dirname "$base")"
    echo "$name: $("run_$kind" "$source" "$base.wasm" "$base.out")" | tee -a "$results"
done
printf 'ok %s, skipped %s, failed %s\n' "$(grep -c ': ok' "$results")" "$(grep -c ': skipped' "$results")" \
    "$(grep -c ': FAILED' "$results")"
