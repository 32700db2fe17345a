#!/bin/bash
# Starts Python, or the ranks of a program that learns on many GPUs, from inside the container: under
# srun one call is one task of the job. One file with several names:
#
#   conda-python-simple ARGUMENT…       Python
#   conda-python-distributed ARGUMENT…  Python as one rank: as many tasks as GPUs
#   torchrun-distributed ARGUMENT…      torchrun, which starts the ranks: one task for each node
#   get-master [HOSTLIST]               print the first host of a list of Slurm's, else of the job's
#
# MASTER_ADDR and MASTER_PORT are the user's where they are set. Where a task sees several GPUs each
# rank gets its own; CONTAINERIZE_GPUS=all leaves all to each.
name=${0##*/}

fail() { # WHAT TO_DO
    printf '%s\n' "[ ERROR ] $1" "  where:  $name" "  to do:  $2" >&2
    exit 2
}

count() { # NAME [DEFAULT]: what the variable says, in number: arithmetic would run commands in it
    number=${!1:-${2-0}}
    [[ $number =~ ^[0-9]+$ ]] || fail "$1 is no number: '$number'" "leave it as Slurm sets it, or unset it"
    number=$((10#$number))
}

first_host() { # HOSTLIST: in host
    local rest=$1 range ranges number='[0-9]+(-[0-9]+)?' letters='[A-Za-z0-9._-]'
    local item="($letters|\\[$number(,$number)*\\])+"
    [[ $rest =~ ^$item(,$item)*$ ]] || fail "no list of hosts: '$1'" \
        "give it as Slurm has it in SLURM_JOB_NODELIST, such as nid[005023-005030,005040]"
    IFS='[],' read -r -a ranges <<<"$1"
    for range in "${ranges[@]}"; do
        [[ $range =~ ^([0-9]+)-([0-9]+)$ ]] || continue
        ((10#${BASH_REMATCH[1]} <= 10#${BASH_REMATCH[2]})) ||
            fail "a range of hosts runs backwards: '$range' in '$1'" "correct it"
    done
    host=
    while [[ -n $rest && $rest != ,* ]]; do
        if [[ $rest == \[* ]]; then
            range=${rest%%]*}
            range=${range#[}
            host+=${range%%[-,]*}
            rest=${rest#*]}
        else
            host+=${rest%%[[,]*}
            rest=${rest#"${rest%%[[,]*}"}
        fi
    done
}

tasks_here() { # how many tasks of the step are on this node, in tasks; Slurm says it as 4(x2),3
    local rest=${SLURM_STEP_TASKS_PER_NODE:-${SLURM_TASKS_PER_NODE:-1}}, node nodes
    count SLURM_NODEID
    node=$number
    while [[ -n $rest ]]; do
        [[ ${rest%%,*} =~ ^([0-9]+)(\(x([0-9]+)\))?$ ]] ||
            fail "Slurm's tasks for each node cannot be read: '${rest%,}'" \
                "leave SLURM_STEP_TASKS_PER_NODE as Slurm sets it, such as 4(x2),3"
        rest=${rest#*,}
        tasks=$((10#${BASH_REMATCH[1]}))
        nodes=$((10#${BASH_REMATCH[3]:-1}))
        ((node >= nodes)) || return 0
        ((node -= nodes))
    done
}

gpus_seen() { # names of the GPUs that this task may use, in gpus; whose variable it is, in visible
    local file number
    gpus=()
    for visible in ROCR_VISIBLE_DEVICES CUDA_VISIBLE_DEVICES; do
        [[ -n ${!visible-} ]] || continue
        # Where nobody has told Slurm whose the GPUs are, it sets both.
        [[ $visible != ROCR* || -z ${CUDA_VISIBLE_DEVICES-} || ! -e /dev/nvidiactl ]] || continue
        IFS=, read -r -a gpus <<<"${!visible}"
        return
    done
    visible=ROCR_VISIBLE_DEVICES
    for file in /sys/class/kfd/kfd/topology/nodes/*/gpu_id; do # of processors it is 0
        number=0
        { read -r number <"$file"; } 2>/dev/null # of one that the job has not: not permitted
        [[ $number == 0 ]] || gpus+=("${#gpus[@]}")
    done
    [[ ${#gpus[@]} == 0 ]] || return 0
    visible=CUDA_VISIBLE_DEVICES
    for file in /dev/nvidia[0-9]*; do
        { : <"$file"; } 2>/dev/null && gpus+=("${#gpus[@]}")
    done
    return 0
}

describe_job() { # what the ranks need to know to meet
    in_step=${SLURM_JOB_ID:+${SLURM_STEP_ID-}}
    if [[ -n ${SLURM_JOB_ID-} && -z $in_step && ${SLURM_NTASKS:-1} != 1 ]]; then
        fail "this is one task, and the job has $SLURM_NTASKS: none of the others would come" \
            "start it with srun: srun $0 …"
    fi
    ranks=1
    export LOCAL_RANK=0 RANK=0
    if [[ -n $in_step ]]; then
        for ranks in SLURM_STEP_NUM_TASKS SLURM_NTASKS SLURM_NPROCS; do
            [[ -z ${!ranks-} ]] || break
        done
        count "$ranks" 1
        ranks=$number
        count SLURM_PROCID
        RANK=$number
        count SLURM_LOCALID
        LOCAL_RANK=$number
    fi
    export WORLD_SIZE=$ranks
    if [[ -z ${MASTER_ADDR-} ]]; then
        MASTER_ADDR=127.0.0.1
        if [[ -n $in_step ]]; then
            first_host "${SLURM_STEP_NODELIST:-${SLURM_JOB_NODELIST:-${SLURM_NODELIST-}}}"
            MASTER_ADDR=$host
        fi
    fi
    if [[ -z ${MASTER_PORT-} ]]; then
        # Another one for each job and step: two can be on one node. (Below the ports that the kernel
        # gives to whoever asks for any.)
        MASTER_PORT=29500
        [[ $in_step == *[!0-9]* || -z $in_step || $SLURM_JOB_ID == *[!0-9]* ]] ||
            MASTER_PORT=$((10000 + (10#$SLURM_JOB_ID + 7919 * 10#$in_step) % 20000))
    fi
    export MASTER_ADDR MASTER_PORT
}

own_gpu() { # of several GPUs the one of this rank
    local tasks=1
    tasks_here
    gpus_seen
    [[ ${CONTAINERIZE_GPUS-} != all && $tasks -gt 1 && ${#gpus[@]} -gt 1 ]] || return 0
    export "$visible=${gpus[LOCAL_RANK % ${#gpus[@]}]}"
}

report() { # where this rank is: to see that processors and GPU belong together
    local line processors=
    while read -r line; do
        [[ $line != Cpus_allowed_list:* ]] || processors=${line#*:}
    done </proc/self/status
    printf '%s\n' "Rank $RANK of $WORLD_SIZE --> ${SLURMD_NODENAME:-here}, processors ${processors//[[:space:]]/}; \
GPU ${!visible:-as the program chooses}" >&2
}

find_python() { # of the active virtual environment, beside this file, or on PATH; in python
    for python in "${VIRTUAL_ENV:+$VIRTUAL_ENV/bin/python}" "${0%/*}/python3" "${0%/*}/python"; do
        [[ ! -x $python ]] || return 0
    done
    python=$(type -P python3 || type -P python) || fail "there is no python3 on PATH" "is the environment active?"
}

case $name in
    get-master)
        [[ $# -le 1 && ${1-} != -h && ${1-} != --help ]] || {
            printf '%s\n' "usage: $name [HOSTLIST]" >&2
            exit 2
        }
        first_host "${1-${SLURM_STEP_NODELIST:-${SLURM_JOB_NODELIST:-${SLURM_NODELIST-}}}}"
        printf '%s\n' "$host"
        exit
        ;;
    conda-python-simple) find_python ;;
    conda-python-distributed)
        find_python
        describe_job
        own_gpu
        [[ $WORLD_SIZE == 1 ]] || report
        ;;
    torchrun-distributed)
        find_python
        tasks=1
        [[ -z ${SLURM_JOB_ID-} ]] || tasks_here
        [[ $tasks == 1 ]] || fail "torchrun starts the ranks itself, and $tasks of it are on this node" \
            "start one for each node: srun --ntasks-per-node=1 $0 …"
        describe_job
        gpus_seen
        count SLURM_GPUS_ON_NODE "${#gpus[@]}"
        own=$number
        [[ $own != 0 || " $*" == *\ --nproc[-_]per[-_]node[=\ ]* ]] ||
            [[ -v CUDA_VISIBLE_DEVICES || ! (-e /dev/kfd || -e /dev/nvidiactl) ]] || # none on purpose
            fail "this node has GPUs, and how many are for this task is not known" \
                "ask Slurm for them (--gpus-per-node=4), or say it: $name --nproc_per_node=4 …"
        [[ $own != 0 ]] || own=1
        set -- -m torch.distributed.run --nnodes "$WORLD_SIZE" --nproc_per_node "$own" \
            --rdzv_backend c10d --rdzv_id "${SLURM_JOB_ID:-0}.${in_step:-0}" \
            --rdzv_endpoint "$MASTER_ADDR:$MASTER_PORT" "$@"
        unset -v RANK LOCAL_RANK WORLD_SIZE # it sets them itself
        ;;
    *) fail "it has no such name" "call it as conda-python-distributed" ;;
esac
exec "$python" "$@"
