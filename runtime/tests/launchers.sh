# What the tests of launchers share; sourced by ssh.sh, slurm.sh and kubernetes.sh, which take the faasm-run to test and the
# compiled guest faasm/where.c as arguments.
# Everything is in a directory of its own under /tmp, which is removed at the end with all processes that were started.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/../.."

PATH="$PATH:/usr/sbin:/sbin"
faasm_run=$(realpath "${1:-${CARGO_TARGET_DIR:-target}/debug/faasm-run}")
where=${2:-}
dir=$(mktemp -d /tmp/faasm-launch.XXXXXX)
servers=()
checks=0

say() { printf '%s: %s\n' "$(basename "$0")" "$*" >&2; }
fail() {
    say "FAILED: $*"
    for log in "$dir"/out "$dir"/err "$dir"/*.log; do
        [ -s "$log" ] && { echo "--- $(basename "$log")"; tail -n 30 "$log"; } >&2
    done
    exit 1
}

# Ends what was started, the last one first, and does not wait for those that do not listen.
stop_servers() {
    local at server tries
    for ((at = ${#servers[@]} - 1; at >= 0; at--)); do
        server=${servers[at]}
        kill "$server" 2>/dev/null || continue
        for ((tries = 0; tries < 30; tries++)); do
            kill -0 "$server" 2>/dev/null || continue 2
            sleep 0.1
        done
        kill -KILL "$server" 2>/dev/null || true
    done
}

finish() {
    local status=$?
    stop_servers
    rm -rf "$dir"
    [ "$status" -ne 0 ] || say "$checks checks passed"
    exit "$status"
}
trap finish EXIT

# Starts a program that stays; its messages go to a log.
serve() {
    local name=$1
    shift
    "$@" >"$dir/$name.log" 2>&1 &
    servers+=($!)
}

# Tries a command again until it succeeds; fails after a time that suffices on any machine.
await() {
    local what=$1 tries=600
    shift
    until "$@" >/dev/null 2>&1; do
        tries=$((tries - 1))
        [ "$tries" -gt 0 ] || fail "$what"
        sleep 0.1
    done
}

# A port of this machine that nobody uses.
free_port() {
    local port
    while :; do
        port=$((20000 + RANDOM % 12000))
        if ! (exec 3<>"/dev/tcp/127.0.0.1/$port") 2>/dev/null; then
            echo "$port"
            return
        fi
    done
}

# run STATUS COMMAND...: the command must end with this status; its output is kept in $dir/out and $dir/err.
run() {
    local expected=$1 status=0
    shift
    timeout 180 "$@" >"$dir/out" 2>"$dir/err" || status=$?
    [ "$status" -eq "$expected" ] || fail "status $status instead of $expected: $*"
    checks=$((checks + 1))
}

# The standard output, sorted, must be this.
output_is() {
    diff <(printf '%s\n' "$@" | sort) <(sort "$dir/out") >&2 || fail "the output above is wrong"
}

# said RANKS SUM NODES: each rank of this world, in whatever order, and no other.
said() {
    local rank lines=()
    for ((rank = 0; rank < $1; rank++)); do lines+=("rank $rank of $1, sum $2, nodes $3"); done
    output_is "${lines[@]}"
}

# The same where lines have tags: said_on SUM NODES HOST_OF_RANK_0 HOST_OF_RANK_1 ...
said_on() {
    local rank=0 host lines=() sum=$1 nodes=$2
    shift 2
    for host in "$@"; do
        lines+=("[1,$rank][$host]<stdout>: rank $rank of $#, sum $sum, nodes $nodes")
        rank=$((rank + 1))
    done
    output_is "${lines[@]}"
}

# Standard error must name this.
error_says() {
    for text in "$@"; do
        grep -qF -- "$text" "$dir/err" || fail "standard error does not say: $text"
    done
}

# No node process of ours is left.
no_nodes_left() {
    nodes_run() { pgrep -f "^$faasm_run node " >/dev/null; }
    none_runs() { ! nodes_run; }
    await "a node process is left" none_runs
}

# The program that jobs run: $dir/where.wasm.
guest() {
    if [ -n "$where" ]; then
        cp "$where" "$dir/where.wasm"
    else
        "$(dirname "$faasm_run")/faasm-cc" -O1 workloads/guests/faasm/where.c -o "$dir/where.wasm"
    fi
}

[ -x "$faasm_run" ] || fail "$faasm_run is missing: build it with cargo build -p faasm-runtime"
