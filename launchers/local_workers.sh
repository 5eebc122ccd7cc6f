#!/bin/sh
# Start workers on this node: one per GPU, or several that share the CPU cores.
set -eu

usage() {
    cat <<'END'
Usage: local_workers.sh gpu|cpu [-n WORKERS] [-w FWORKER] [-d FOLDER] [-- WORKER_OPTIONS]

Run workers (`alchemflows worker`) on this node. They share its CPU cores. On SIGTERM or Ctrl-C each worker returns its
job to the queue, where another worker can continue it from the last checkpoint. The script ends when all workers have
stopped.

  gpu          one worker per GPU; each worker sees only its own GPU
  cpu          workers that see no GPU
  -n WORKERS   number of workers; default: all GPUs (CUDA_VISIBLE_DEVICES, or nvidia-smi -L if it is not set), 1 on CPU
  -w FWORKER   fworker file; default: my_fworker_gpu.yaml or my_fworker_cpu.yaml in the folder of FW_CONFIG_FILE
  -d FOLDER    folder of the launch folders and of the logs (FOLDER/logs); default: the current folder

WORKER_OPTIONS are passed to `alchemflows worker`. Without options, workers wait for new jobs until they are stopped.
The exit status is 1 if a worker failed. A failed job is not a failure of its worker.
END
}

fail() {
    echo "local_workers.sh: $1" >&2
    exit 2
}

case "${1-}" in
    gpu | cpu) mode=$1 ;;
    -h | --help) usage && exit ;;
    *) usage >&2 && exit 2 ;;
esac
shift
n='' fworker='' folder=.
while getopts n:w:d:h option; do
    case $option in
        n) n=$OPTARG ;;
        w) fworker=$OPTARG ;;
        d) folder=$OPTARG ;;
        h) usage && exit ;;
        *) usage >&2 && exit 2 ;;
    esac
done
shift $((OPTIND - 1))
case $n in
    *[!0-9]* | 0) fail "-n must be a positive number; got $n" ;;
esac

command -v alchemflows >/dev/null || fail "no alchemflows on PATH; activate the environment first"
[ -n "$fworker${FW_CONFIG_FILE-}" ] || fail "FW_CONFIG_FILE is not set, and no -w is given"
fworker=${fworker:-$(dirname "$FW_CONFIG_FILE")/my_fworker_$mode.yaml}
[ -f "$fworker" ] || fail "there is no fworker file $fworker"

devices=
if [ "$mode" = gpu ]; then
    if [ "${CUDA_VISIBLE_DEVICES+set}" ]; then
        devices=$CUDA_VISIBLE_DEVICES
    else
        # Only whole GPUs are counted: lines of MIG slices are indented.
        found=${n:-$(nvidia-smi -L | grep -c '^GPU ' || true)}
        [ "$found" -lt 1 ] || devices=$(seq -s , 0 $((found - 1)))
    fi
    n_devices=$(echo "$devices" | tr , '\n' | grep -c . || true)
    n=${n:-$n_devices}
    [ "$n_devices" -ge 1 ] || fail "no GPU found"
    [ "$n_devices" -ge "$n" ] || fail "$n workers, but CUDA_VISIBLE_DEVICES=$devices"
fi
n=${n:-1}

# nproc would otherwise return OMP_NUM_THREADS.
cores=$(env -u OMP_NUM_THREADS -u OMP_THREAD_LIMIT nproc)
threads=${OMP_NUM_THREADS:-$((cores > n ? cores / n : 1))}
mkdir -p "$folder/logs"

pids=
# shellcheck disable=SC2317 # called by the traps
stop() {
    trap '' INT TERM HUP
    # shellcheck disable=SC2086 # word splitting is intended; the last process may not be in the list yet
    kill -s TERM $pids ${!-} 2>/dev/null || true
    wait
    exit "$1"
}
trap 'stop 129' HUP
trap 'stop 130' INT
trap 'stop 143' TERM

k=0
while [ "$k" -lt "$n" ]; do
    k=$((k + 1))
    CUDA_VISIBLE_DEVICES=$(echo "$devices" | cut -d , -f "$k") OMP_NUM_THREADS=$threads MKL_NUM_THREADS=$threads \
        alchemflows worker -w "$fworker" -d "$folder" "$@" >>"$folder/logs/$mode-$k-$(uname -n).log" 2>&1 &
    pids="$pids $!"
done
echo "$n $mode workers, $threads threads each; logs in $folder/logs"

status=0
k=0
for pid in $pids; do
    k=$((k + 1))
    wait "$pid" || { status=1 && echo "worker $k failed; see $folder/logs/$mode-$k-$(uname -n).log" >&2; }
done
exit "$status"
