#!/usr/bin/env bash
# The Kubernetes manifest: whether it is valid and consistent, and whether the pods that it describes form one job. There is
# no Kubernetes here: each pod is a process with the manifest's command and variables, and this machine's address stands for pod 0's name.
#
#   runtime/tests/kubernetes.sh [faasm-run [where.wasm]]
. "$(dirname "$0")/launchers.sh"

.ci/setup yaml
manifest=runtime/deploy/kubernetes/faasm-job.yaml
# Prints the number of pods, the arguments of the command, and the variables, a line each.
python3 - "$manifest" >"$dir/job" <<'PY' || fail "$manifest is wrong"
import sys

import yaml

service, job = yaml.safe_load_all(open(sys.argv[1]))
assert (service["apiVersion"], service["kind"]) == ("v1", "Service")
assert (job["apiVersion"], job["kind"]) == ("batch/v1", "Job")
assert service["spec"]["clusterIP"] == "None", "the service must be headless"
assert service["spec"]["publishNotReadyAddresses"] is True
name, spec = job["metadata"]["name"], job["spec"]
assert service["spec"]["selector"] == {"job-name": name}
assert spec["completionMode"] == "Indexed" and spec["completions"] == spec["parallelism"]
pod = spec["template"]["spec"]
assert pod["subdomain"] == service["metadata"]["name"] and pod["restartPolicy"] == "Never"
(container,) = pod["containers"]
env = {entry["name"]: entry["value"] for entry in container["env"]}
assert int(env["FAASM_NODES"]) == spec["completions"]
(port,) = service["spec"]["ports"]
assert port["protocol"] == "UDP"
assert env["FAASM_COORDINATOR"] == f"{name}-0.{pod['subdomain']}:{port['port']}"
mounts = {mount["name"]: mount["mountPath"] for mount in container["volumeMounts"]}
assert env["FAASM_TOKEN_FILE"].startswith(mounts["token"] + "/")
(secret,) = [volume["secret"] for volume in pod["volumes"] if volume["name"] == "token"]
assert f"create secret generic {secret['secretName']} " in open(sys.argv[1]).read()
assert container["command"][0] == "faasm-run" and container["command"][-1] == "prog.wasm"
print(spec["completions"])
print(" ".join(container["command"][1:-1]))
for key, value in env.items():
    print(f"{key}={value}")
PY
checks=$((checks + 1))

guest
mapfile -t lines <"$dir/job"
pods=${lines[0]}
read -ra arguments <<<"${lines[1]}"
# A pod's name leads to its address, which is not that of the loopback.
read -r address _ < <(hostname -I) || address=127.0.0.1
coordinator=${address:-127.0.0.1}:$(free_port)
head -c 32 /dev/urandom | od -An -tx1 | tr -d ' \n' >"$dir/token"
# pod INDEX TOKEN_FILE: the command of a pod.
pod() {
    local variables=("${lines[@]:2}")
    exec env "${variables[@]}" JOB_COMPLETION_INDEX="$1" FAASM_COORDINATOR="$coordinator" \
        FAASM_TOKEN_FILE="$2" FAASM_CACHE_DIR="$dir/cache" "$faasm_run" "${arguments[@]}" "$dir/where.wasm"
}

# start INDEX: begins a pod that is a node.
start() {
    (pod "$1" "$dir/token") >"$dir/pod$1.log" 2>&1 &
    nodes+=($!)
    servers+=($!)
}

# Nodes may begin before the coordinator, and are not all there at once.
for index in $(seq 1 $((pods - 2))); do start "$index"; done
(pod 0 "$dir/token") >"$dir/out" 2>"$dir/err" &
coordinator_pod=$!
servers+=("$coordinator_pod")
until grep -q "waiting for" "$dir/err"; do
    kill -0 "$coordinator_pod" 2>/dev/null || fail "pod 0 has ended too early"
    sleep 0.05
done
# It waits for the last pod, so whoever has another secret meets it, and is refused.
printf '%064d' 0 >"$dir/wrong"
! (pod 1 "$dir/wrong") >"$dir/stranger.log" 2>&1 || fail "a stranger has joined"
grep -q "token" "$dir/stranger.log" || fail "the stranger is not told why"
checks=$((checks + 1))

start $((pods - 1))
status=0
wait "$coordinator_pod" || status=$?
[ "$status" -eq 0 ] || fail "pod 0 ended with $status"
ranks=${arguments[1]}
said "$ranks" $((ranks * (ranks - 1) / 2)) "$pods"
for node in "${nodes[@]}"; do wait "$node" || fail "a node ended with status $?"; done
checks=$((checks + 1))

run 1 env JOB_COMPLETION_INDEX=9 FAASM_COORDINATOR="$coordinator" FAASM_NODES=4 FAASM_TOKEN_FILE="$dir/token" \
    "$faasm_run" "$dir/where.wasm"
error_says "FAASM_NODES" "manifest"
