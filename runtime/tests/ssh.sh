#!/usr/bin/env bash
# Jobs whose nodes are started with ssh, through a real sshd of its own on a high port of this machine: keys, settings and
# known hosts are in a temporary directory, and nothing of the user's ~/.ssh is read or changed.
#
#   runtime/tests/ssh.sh [faasm-run [where.wasm]]
. "$(dirname "$0")/launchers.sh"

.ci/setup ssh
port=$(free_port)
closed=$(free_port)
for key in host user stranger; do ssh-keygen -q -t ed25519 -N '' -f "$dir/$key"; done
cp "$dir/user.pub" "$dir/authorized"
for name in localhost 127.0.0.1; do
    printf '[%s]:%s %s\n' "$name" "$port" "$(cut -d' ' -f1,2 "$dir/host.pub")" >>"$dir/known"
done

cat >"$dir/sshd_config" <<EOC
ListenAddress 127.0.0.1:$port
HostKey $dir/host
AuthorizedKeysFile $dir/authorized
PidFile $dir/sshd.pid
PasswordAuthentication no
KbdInteractiveAuthentication no
UsePAM no
StrictModes no
PermitRootLogin prohibit-password
MaxStartups 100
EOC
# settings NAME KEY KNOWN PORT: how the client connects.
settings() {
    cat >"$dir/$1" <<EOC
Host *
    Port $4
    IdentityFile $dir/$2
    IdentitiesOnly yes
    IdentityAgent none
    UserKnownHostsFile $3
    GlobalKnownHostsFile /dev/null
    StrictHostKeyChecking yes
EOC
}
settings right user "$dir/known" "$port"
settings wrong_key stranger "$dir/known" "$port"
settings unknown_host user /dev/null "$port"
settings wrong_port user "$dir/known" "$closed"

# The server's own directory for processes without rights, if it was started by root.
[ "$(id -u)" -ne 0 ] || mkdir -p /run/sshd
serve sshd "$(command -v sshd)" -D -e -f "$dir/sshd_config"
await "sshd does not let us in" ssh -F "$dir/right" -o BatchMode=yes localhost true
guest

# job STATUS SETTINGS OPTIONS...
job() {
    local status=$1 settings=$2
    shift 2
    run "$status" "$faasm_run" --launcher ssh --launcher-args "-F $dir/$settings" "$@"
}

job 0 right --host localhost:2,127.0.0.1:2 -n 4 --tag-output "$dir/where.wasm"
said_on 6 2 localhost localhost 127.0.0.1 127.0.0.1

printf '# both are this machine\n%s@localhost slots=3 max_slots=4\n127.0.0.1:1\n' "$(id -un)" >"$dir/hosts"
job 0 right --hostfile "$dir/hosts" --display map --tag-output "$dir/where.wasm"
said_on 6 2 localhost localhost localhost 127.0.0.1
error_says "Data for node: localhost" "Num slots: 3" "Process rank: 3"

job 0 right --hostfile "$dir/hosts" --map-by node -n 2 --tag-output "$dir/where.wasm"
said_on 1 2 localhost 127.0.0.1

job 1 right --hostfile "$dir/hosts" -n 5 "$dir/where.wasm"
error_says "not enough slots" "--oversubscribe"
job 0 right --hostfile "$dir/hosts" -n 5 --oversubscribe "$dir/where.wasm"

job 7 right --host localhost:1,127.0.0.1:1 -n 2 "$dir/where.wasm" 0 7
no_nodes_left

# What can go wrong is told with the host, the cause and what to do.
job 1 wrong_key --host localhost,127.0.0.1 -n 2 "$dir/where.wasm"
error_says "cannot start a node on" "does not let us in" "ssh-copy-id"
job 1 unknown_host --host localhost,127.0.0.1 -n 2 "$dir/where.wasm"
error_says "key is not known yet" "accept-new"
job 1 wrong_port --host localhost,127.0.0.1 -n 2 "$dir/where.wasm"
error_says "nobody answers at its ssh port"
job 1 right --prefix "$dir/absent" --host localhost,127.0.0.1 -n 2 "$dir/where.wasm"
error_says "was not found there" "--prefix"
job 1 right --launcher-exec "$dir/absent" --host localhost -n 2 "$dir/where.wasm"
error_says "cannot be called" "--launcher-exec"
no_nodes_left

# Node processes end with a job that is killed without warning.
"$faasm_run" --launcher ssh --launcher-args "-F $dir/right" --host localhost,127.0.0.1 -n 2 "$dir/where.wasm" 600 \
    >"$dir/long.log" 2>&1 &
long=$!
await "the long job does not start" grep -q "rank 1 of 2" "$dir/long.log"
kill -KILL "$long"
wait "$long" 2>/dev/null || true
no_nodes_left
checks=$((checks + 1))
