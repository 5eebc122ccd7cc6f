#!/bin/sh
# A SLURM of one node with two GPUs that are no GPUs, for tests. Everything is in FOLDER and on 127.0.0.1.
set -eu

usage() {
    cat <<'END'
Usage: slurm_cluster.sh start|stop FOLDER

`start` prints nothing, and leaves FOLDER/slurm.conf, which SLURM_CONF has to name. Where there is no SLURM, root gets
Debian's packages; status 3 means that SLURM cannot be had.
END
}

[ $# -eq 2 ] || { usage >&2 && exit 2; }
folder=$(realpath -m "$2")
export SLURM_CONF="$folder/slurm.conf" PATH="$PATH:/usr/sbin:/sbin"

log() { echo "slurm_cluster.sh: $*" >&2; }

install_packages() {
    for program in sbatch slurmctld slurmd munged; do
        command -v $program >/dev/null || missing=$program
    done
    [ -n "${missing-}" ] || return 0
    log "no $missing; installing"
    if [ "$(id -u)" -ne 0 ] || ! command -v apt-get >/dev/null; then
        log "that takes root and apt-get" && exit 3
    fi
    # RUNLEVEL: Debian starts services of new packages, but not in single-user mode.
    export DEBIAN_FRONTEND=noninteractive RUNLEVEL=1
    { apt-get update && apt-get install -y --no-install-recommends slurm-client slurmctld slurmd munge; } \
        >"$folder/apt.log" 2>&1 || { tail -n 5 "$folder/apt.log" >&2 && exit 3; }
}

free_ports() {
    python3 -c 'import socket
sockets = [socket.socket() for _ in range(2)]
[s.bind(("127.0.0.1", 0)) for s in sockets]
print(*[s.getsockname()[1] for s in sockets])'
}

configure() {
    host=$(uname -n | cut -d . -f 1)
    read -r controller_port node_port <<END
$(free_ports)
END
    mkdir -p "$folder/state" "$folder/spool"
    ln -sf /dev/null "$folder/gpu0" # SLURM wants devices, and takes a GPU's number from the name
    ln -sf /dev/null "$folder/gpu1"
    rm -f "$folder/munge.key"
    head -c 1024 /dev/urandom >"$folder/munge.key"
    chmod 400 "$folder/munge.key"
    echo CgroupPlugin=cgroup/v1 >"$folder/cgroup.conf" # it is loaded whether it is used or not
    echo "Name=gpu File=$folder/gpu[0-1]" >"$folder/gres.conf"
    cat >"$SLURM_CONF" <<END
ClusterName=tests
SlurmctldHost=$host(127.0.0.1)
SlurmctldPort=$controller_port
SlurmdPort=$node_port
SlurmUser=$(id -un)
SlurmdUser=$(id -un)
AuthType=auth/munge
AuthInfo=socket=$folder/munge.socket
CredType=cred/munge
StateSaveLocation=$folder/state
SlurmdSpoolDir=$folder/spool
SlurmctldPidFile=$folder/slurmctld.pid
SlurmdPidFile=$folder/slurmd.pid
SlurmctldLogFile=$folder/slurmctld.log
SlurmdLogFile=$folder/slurmd.log
MpiDefault=none
ProctrackType=proctrack/linuxproc
TaskPlugin=task/none
JobAcctGatherType=jobacct_gather/none
SelectType=select/cons_tres
SelectTypeParameters=CR_Core
# Jobs are begun within a second, and killed at their time limit.
SchedulerParameters=sched_min_interval=0,sched_interval=1
OverTimeLimit=0
KillWait=4
ReturnToService=2
# More cores than there may be, so that the tests are the same everywhere.
SlurmdParameters=config_overrides
GresTypes=gpu
NodeName=$host NodeAddr=127.0.0.1 CPUs=8 Gres=gpu:2 State=UNKNOWN
PartitionName=gpu-queue Nodes=$host Default=YES MaxTime=INFINITE State=UP
END
}

start() {
    umask 077
    mkdir -p "$folder"
    install_packages
    configure
    # A plain folder of the tests is no place for secrets, which is why munged has to be forced.
    munged --force --socket="$folder/munge.socket" --key-file="$folder/munge.key" --pid-file="$folder/munged.pid" \
        --log-file="$folder/munged.log" --seed-file="$folder/munge.seed" 2>>"$folder/munged.log"
    slurmctld -c -f "$SLURM_CONF"
    slurmd -c -f "$SLURM_CONF"
    for _ in $(seq 100); do
        [ "$(sinfo -h -o %t 2>/dev/null)" != idle ] || return 0
        sleep 0.2
    done
    log "the node does not come up:"
    tail -n 20 "$folder"/*.log >&2
    stop
    exit 1
}

stop() {
    # Asked without a controller, SLURM's commands wait for one.
    if pid=$(cat "$folder/slurmctld.pid" 2>/dev/null) && kill -0 "$pid" 2>/dev/null; then
        scancel -u "$(id -un)" 2>/dev/null || true
        for _ in $(seq 50); do # without its node, nobody would kill what a batch job runs
            [ -n "$(squeue -h 2>/dev/null)" ] || break
            sleep 0.2
        done
    fi
    for daemon in slurmd slurmctld munged; do
        pid=$(cat "$folder/$daemon.pid" 2>/dev/null) || continue
        kill "$pid" 2>/dev/null || continue
        for _ in $(seq 50); do
            kill -0 "$pid" 2>/dev/null || continue 2
            sleep 0.2
        done
        kill -KILL "$pid"
    done
}

case $1 in
    start) stop && start ;;
    stop) stop ;;
    *) usage >&2 && exit 2 ;;
esac
