#!/bin/bash
# Measures what it costs to move ranks between nodes while their job runs.
#
#   bench/migration.sh [gap] [others] [together] [--runs N] [--moves N] [--mib "4 256"] [--strict]
#
#   gap       how long a rank that writes 10 MiB/s stands still, as it sees that itself, when it is moved between two nodes
#             of this machine: the longest time between two of its looks at the clock while the order is carried out
#   others    how long two ranks that exchange messages all the time, and stay, stand still while another one is moved beside one that
#             computes for 100 ms between two calls: the longest exchange during each order, and during as long a time before it
#   together  the time of an all-to-all job whose 8 ranks are on two hosts with a delay of 100 us (network namespaces, for
#             which it has to be root), and which are moved together after a fifth of the rounds
# Without a word all three are measured. With --strict a missed target is a failure.
set -euo pipefail
cd "$(dirname "$0")/.."

runs=5 moves=10 sizes="4 256" strict= parts=()
while [ $# -gt 0 ]; do
    case $1 in
        gap | others | together) parts+=("$1"); shift ;;
        --runs) runs=$2; shift 2 ;;
        --moves) moves=$2; shift 2 ;;
        --mib) sizes=$2; shift 2 ;;
        --strict) strict=1; shift ;;
        *) echo "migration.sh: $1 is no option; its head explains them" >&2; exit 2 ;;
    esac
done
[ ${#parts[@]} -gt 0 ] || parts=(gap others together)

release=$PWD/${RELEASE:-target/release}
for tool in faasm-run faasm-cc; do
    [ -x "$release/$tool" ] || { echo "migration.sh: $release/$tool is not there; run \`make build\`" >&2; exit 2; }
done
work=$(mktemp -d)
job= lab=
trap 'if [ -n "$job" ]; then kill "$job" 2>/dev/null || true; fi; [ -z "$lab" ] || bench/netns.sh --lab "$lab" down; rm -rf "$work"' EXIT
export FAASM_STATE_DIR=$work/state
for guest in gap bystanders exchange; do
    "$release/faasm-cc" -O3 "workloads/guests/bench/$guest.c" -o "$work/$guest.wasm"
done

# Waits until the job has said this.
await() {
    # Without looking again and again: that would take the processors from what is measured.
    grep -q "$1" < <(exec tail -n +1 -F --pid "$job" "$work/out" 2>/dev/null) && return
    echo "migration.sh: the job ended early" >&2
    cat "$work/out" "$work/log" >&2
    exit 1
}

median() { sort -n | awk '{ v[NR] = $1 } END { print NR % 2 ? v[(NR + 1) / 2] : (v[NR / 2] + v[NR / 2 + 1]) / 2 }'; }
missed=0
# What was measured, the target, what it is called.
judge() {
    awk -v v="$1" -v t="$2" 'BEGIN { exit !(v <= t) }' && word=reached || { word=MISSED; missed=1; }
    echo "$3: $1 (target: at most $2, $word)"
}

# Starts a job of a guest on two nodes of this machine, with its arguments, and waits until it is ready.
begin() {
    : >"$work/moves"
    rm -f "$work/end"
    (cd "$work" && exec "$release/faasm-run" --local-nodes 2 --migratable "$@" >out 2>log) &
    job=$!
    await READY
    sleep 0.5
}

# Moves this rank back and forth; notes when an order was given and carried out, and what it said.
move() {
    local move begun told
    for move in $(seq "$moves"); do
        begun=$(date +%s%N)
        told=$("$release/faasm-run" migrate "$job" "$1" $(((move + $1) % 2)))
        echo "$begun $(date +%s%N)" >>"$work/moves"
        said+=("$(sed -n 's/.*stopped for \([0-9.]*\) ms.*/\1/p' <<<"$told")")
        sleep 0.1
    done
    touch "$work/end"
    wait "$job"
    job=
}

# The longest gap during each order, or with a word in as long a time before it, in ms.
longest() {
    awk -v before="${1:-}" 'NR == FNR { if ($1 == "GAP") { n++; at[n] = $2; len[n] = $3 } next }
        { from = $1; to = $2; if (before) { from = 2 * $1 - $2; to = $1 }
          longest = 0; for (g = 1; g <= n; g++) if (at[g] + len[g] > from && at[g] < to && len[g] > longest) longest = len[g]
          printf "%.2f\n", longest / 1e6 }' "$work/out" "$work/moves"
}

measure_gap() {
    local mib=$1 target=$2 run all=() said=()
    for run in $(seq "$runs"); do
        begin --map-by node -n 2 gap.wasm "$mib" 10
        move 0
        grep -q '^END.*right' "$work/out" || { echo "migration.sh: the rank's memory is wrong" >&2; cat "$work/out" >&2; exit 1; }
        mapfile -t -O "${#all[@]}" all < <(longest)
    done
    printf '%s MiB: longest gaps of %s moves in ms: %s\n' "$mib" "${#all[@]}" "$(printf '%s\n' "${all[@]}" | sort -n | tr '\n' ' ')"
    printf '%s MiB: as faasm-run says, from all waiting to all going on: median %s ms\n' "$mib" "$(printf '%s\n' "${said[@]}" | median)"
    judge "$(printf '%s\n' "${all[@]}" | median)" "$target" "downtime of a $mib MiB rank, median, ms"
}

measure_others() {
    local run all=() before=() said=()
    for run in $(seq "$runs"); do
        begin -n 4 bystanders.wasm 100
        move 3
        mapfile -t -O "${#all[@]}" all < <(longest)
        mapfile -t -O "${#before[@]}" before < <(longest before)
    done
    printf 'others: longest exchanges during %s moves in ms: %s\n' "${#all[@]}" "$(printf '%s\n' "${all[@]}" | sort -n | tr '\n' ' ')"
    printf 'others: median %s ms, in as long a time before each move %s ms\n' "$(printf '%s\n' "${all[@]}" | median)" "$(printf '%s\n' "${before[@]}" | median)"
}

# On these hosts: the seconds of the job; with a word it is moved together when a fifth is done.
exchange() {
    local hosts=$1 moved=${2:-}
    bench/netns.sh --lab "$lab" run n1 "$release/faasm-run" -q --host "$hosts" --launcher ssh --launcher-exec "$agent" --migratable \
        -n 8 "$work/exchange.wasm" "$rounds" 64 >"$work/out" 2>"$work/log" &
    job=$!
    if [ -n "$moved" ]; then
        await PART
        "$release/faasm-run" migrate "$job" 4,5,6,7 0 >>"$work/told"
    fi
    wait "$job" || { cat "$work/log" >&2; exit 1; }
    job=
    ! grep -q WRONG "$work/out" || { echo "migration.sh: the ranks got wrong data" >&2; exit 1; }
    sed -n 's/^SECONDS \([0-9.]*\).*/\1/p' "$work/out"
}

measure_together() {
    local run together split moved limits=() all=()
    lab=move$$
    bench/netns.sh --lab "$lab" up 2 delay 100us
    agent=$(bench/netns.sh --lab "$lab" path agent)
    # A few seconds: the order alone costs about 15 ms.
    rounds=20000
    printf '%5s %12s %8s %8s %8s\n' round together split moved limit
    for run in $(seq "$runs"); do
        together=$(exchange n1:8) split=$(exchange n1:4,n2:4) moved=$(exchange n1:4,n2:4 moved)
        limit=$(awk -v t="$together" -v s="$split" 'BEGIN { printf "%.4f", 1.3 * t + 0.2 * s }')
        printf '%5s %12s %8s %8s %8s\n' "$run" "$together" "$split" "$moved" "$limit"
        all+=("$(awk -v m="$moved" -v l="$limit" 'BEGIN { printf "%.3f", m / l }')")
    done
    cat "$work/told"
    judge "$(printf '%s\n' "${all[@]}" | median)" 1 "time of the job that is moved together, of 1.3 times all on one host and a fifth of the split time"
    bench/netns.sh --lab "$lab" down
    lab=
}

for part in "${parts[@]}"; do
    case $part in
        gap) for mib in $sizes; do measure_gap "$mib" "$([ "$mib" -le 4 ] && echo 3 || echo 20)"; done ;;
        *) "measure_$part" ;;
    esac
done
[ -z "$strict" ] || exit "$missed"
