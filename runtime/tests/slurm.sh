#!/usr/bin/env bash
# Jobs inside a real Slurm: a controller, two daemons that are two nodes of this one machine, and munge, all with settings
# in a temporary directory and on ports of their own. They run as the user who calls this.
#
#   runtime/tests/slurm.sh [faasm-run [where.wasm]]
. "$(dirname "$0")/launchers.sh"

.ci/setup slurm
user=$(id -un)
chmod 755 "$dir"
mkdir -m 700 "$dir/munge" "$dir/state" "$dir/spool.n1" "$dir/spool.n2"
mkdir -m 755 "$dir/socket"
dd if=/dev/urandom of="$dir/munge/key" bs=128 count=1 status=none
chmod 600 "$dir/munge/key"

export SLURM_CONF=$dir/slurm.conf
cat >"$SLURM_CONF" <<EOC
ClusterName=faasm
SlurmctldHost=$(hostname -s)(127.0.0.1)
SlurmctldPort=$(free_port)
SlurmUser=$user
SlurmdUser=$user
AuthType=auth/munge
AuthInfo=socket=$dir/socket/munge
CredType=cred/munge
StateSaveLocation=$dir/state
SlurmdSpoolDir=$dir/spool.%n
SlurmctldPidFile=$dir/state/slurmctld.pid
SlurmdPidFile=$dir/spool.%n/slurmd.pid
SwitchType=switch/none
MpiDefault=none
ProctrackType=proctrack/linuxproc
TaskPlugin=task/none
JobAcctGatherType=jobacct_gather/none
AccountingStorageType=accounting_storage/none
SelectType=select/cons_tres
SelectTypeParameters=CR_Core
SchedulerType=sched/builtin
SlurmdParameters=config_overrides
ReturnToService=2
KillWait=2
NodeName=n1 NodeHostname=$(hostname -s) NodeAddr=127.0.0.1 Port=$(free_port) CPUs=4 State=UNKNOWN
NodeName=n2 NodeHostname=$(hostname -s) NodeAddr=127.0.0.1 Port=$(free_port) CPUs=4 State=UNKNOWN
PartitionName=all Nodes=n1,n2 Default=YES MaxTime=INFINITE State=UP
EOC

serve munged munged --foreground --force --key-file="$dir/munge/key" --socket="$dir/socket/munge" \
    --pid-file="$dir/munge/pid" --log-file="$dir/munge/log" --seed-file="$dir/munge/seed"
await "munge does not answer" munge --socket="$dir/socket/munge" -n
serve slurmctld slurmctld -D -f "$SLURM_CONF"
for node in n1 n2; do serve "slurmd-$node" slurmd -D -f "$SLURM_CONF" -N "$node"; done
both_idle() { [ "$(sinfo -h -N -o '%T' | grep -c '^idle$')" -eq 2 ]; }
await "the nodes of Slurm do not come up" both_idle
guest
cd "$dir"

# batch STATUS OPTIONS -- COMMAND...: a batch job with this command; its output is in $dir/out and $dir/err.
batch() {
    local expected=$1 status options=()
    shift
    while [ "$1" != -- ]; do
        options+=("$1")
        shift
    done
    shift
    # `sbatch --wait` would look every few seconds only.
    rm -f "$dir/status"
    printf '#!/bin/sh\n%s\necho $? >status.new\nmv status.new status\n' "$*" >"$dir/batch"
    sbatch --quiet "${options[@]}" -D "$dir" -o "$dir/out" -e "$dir/err" "$dir/batch"
    await "the batch job does not end: $*" test -e "$dir/status"
    status=$(cat "$dir/status")
    [ "$status" -eq "$expected" ] || fail "status $status instead of $expected: sbatch ${options[*]}: $*"
    checks=$((checks + 1))
}

# In an allocation one faasm-run starts a node on each host, with as many ranks as tasks were asked for.
batch 0 -N2 --ntasks-per-node=2 -- "$faasm_run" --tag-output where.wasm
said_on 6 2 n1 n1 n2 n2
batch 0 -N2 --ntasks-per-node=2 -- "$faasm_run" -n 2 --map-by node --tag-output where.wasm
said_on 1 2 n1 n2
batch 1 -N2 --ntasks-per-node=2 -- "$faasm_run" -n 5 where.wasm
error_says "not enough slots"
batch 0 -N1 -n3 -- "$faasm_run" where.wasm
said 3 3 1
batch 7 -N2 --ntasks-per-node=1 -- "$faasm_run" where.wasm 0 7
no_nodes_left

# Tasks that srun starts are one world.
run 0 srun -N2 --ntasks-per-node=2 "$faasm_run" --tag-output where.wasm
said_on 6 2 n1 n1 n2 n2
run 0 srun -N2 -n3 -m cyclic "$faasm_run" --tag-output where.wasm
said_on 3 2 n1 n2 n1
run 0 srun -N1 -n3 "$faasm_run" where.wasm
said 3 3 1
run 7 srun -N2 -n2 "$faasm_run" where.wasm 0 7
[ -z "$(find "$dir" -maxdepth 1 -name '.faasm-step-*')" ] || fail "the file of the rendezvous is left"

# Those that would not be are refused.
run 1 srun -N2 -n2 "$faasm_run" -n 2 where.wasm
error_says "srun has started 2 tasks" "leave out -n"
run 0 srun -N1 -n2 "$faasm_run" --launcher local -n 2 where.wasm
[ "$(grep -c 'of 2, sum 1, nodes 1$' "$dir/out")" -eq 4 ] || fail "two jobs of two ranks"
run 1 env FAASM_RENDEZVOUS_DIR=/absent srun -N2 -n2 "$faasm_run" where.wasm
error_says "FAASM_RENDEZVOUS_DIR"
no_nodes_left
