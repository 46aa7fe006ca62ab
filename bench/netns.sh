#!/usr/bin/env bash
# A cluster of network namespaces on this machine: hosts n1, n2, ... with an address each, joined by one switch.
#
#   netns.sh [--lab NAME] up N [WIRE...]                 make it; each word of WIRE with its value, in any order:
#                delay 1ms    every packet takes so long
#                loss 0.1%    every packet is lost with this probability
#                tcp cubic    TCP has this congestion control, else the machine's
#                cores apart  every host has cores of its own, as machines have; else all hosts share all cores
#   netns.sh [--lab NAME] run HOST COMMAND...            run a command on a host, with the host's name, network and hosts file
#   netns.sh [--lab NAME] agent [OPTIONS] HOST WORDS...  the same as ssh does it: for launchers (the lab has a script of it)
#   netns.sh [--lab NAME] cut HOST                       pull the cable of a host out of the switch
#   netns.sh [--lab NAME] restore HOST                   put it back
#   netns.sh [--lab NAME] kill HOST                      kill every process on a host
#   netns.sh [--lab NAME] path agent|hosts               where the launcher's script and the hosts file are
#   netns.sh [--lab NAME] down                           kill what runs there and remove it; no error if there is none
#   netns.sh [--lab NAME] with N [WIRE...] -- COMMAND...           up, COMMAND, down, whatever happens
#   netns.sh list                                        the labs there are, also those that a crash left behind
#   netns.sh wires                                       how packets can be delayed here: netem, cable or none
#
# It needs root, of the machine or of a user namespace (`unshare -Urnm bench/netns.sh ...`). Everything lives in network
# namespaces called faasm-LAB-*, so the machine's own network is never touched and nothing outlives `down`.
#
# Delay and loss come from the kernel's netem. Where the kernel has none, the program faasm-cable forwards packets
# between TAP devices instead (FAASM_CABLE names it; else it is looked for in target/release and target/debug).
set -euo pipefail

here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
readonly here
readonly hosts_max=64
readonly state_root=${FAASM_NETNS_STATE:-/run/faasm-netns}
lab=lab

fail() {
    printf 'netns.sh: %s\n' "$*" >&2
    exit 2
}

namespace() { printf 'faasm-%s-%s' "$lab" "$1"; }

state() { printf '%s/%s' "$state_root" "$lab"; }

in_switch() { ip netns exec "$(namespace switch)" "$@"; }

needs_root() {
    [ "$(id -u)" -eq 0 ] || fail "network namespaces need root: run it as root (sudo), or in a user namespace of your own
with: unshare -Urnm bash -c 'mount -t tmpfs run /run && bench/netns.sh with 2 -- COMMAND'"
    for tool in ip tc unshare mount hostname taskset; do
        command -v "$tool" >/dev/null 2>&1 || fail "$tool is missing: install the packages iproute2, util-linux and hostname (.ci/setup network does)"
    done
}

# The first namespace of a machine also mounts the folder of all of them; two at once hide each other's.
add_namespace() {
    mkdir -p "$state_root"
    flock "$state_root/adding" ip netns add "$1"
}

# The names of all namespaces. `ip netns list` would open each of them, and complain of those that are going.
spaces() { ls /run/netns 2>/dev/null || true; }
exists() { [ -e "/run/netns/$(namespace switch)" ]; }

# n2 -> 2
number_of() {
    local number=${1#n}
    [[ $number =~ ^[0-9]+$ ]] || fail "a host is called n1, n2, ..., not $1"
    [ -d "$(state)/$number" ] || fail "the lab $lab has no host $1"
    printf '%s' "$number"
}

up() {
    local hosts=${1:-}
    [[ $hosts =~ ^[0-9]+$ ]] && [ "$hosts" -ge 1 ] && [ "$hosts" -le "$hosts_max" ] ||
        fail "the number of hosts must be 1 to $hosts_max, not '$hosts'"
    shift
    local wire=() tcp= cores=
    while [ $# -gt 0 ]; do
        case "$1" in
        delay) [[ ${2:-} =~ ^[0-9]+(\.[0-9]+)?(us|ms|s)$ ]] || fail "delay must be a time such as 1ms, not '${2:-}'" ;;
        loss) [[ ${2:-} =~ ^[0-9]+(\.[0-9]+)?%$ ]] || fail "loss must be per cent such as 0.1%, not '${2:-}'" ;;
        tcp) [[ ${2:-} =~ ^[a-z0-9_]+$ ]] || fail "tcp must be a congestion control such as cubic, not '${2:-}'" ;;
        cores) [ "${2:-}" = apart ] || fail "cores can be apart, not '${2:-}'" ;;
        *) fail "a wire has delay, loss, tcp and cores, not '$1'" ;;
        esac
        case "$1" in
        tcp) tcp=$2 ;;
        cores) cores=$2 ;;
        *) wire+=("$1" "$2") ;;
        esac
        shift 2
    done
    down
    # A half made lab must not stay.
    trap 'status=$?; trap "" INT TERM; down; exit $status' EXIT
    trap 'exit 130' INT
    trap 'exit 143' TERM
    mkdir -p "$(state)"
    add_namespace "$(namespace switch)"
    write_files "$hosts"
    [ -z "$cores" ] || share_cores "$hosts"
    local host
    for host in $(seq "$hosts"); do
        add_host "$host"
        # Of the route, because a namespace may not choose every one of the machine's for itself.
        [ -z "$tcp" ] || ip -n "$(namespace "$host")" route change 10.77.0.0/24 dev eth0 proto kernel scope link src "10.77.0.$host" congctl "$tcp"
    done
    if [ ${#wire[@]} -gt 0 ] && ! has_netem; then
        join_by_cable "$hosts" "${wire[@]}"
    else
        join_by_bridge "$hosts" "${wire[@]}"
    fi
    trap - EXIT INT TERM
}

write_files() {
    local hosts=$1 host
    {
        printf '127.0.0.1 localhost\n::1 localhost\n'
        for host in $(seq "$hosts"); do printf '10.77.0.%s n%s\n' "$host" "$host"; done
    } >"$(state)/hosts"
    printf '#!/bin/sh\nexec env FAASM_NETNS_STATE=%q %q --lab %q agent "$@"\n' "$state_root" "$here/netns.sh" "$lab" >"$(state)/agent"
    chmod +x "$(state)/agent"
    for host in $(seq "$hosts"); do
        mkdir -p "$(state)/$host"
        # MPI libraries take equal boot ids for one machine, and would talk through its memory.
        cat /proc/sys/kernel/random/uuid >"$(state)/$host/boot_id"
    done
}

# Gives each host as many of the cores that this process may use; those that are left over stay idle.
share_cores() {
    local hosts=$1 all host each
    mapfile -t all < <(taskset -cp $$ | sed 's/.*: //; s/,/\n/g' | while IFS=- read -r first last; do seq "$first" "${last:-$first}"; done)
    each=$((${#all[@]} / hosts))
    [ "$each" -ge 1 ] || fail "$hosts hosts cannot have cores apart: there are ${#all[@]}"
    for host in $(seq "$hosts"); do
        local own=("${all[@]:((host - 1) * each):each}")
        (IFS=,; printf '%s' "${own[*]}") >"$(state)/$host/cores"
    done
}

add_host() {
    local host=$1 space
    space=$(namespace "$host")
    add_namespace "$space"
    ip -n "$space" link set lo up
    ip -n "$(namespace switch)" link add "port$host" type veth peer name eth0 netns "$space"
    ip -n "$space" addr add "10.77.0.$host/24" dev eth0
    ip -n "$space" link set eth0 up
    ip -n "$(namespace switch)" link set "port$host" up
}

join_by_bridge() {
    local hosts=$1 host
    shift
    add_bridge switch
    for host in $(seq "$hosts"); do
        ip -n "$(namespace switch)" link set "port$host" master switch
        [ $# -gt 0 ] || continue
        # Loss is of packets as a wire has them, not of the large ones that are cut later.
        ip -n "$(namespace "$host")" link set eth0 gso_max_segs 1
        in_switch tc qdisc add dev "port$host" root netem limit 10000 "$@"
    done
}

# port1 -bridge1- tap1 = faasm-cable = tap2 -bridge2- port2
join_by_cable() {
    local hosts=$1 cable taps=() host
    shift
    { : <>/dev/net/tun; } 2>/dev/null || fail "this kernel has no netem, and a cable instead of it needs /dev/net/tun: is it there, and may you write it?"
    cable=$(find_cable) || fail "this kernel has no netem and faasm-cable is not built: run cargo build --release -p faasm-bench, or name it in FAASM_CABLE"
    for host in $(seq "$hosts"); do
        in_switch ip tuntap add dev "tap$host" mode tap
        add_bridge "bridge$host"
        ip -n "$(namespace switch)" link set "port$host" master "bridge$host"
        ip -n "$(namespace switch)" link set "tap$host" master "bridge$host"
        ip -n "$(namespace switch)" link set "tap$host" txqueuelen 10000
        ip -n "$(namespace switch)" link set "tap$host" up
        taps+=("tap$host")
    done
    # A wire does not wait for a processor.
    local first=()
    if chrt --fifo 1 true 2>/dev/null; then first=(chrt --fifo 1); fi
    in_switch "${first[@]}" "$cable" "$@" -- "${taps[@]}" </dev/null >"$(state)/cable.log" 2>&1 3>&- &
    local pid=$! tries
    disown
    for tries in $(seq 100); do
        grep -q '^ready' "$(state)/cable.log" && return
        kill -0 "$pid" 2>/dev/null || fail "faasm-cable ended: $(cat "$(state)/cable.log")"
        sleep 0.05
    done
    fail "faasm-cable was not ready after $((tries / 20)) s"
}

add_bridge() {
    ip -n "$(namespace switch)" link add "$1" type bridge forward_delay 0 mcast_snooping 0
    ip -n "$(namespace switch)" link set "$1" up
}

find_cable() {
    if [ -n "${FAASM_CABLE:-}" ]; then
        [ -x "$FAASM_CABLE" ] && printf '%s' "$FAASM_CABLE"
        return
    fi
    local path
    for path in "$here/../target/release/faasm-cable" "$here/../target/debug/faasm-cable"; do
        [ ! -x "$path" ] || { printf '%s' "$path"; return; }
    done
    return 1
}

# Tried in a namespace of its own, which takes everything with it. FAASM_NETNS_CABLE=1 does without.
has_netem() {
    [ -z "${FAASM_NETNS_CABLE:-}" ] &&
        unshare --net sh -c 'ip link set lo up && tc qdisc add dev lo root netem delay 1ms' >/dev/null 2>&1
}

wires() {
    if has_netem; then
        echo netem
    elif { : <>/dev/net/tun; } 2>/dev/null && find_cable >/dev/null; then
        echo cable
    else
        echo none
    fi
}

run() {
    local host
    host=$(number_of "${1:-}")
    shift
    [ $# -gt 0 ] || fail "run HOST COMMAND..."
    local cores=()
    [ ! -f "$(state)/$host/cores" ] || cores=(taskset -c "$(cat "$(state)/$host/cores")")
    FAASM_NETNS_FILES=$(state) FAASM_NETNS_HOST=$host exec "${cores[@]}" ip netns exec "$(namespace "$host")" \
        unshare --uts --mount -- sh -c "$enter" sh "$@"
}

# What a command on a host sees of its own: name, hosts file, boot id. The mounts are private to the command.
# shellcheck disable=SC2016
readonly enter='
mount --bind "$FAASM_NETNS_FILES/hosts" /etc/hosts &&
mount --bind "$FAASM_NETNS_FILES/$FAASM_NETNS_HOST/boot_id" /proc/sys/kernel/random/boot_id &&
hostname "n$FAASM_NETNS_HOST" || exit 255
unset FAASM_NETNS_FILES FAASM_NETNS_HOST
exec "$@"'

# As ssh: options first, then [user@]host, then words that a shell on the host joins and reads.
agent() {
    while [ $# -gt 0 ]; do
        case "$1" in
        -[bcDEeFIiJLlmOopQRSWw]) shift 2 ;;
        -*) shift ;;
        *) break ;;
        esac
    done
    [ $# -ge 2 ] || fail "agent [OPTIONS] HOST COMMAND"
    local host=${1#*@}
    shift
    run "$host" sh -c "$*"
}

# The port at the switch: both directions are dead, and the host notices nothing but a lost carrier.
set_port() {
    local host
    host=$(number_of "${1:-}")
    ip -n "$(namespace switch)" link set "port$host" "$2"
}

kill_host() {
    local space
    space=$(namespace "$(number_of "${1:-}")")
    kill_all "$space"
}

kill_all() {
    local pids tries
    for tries in $(seq 50); do
        pids=$(ip netns pids "$1" 2>/dev/null) || return 0
        [ -n "$pids" ] || return 0
        # shellcheck disable=SC2086
        kill -KILL $pids 2>/dev/null || true
        sleep 0.02
    done
    fail "processes of $1 survive SIGKILL after $tries attempts: $pids"
}

down() {
    local space
    for space in $(spaces | grep -E "^faasm-$lab-[a-z0-9]+\$"); do
        kill_all "$space"
        ip netns del "$space"
    done
    rm -rf "$(state)"
}

with() {
    local before=()
    while [ $# -gt 0 ] && [ "$1" != -- ]; do
        before+=("$1")
        shift
    done
    [ $# -ge 2 ] || fail "with N [delay ..] [loss ..] -- COMMAND..."
    shift
    up "${before[@]}"
    # A second signal must not end the removal.
    trap 'trap "" INT TERM; down' EXIT
    trap 'exit 130' INT
    trap 'exit 143' TERM
    # In the background, because a shell hears signals only while it waits.
    FAASM_NETNS_LAB=$lab FAASM_NETNS_AGENT=$(state)/agent "$@" <&0 &
    wait $!
}

if [ "${1:-}" = --lab ]; then
    lab=${2:-}
    shift 2
fi
[[ $lab =~ ^[a-z0-9]{1,32}$ ]] || fail "a lab's name is 1 to 32 small letters and digits, not '$lab'"
command=${1:-}
[ $# -eq 0 ] || shift
case "$command" in
up | down | run | agent | cut | restore | kill | path | with | list | wires) needs_root ;;
*) sed -n '2,/^set /s/^# \{0,1\}//p' "${BASH_SOURCE[0]}" >&2; exit 2 ;;
esac
case "$command" in
list) spaces | sed -n 's/^faasm-\([a-z0-9]*\)-switch$/\1/p' ;;
wires) wires ;;
up | down | with) "$command" "$@" ;;
*)
    exists || fail "there is no lab $lab: make it with: netns.sh --lab $lab up 2"
    case "$command" in
    run | agent) "$command" "$@" ;;
    cut) set_port "${1:-}" down ;;
    restore) set_port "${1:-}" up ;;
    kill) kill_host "${1:-}" ;;
    path) printf '%s/%s\n' "$(state)" "${1:?agent or hosts}" ;;
    esac
    ;;
esac
