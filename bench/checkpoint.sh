#!/bin/bash
# Measures checkpoints of a job with much memory beside `dd` of the same bytes with fsync, in alternating rounds.
#
#   bench/checkpoint.sh [--runs N] [--ranks N] [--mib N] [--changed PER_CENT] [--dir DIR] [--strict]
#
# A round: the job fills its memory with numbers that cannot be compressed and makes a checkpoint, changes a part of the
# memory and makes another; then dd writes the bytes of the first one to the same disk. Everything lies below DIR
# (default: bench/out/checkpoint), which takes three times the job's memory. The time of a checkpoint is what faasm-run
# says: from the order to the moment at which everything is durable. With --strict a missed target is a failure.
set -euo pipefail
cd "$(dirname "$0")/.."

runs=5 ranks=64 mib=16 changed=5 dir=bench/out/checkpoint strict=
while [ $# -gt 0 ]; do
    case $1 in
        --runs) runs=$2; shift 2 ;;
        --ranks) ranks=$2; shift 2 ;;
        --mib) mib=$2; shift 2 ;;
        --changed) changed=$2; shift 2 ;;
        --dir) dir=$2; shift 2 ;;
        --strict) strict=1; shift ;;
        *) echo "checkpoint.sh: $1 is no option; its head explains them" >&2; exit 2 ;;
    esac
done

release=$PWD/${RELEASE:-target/release}
for tool in faasm-run faasm-cc; do
    [ -x "$release/$tool" ] || { echo "checkpoint.sh: $release/$tool is not there; run \`make build\`" >&2; exit 2; }
done
mkdir -p "$dir"
"$release/faasm-cc" -O3 workloads/guests/bench/checkpoint.c -o "$dir/checkpoint.wasm"
cd "$dir"

job=
trap '[ -z "$job" ] || kill -9 "$job" 2>/dev/null; rm -rf kept all copy end change' EXIT

# Waits until a file has a line, while the job runs.
await() {
    until grep -q "$2" "$1" 2>/dev/null; do
        kill -0 "$job" 2>/dev/null || { echo "checkpoint.sh: the job ended early" >&2; cat log >&2; exit 1; }
        sleep 0.02
    done
}

# Bytes and seconds of a checkpoint, from what faasm-run says.
cut_of() { sed -n "s/.*checkpoint $1 is in .*(\([0-9]*\) bytes, \([0-9.]*\) s).*/\1 \2/p" log; }

median() { sort -n | awk '{ v[NR] = $1 } END { print NR % 2 ? v[(NR + 1) / 2] : (v[NR / 2] + v[NR / 2 + 1]) / 2 }'; }

rates=() parts=()
printf '%5s %14s %10s %10s %8s %16s %10s\n' round "bytes" "MB/s" "dd MB/s" ratio "second: bytes" "seconds"
for round in $(seq "$runs"); do
    rm -rf kept all copy end change
    "$release/faasm-run" -n "$ranks" --checkpoint-dir kept checkpoint.wasm "$mib" "$changed" > out 2> log &
    job=$!
    await out READY
    sync
    "$release/faasm-run" checkpoint "$job" > asked
    await log 'checkpoint 1 is'
    touch change
    await out CHANGED
    sync
    "$release/faasm-run" checkpoint "$job" > asked
    await log 'checkpoint 2 is'
    touch end
    wait "$job"
    job=
    read -r bytes seconds <<< "$(cut_of 1)"
    read -r second second_seconds <<< "$(cut_of 2)"
    cat kept/cut-000001/rank-* > all
    sync
    begun=$(date +%s%N)
    dd if=all of=copy bs=1M conv=fsync status=none
    ended=$(date +%s%N)
    read -r rate dd_rate ratio part <<< "$(awk -v b="$bytes" -v s="$seconds" -v d=$((ended - begun)) -v c="$second" \
        'BEGIN { r = b / s / 1e6; q = b / d * 1e3; printf "%.0f %.0f %.3f %.4f\n", r, q, r / q, c / b }')"
    printf '%5s %14s %10s %10s %8s %16s %10s\n' "$round" "$bytes" "$rate" "$dd_rate" "$ratio" "$second" "$second_seconds"
    rates+=("$ratio") parts+=("$part")
done
rate=$(printf '%s\n' "${rates[@]}" | median) part=$(printf '%s\n' "${parts[@]}" | median)
echo "bytes per second beside dd: $rate (target: at least 0.7)"
echo "bytes of the second checkpoint, $changed % changed: $part of the first one's (target: at most 0.12)"
[ -z "$strict" ] || awk -v r="$rate" -v p="$part" 'BEGIN { exit !(r >= 0.7 && p <= 0.12) }'
