#!/bin/bash -p
# What few calls of a shim need: functions that stand behind its last line, read when one is called.
# shellcheck disable=SC2034,SC2154 # variables are the shim's

_cw_typed() { # WORD: as one types it, in _cw_word
    _cw_users_locale
    printf -v _cw_word %q "$1"
}

_cw_go_there() { # DIRECTORY: its physical path
    # Found with cd; we come back by an open handle, which also works where cwd was deleted.
    _cw_cwd=$PWD
    _cw_old=${OLDPWD-}
    _cw_fd=
    [[ -r . ]] && exec {_cw_fd}<.
    cd -P -- "$1" 2>/dev/null && _cw_physical=$PWD
    if [[ -n $_cw_fd ]]; then
        cd "/proc/self/fd/$_cw_fd" && exec {_cw_fd}<&-
    else
        cd -- "$_cw_cwd" ||
            _cw_fail "the current directory cannot be read: $_cw_cwd" "cd elsewhere"
    fi
    PWD=$_cw_cwd
    if [[ -n $_cw_old ]]; then OLDPWD=$_cw_old; else unset -v OLDPWD; fi
}

_cw_wrong_machine() { # PREFIX
    _cw_fail "$1 was built for $_cw_machine, and this node is ${BASH_VERSINFO[5]%%-*}" \
        "use a node of that kind, or build it on this one too, into another directory"
}

_cw_check_processor() { # PREFIX: whether this node's has what _cw_processor, "v2 popcnt…", names
    local line='' flag
    while [[ $line != flags* ]] && read -r line; do :; done </proc/cpuinfo
    for flag in "${_cw_processor[@]:1}"; do
        [[ "$line " != *" $flag "* && ${SLURM_PROCID:-0} == 0 ]] || continue
        printf '%s\n' "[ WARNING ] $1 is for processors of x86-64-$_cw_processor, and this node's has no $flag" \
            "  to do:  use newer nodes where programs end by an illegal instruction; or see: containerize doctor" >&2
        return
    done
}

_cw_usage() { # COUNT: of words that were given
    printf '%s\n' "usage: $0 COMMAND [ARGUMENT...]" \
        "Runs any command in this installation's container, for example: $0 ls -l /" >&$((2 - $1))
    exit $((2 - 2 * $1))
}

# -- Images besides the one that is the container's root.
_cw_add_image() { # AT [FROM]: bind what the image of the generation just read has at FROM
    _cw_image_binds+=,$_cw_generation_dir/img.sqfs:$1:image-src=${2:-/}
}
_cw_add_mask() { # bind it over the path that the installation stored, if it did
    [[ -n $_cw_mask ]] || return 0
    _cw_typed "$_cw_mask"
    [[ -d $_cw_mask ]] || _cw_fail "$_cw_mask has gone, over which the image is to lie" \
        "make it again (empty will do): mkdir -p $_cw_word"
    _cw_add_image "$_cw_mask" "${_cw_install_path#"$_cw_image_root"}"
}

# Other installations that are to be there too: their images and programs, at their own paths. Tykky's
# users name them by a bind, DIR/img.sqfs:PATH:image-src=/, and join whole binds by colons too. As in
# Tykky, what wraps a container (it has no such image) gets none of these.
_cw_add_others() {
    _cw_with=${CONTAINERIZE_WITH-}
    _cw_rest=${CW_EXTRA_BIND_MOUNTS-}
    [[ -L $_cw_prefix/img.sqfs ]] || _cw_rest=
    while [[ -n $_cw_rest && $_cw_rest =~ ^([^,:]*(:[^,:]*)?(:[^,:]*)?)[,:]?(.*)$ ]]; do
        _cw_pair=${BASH_REMATCH[1]}
        _cw_rest=${BASH_REMATCH[4]}
        if [[ $_cw_pair == /*/img.sqfs:*:image-src=/ && -e ${_cw_pair%%/img.sqfs:*}/current/env ]]; then
            _cw_with+=${_cw_with:+:}${_cw_pair%%/img.sqfs:*}
        elif [[ -n $_cw_pair ]]; then
            _cw_extra_binds+=${_cw_extra_binds:+,}$_cw_pair
        fi
    done
    _cw_rest=${_cw_with:+$_cw_with:}
    while [[ -n $_cw_rest ]]; do
        _cw_other=${_cw_rest%%:*}
        _cw_rest=${_cw_rest#*:}
        [[ -z $_cw_other || $_cw_other -ef $_cw_prefix ]] && continue
        [[ $_cw_other == /* ]] || _cw_other=${PWD%/}/$_cw_other
        unset -v _cw_machine _cw_processor
        # shellcheck source=/dev/null
        command . "$_cw_other/current/env" 2>/dev/null ||
            _cw_fail "CONTAINERIZE_WITH names '$_cw_other', which is no installation" \
                "correct it, or: unset CONTAINERIZE_WITH"
        _cw_check_machine "$_cw_other"
        [[ -z $_cw_image ]] || _cw_fail "'$_cw_other' wraps another container, which cannot be added" \
            "call its programs from outside, or: unset CONTAINERIZE_WITH"
        _cw_resolve "${_cw_other%/}"
        _cw_generation_dir=$_cw_physical/.generations/$_cw_generation
        _cw_part=${_cw_install_path#/}
        _cw_part=/${_cw_part%%/*}
        [[ -z $_cw_image_root ]] && _cw_add_image "$_cw_part" "$_cw_part"
        [[ -z $_cw_image_root ]] || _cw_add_image "$_cw_image_root"
        _cw_add_mask
        _cw_find_programs
        _cw_image_binds+=$_cw_programs
    done
}

# -- In a container.
_cw_start_inside() { # WORD…
    _cw_users_locale
    case $_cw_name in
        _debug_exec) exec -- "$@" ;;
        _debug_shell) exec /bin/bash --norc "$@" ;;
    esac
    _cw_program=$_cw_generation_dir/_bin/$_cw_name
    # SingularityCE before 4.0 mounts images first, and then directories over them.
    [[ ! $_cw_program -ef $_cw_self && ! $_cw_program -ef $_cw_bin/_debug_exec ]] ||
        _cw_fail "in the place of the program is its shim: the image does not lie over ${_cw_mask:-it}" \
            "start it with a newer runtime (CONTAINERIZE_RUNTIME), or wrap it anew without --mask"
    exec -a "$_cw_self" "$_cw_program" "$@"
}

_cw_in_another() {
    [[ -z $_cw_image ]] || # another system: the two can be no one container
        _cw_fail "this program wraps a container, which cannot be started from inside another" \
            "call it outside, in a step of its own"
    _cw_typed "$_cw_prefix"
    _cw_fail "this program lives in a container of its own and cannot be started from inside another" \
        "outside, before starting the other one: export CONTAINERIZE_WITH=$_cw_word
          or, for good, update that one: --with $_cw_word"
}

# -- What is missing.
_cw_refuse_pip() {
    _cw_typed "$_cw_prefix"
    _cw_fail "the image is read-only: $_cw_name can install nothing into it, and remove nothing" \
        "pip-containerize update $_cw_word -r requirements.txt
          or install on top of it, into a directory of yours, as often as you like:
          containerize extend $_cw_word --to MYDIR; MYDIR/bin/pip install NAME"
}

_cw_no_python() {
    _cw_why="has gone: $_cw_required_program"
    [[ -x $_cw_required_program ]] &&
        _cw_why="is another version now: $_cw_required_library is missing"
    _cw_typed "$_cw_prefix"
    _cw_fail "the Python that this installation is built on $_cw_why" \
        "load its module, or build anew on another: pip-containerize new --prefix NEW_DIR\
 $_cw_word/current/inputs/*"
}

_cw_find_runtime() {
    _cw_wanted=$_cw_runtime
    _cw_names=("${_cw_wanted##*/}" singularity apptainer)
    [[ -z ${CONTAINERIZE_RUNTIME-} ]] || _cw_names=("$CONTAINERIZE_RUNTIME")
    _cw_runtime=
    IFS=: read -r -d '' -a _cw_dirs <<<"$PATH:"
    for _cw_dir in "${_cw_dirs[@]}"; do
        for _cw_name_on_path in "${_cw_names[@]}"; do
            _cw_found=${_cw_dir:-.}/$_cw_name_on_path
            [[ -z $_cw_runtime && -f $_cw_found && -x $_cw_found ]] || continue
            # An environment may hold an apptainer of its own: not the shim of it.
            [[ $_cw_found -ef $_cw_bin/_debug_exec ]] || _cw_runtime=$_cw_found
        done
    done
    [[ -n $_cw_runtime || -z ${CONTAINERIZE_RUNTIME-} ]] ||
        _cw_fail "CONTAINERIZE_RUNTIME names '$CONTAINERIZE_RUNTIME', which is no program" \
            "correct it, or: unset CONTAINERIZE_RUNTIME"
    [[ -n $_cw_runtime ]] ||
        _cw_fail "no container runtime: neither $_cw_wanted nor singularity or apptainer on PATH" \
            "load the module that has it, or set CONTAINERIZE_RUNTIME to its path"
}

_cw_check_compression() {
    _cw_part=$_cw_compressed
    [[ $_cw_part == /* ]] || _cw_part=$_cw_generation_dir/$_cw_part
    if [[ $("$_cw_runtime" -s exec "$_cw_part" / 2>&1 </dev/null) == *[Cc]ompress* ]]; then
        [[ $_cw_compressed == /* ]] || _cw_part=$_cw_prefix
        _cw_typed "$_cw_part"
        _cw_fail "$_cw_runtime starts no image that is compressed with $_cw_compression" \
            "use the runtime of the build ($_cw_built_with), or, as the owner: containerize repack $_cw_word"
    fi
}

# -- An image with a system of its own.
_cw_keep_system() {
    # An image with a system of its own keeps these; it gets the other directories and the home.
    _cw_system=,__OWN_SYSTEM__,
    _cw_left_out+=$_cw_system
    # (The file with which a program may show windows is often in /run.)
    for _cw_dir in "${HOME-}" "$_cw_prefix" "${XAUTHORITY-}"; do
        _cw_part=${_cw_dir#/}
        [[ $_cw_dir == /* && -e $_cw_dir && $_cw_dir != *["$_cw_unbindable"]* &&
            $_cw_system == *",/${_cw_part%%/*},"* ]] &&
            _cw_binds+=$_cw_dir,
    done
}

_cw_bind_linked() {
    _cw_place=$_cw_physical # of the prefix
    # There a link at the top (/appl -> /pfs/appl) is a directory. What it leads to is there by its
    # own name too, and so is what links on the way to the places in use lead to.
    for _cw_dir in /*/ "${HOME-}" "$_cw_prefix" "$PWD"; do
        _cw_dir=${_cw_dir%/}
        [[ ($_cw_dir == /*/* || (-L $_cw_dir && $_cw_left_out != *",$_cw_dir,"*)) && -d $_cw_dir ]] ||
            continue
        _cw_follow "$_cw_dir"
        [[ $_cw_physical != "$_cw_dir" && $_cw_physical == /?* ]] || continue
        [[ $_cw_dir != "$PWD" ]] || _cw_here=$_cw_physical
        _cw_part=${_cw_physical#/}
        _cw_part=/${_cw_part%%/*}
        [[ $_cw_system != *",$_cw_part,"* ]] || _cw_part=$_cw_physical
        [[ ,$_cw_binds$_cw_left_out == *",$_cw_part,"* || $_cw_part == *["$_cw_unbindable"]* ]] ||
            _cw_binds+=$_cw_part,
    done
    _cw_physical=$_cw_place
}

# Programs of the host, which look into /etc/passwd for the user who runs Slurm. What is bound over it
# has not the caller, whom the runtime adds to the image's own: so it is written here, once on a node.
_cw_add_host_programs() {
    local program file HOME name='\u'
    unset -v HOME # the account's
    for program in "${_cw_host_programs[@]}"; do
        _cw_binds+=,$_cw_generation_dir/host/$program:/usr/bin/$program
    done
    [[ -n $_cw_users ]] || return 0
    HOME=~
    [[ $'\n'$_cw_users == *$'\n'*([^:]):*([^:]):"$UID":* ]] ||
        _cw_users+="${name@P}:x:$UID:${GROUPS[0]}::$HOME:/bin/bash"$'\n'
    file=/dev/shm/containerize.$UID.${_cw_install_path##*-}.$_cw_generation
    _cw_is_written() { # by the caller, and all of it
        _cw_value=
        [[ ! -f $file || ! -O $file || -L $file ]] || IFS= read -r -d '' _cw_value <"$file"
        [[ $_cw_value == "$_cw_users" ]]
    }
    _cw_is_written || [[ -L $file || (-e $file && ! -O $file) ]] ||
        (umask 077 && set -C && printf %s "$_cw_users" >"$file.$$" &&
            command -p mv -fT -- "$file.$$" "$file") 2>/dev/null # other ranks may have it bound
    if _cw_is_written; then
        _cw_binds+=,$file:/etc/passwd
    else
        printf '%s\n' "[ WARNING ] $file is another user's, or cannot be written" \
            "  to do:  where Slurm's programs fail, see what is there: ls -ld $file; df /dev/shm" >&2
    fi
}

_cw_start_image() {
    _cw_start=$_cw_image
    [[ $_cw_start == /* ]] || _cw_start=$_cw_generation_dir/$_cw_image
    [[ -e $_cw_start ]] || _cw_fail "the container image has gone: $_cw_start" \
        "put it back, or build anew on another one (current/inputs has what you gave)"
    if [[ -n $_cw_image_mark ]]; then # bytes of its first block; bash leaves zero bytes out
        IFS= read -r -N 96 _cw_value <"$_cw_start"
        [[ $_cw_value == *"$_cw_image_mark"* ]] || printf '%s\n' \
            "[ WARNING ] $_cw_start is not the image that this was built on" \
            "  to do:  if programs fail, build anew (current/inputs has what you gave)" >&2
    fi
    [[ -z $_cw_mpi ]] || _cw_binds+=,/:__HOST_ROOT__
    [[ ! -v _cw_host_programs || -n ${CONTAINERIZE_MINIMAL_BINDS-} ]] || _cw_add_host_programs
    # By its install path a shim sees that it is inside its own container.
    [[ -n $_cw_image_root$_cw_layer ]] || _cw_binds+=,$_cw_generation_dir:$_cw_install_path
}

_cw_set_in_image() {
    # PATH and libraries of the host mean nothing to an image with a system of its own.
    _cw_asked PREPEND_PATH ""
    _cw_old=$_cw_value
    _cw_escape "${_cw_on_top:+$_cw_on_top/bin:}$_cw_prefix/bin"
    _cw_give PREPEND_PATH "$_cw_value${_cw_old:+:$_cw_old}"
    for _cw_pair in "${_cw_kept[@]}"; do
        [[ $_cw_pair == @(PATH|LD_LIBRARY_PATH)=* ]] || _cw_force "${_cw_pair%%=*}" "${_cw_pair#*=}"
    done
    # An image's own would lead programs of the environment to another Python; the user's may.
    if [[ -n $_cw_layer ]]; then
        for _cw_name_of in PYTHONPATH PYTHONHOME VIRTUAL_ENV; do _cw_users_own "$_cw_name_of"; done
    fi
}

_cw_add_layer() {
    if [[ -n $_cw_image_root ]]; then # an adopted image has no mount points: a skeleton beside it has
        _cw_start=$_cw_generation_dir/skeleton.sqfs
        _cw_add_image "$_cw_image_root"
    fi
    [[ -z $_cw_layer ]] || _cw_add_image "$_cw_install_path" "$_cw_install_path"
}

# -- What the user binds.
_cw_leave_out() { # _cw_pair, of which the source is not on this node: no container starts with it
    while [[ ${_cw_rest%%,*} == @(ro|rw|id=*|image-src=*) ]]; do # its further options
        _cw_pair+=,${_cw_rest%%,*}
        [[ $_cw_rest == *,* ]] && _cw_rest=${_cw_rest#*,} || _cw_rest=
    done
    _cw_user_binds+=,
    while [[ $_cw_user_binds == *",$_cw_pair,"* ]]; do
        _cw_user_binds=${_cw_user_binds/",$_cw_pair,"/,}
    done
    _cw_user_binds=${_cw_user_binds%,}
    [[ ${SLURM_PROCID:-${PMI_RANK:-${OMPI_COMM_WORLD_RANK:-0}}} != 0 ]] || printf '%s\n' \
        "[ WARNING ] a bind of yours is left out, this node has no ${_cw_pair%%:*}" \
        "  to do:  correct SINGULARITY_BIND (APPTAINER_BIND, CW_EXTRA_BIND_MOUNTS) where it is needed" >&2
}

# -- Of the host little.
_cw_bind_little() {
    # Of the host what programs need, the installation, and what the user binds; nothing else.
    [[ -z $_cw_image || -z $_cw_mpi ]] || # its libraries are found in the whole of the host
        _cw_fail "programs have this machine's MPI, for which all of the host is bound" \
            "unset CONTAINERIZE_MINIMAL_BINDS, or build anew with --mpi container"
    for _cw_dir in /*/; do
        [[ ,/tmp,__OWN_SYSTEM__, == *",${_cw_dir%/},"* ]] || _cw_left_out+=${_cw_dir%/},
    done
    _cw_binds=$_cw_prefix,
    _cw_rest=${_cw_user_binds#,},
    while [[ $_cw_rest =~ ^(([^,:]+):?([^,:]*)[^,]*),(.*)$ ]]; do
        _cw_rest=${BASH_REMATCH[4]}
        _cw_dir=${BASH_REMATCH[2]%/}
        _cw_part=${BASH_REMATCH[3]:-$_cw_dir}
        # Once for all ranks: they would all list what may be large.
        [[ ${SLURM_PROCID:-0} != 0 || $_cw_own_binds != *",${BASH_REMATCH[1]},"* || ! -d $_cw_dir ]] ||
            _cw_bound+=("${_cw_part%/}")
        [[ $PWD/ != "$_cw_dir"/* ]] || _cw_at=${_cw_part%/}${PWD#"$_cw_dir"}
    done
    _cw_part=${PWD#/}
    [[ -n $_cw_at || $PWD/ == "$_cw_prefix"/* ||
        ,/tmp,__OWN_SYSTEM__, == *",/${_cw_part%%/*},"* ]] ||
        _cw_fail "the current directory is not bound: $PWD" \
            "bind it: export SINGULARITY_BIND=\"\$PWD:/workdir\"; or: unset CONTAINERIZE_MINIMAL_BINDS"
}

# -- Variables.
_cw_find_venv() {
    for _cw_dir in "${_cw_self%/*/*}" "${VIRTUAL_ENV-}"; do
        [[ -z $_cw_on_top && $_cw_dir/bin != "$_cw_bin" && -f $_cw_dir/pyvenv.cfg ]] || continue
        for _cw_found in "$_cw_dir"/bin/python*; do
            [[ ! $_cw_found -ef $_cw_bin/_debug_exec ]] || _cw_on_top=$_cw_dir
        done
    done
    [[ ! $_cw_on_top -ef $_cw_prefix ]] || _cw_on_top=
    if [[ -n $_cw_on_top && -e $_cw_on_top/extension.sqfs ]]; then # a frozen one
        _cw_resolve "$_cw_on_top"
        _cw_binds+=,$_cw_physical/extension.sqfs:$_cw_physical:image-src=/
    fi
}

_cw_keep_variables() {
    _cw_users_locale # one of them may be LC_ALL
    for _cw_name_of in ${CONTAINERIZE_KEEP//,/ } ${_cw_on_top:+VIRTUAL_ENV}; do
        [[ $_cw_name_of == [A-Za-z_]*([A-Za-z0-9_]) && -v $_cw_name_of ]] || continue
        _cw_kept+=("$_cw_name_of=${!_cw_name_of}")
        _cw_keep+=$_cw_name_of,
    done
    if [[ $_cw_keep != , ]]; then
        for _cw_value in _cw_assign _cw_changes _cw_prepends _cw_defaults _cw_unsets; do
            _cw_leave "$_cw_value"
        done
    fi
    LC_ALL=C
}

_cw_leave() { # LIST: without those
    local -n _cw_list=$1
    local _cw_left=()
    for _cw_pair in "${_cw_list[@]}"; do
        _cw_name_of=$_cw_pair
        [[ $1 != _cw_defaults ]] || _cw_name_of=${_cw_pair#*|}
        [[ $1 != _cw_changes ]] || _cw_name_of=${_cw_pair#* * * }
        [[ $_cw_keep == *",${_cw_name_of%%=*},"* ]] || _cw_left+=("$_cw_pair")
    done
    _cw_list=("${_cw_left[@]}")
}

_cw_decode() { # WORD…
    local LC_ALL=C IFS=' '
    local text="$*" pattern tail=$'[\x80-\xbf]'
    [[ $text =~ $_cw_beyond_ascii ]] || return 0
    for pattern in $'[\xc2-\xdf]'"$tail" $'\xe0[\xa0-\xbf]'"$tail" $'\xed[\x80-\x9f]'"$tail" \
        $'[\xe1-\xec\xee\xef]'"$tail$tail" $'\xf0[\x90-\xbf]'"$tail$tail" \
        $'\xf4[\x80-\x8f]'"$tail$tail" $'[\xf1-\xf3]'"$tail$tail$tail"; do # of several bytes
        text=${text//$pattern/ }
    done
    [[ ! $text =~ $_cw_beyond_ascii ]]
}

_cw_sort_out() { # WORD…: variables that would not arrive as they are; see _cw_look
    local pair
    for pair in "${pairs[@]}"; do
        if [[ $pair =~ ^($names)= ]]; then
            _cw_natively+=("$pair")
        elif [[ ! $pair =~ ^[A-Za-z_][A-Za-z0-9_]*= ]]; then
            _cw_is_text "$pair" || _cw_natively+=("$pair")
        elif [[ $pair =~ $values ]]; then
            _cw_spoilt+=("${pair%%=*}")
        fi
    done
    ! _cw_is_text "${pairs[@]}" "$@" || _cw_text=1
}

_cw_read_earlier() { # what an environment file of an earlier version has
    for _cw_pair in "${_cw_prepends[@]}"; do
        _cw_name_of=${_cw_pair%%=*}
        _cw_changes+=(". +$_cw_name_of < $_cw_pair:" ". -$_cw_name_of = $_cw_pair")
    done
    for _cw_pair in "${_cw_defaults[@]}"; do # GUARD[ GUARD…]|NAME=VALUE
        _cw_value=
        for _cw_guard in ${_cw_pair%%|*}; do
            _cw_value+=${!_cw_guard-}
        done
        [[ -n $_cw_value ]] || _cw_changes+=(". . = ${_cw_pair#*|}")
    done
    for _cw_name_of in "${_cw_unsets[@]}"; do _cw_changes+=(". . - $_cw_name_of="); done
}

_cw_put() { # NAME BEFORE AFTER: around what it has, which is in _cw_old
    local name=$1 before=$2 after=$3
    if [[ $name$_cw_image == PATH?* ]]; then # the image's own, which the runtime alone sees
        name=APPEND_PATH
        [[ -z $before ]] || name=PREPEND_PATH
        _cw_asked "$name" ""
        _cw_old=$_cw_value
        [[ -n $_cw_old ]] || before=${before%:} after=${after#:}
    fi
    case $name in
        PATH | LD_* | APPEND_PATH | PREPEND_PATH)
            _cw_escape "$before"
            [[ $before != *: || :$_cw_old: != *":$_cw_value"* ]] || _cw_value= # a job of a job
            _cw_old=$_cw_value$_cw_old
            _cw_escape "$after"
            _cw_old+=$_cw_value
            _cw_give "$name" "$_cw_old"
            ;;
        *) _cw_set "$name" "$before$_cw_old$after" ;;
    esac
}

# -- Where GPUs are (see wrapper/gpu.toml): what nobody has set. Caches are on the node's own disk, in a
# directory of the user's and the job's. A job's first program on a node makes it: first the directory
# alone, as another user may have come before, whose links would lead elsewhere. Ranks do not race:
# whoever comes second finds what is there.
_cw_set_for_gpus() {
    _cw_word=$UID${SLURM_JOB_ID:+.$SLURM_JOB_ID}${SLURMD_NODENAME:+.$SLURMD_NODENAME}
    _cw_cache=$_cw_gpu_cache/containerize.${_cw_word//[!A-Za-z0-9._-]/}
    _cw_folders=("${_cw_gpu_folders[@]/#/"$_cw_cache/"}")
    _cw_lacks_folder() {
        for _cw_dir in "${_cw_folders[@]}"; do [[ -d $_cw_dir ]] || return 0; done
        return 1
    }
    [[ -e $_cw_cache || -L $_cw_cache ]] || command -p mkdir -m 700 -- "$_cw_cache" 2>/dev/null
    if [[ -d $_cw_cache && -O $_cw_cache && ! -L $_cw_cache ]]; then
        ! _cw_lacks_folder || command -p mkdir -p -m 700 -- "${_cw_folders[@]}" 2>/dev/null
    else
        _cw_folders=("") # not one of them
    fi
    if _cw_lacks_folder; then
        printf '%s\n' "[ WARNING ] $_cw_cache is no directory of yours, or cannot be filled" \
            "  where:  $_cw_self: caches of GPU programs are where they are by default" \
            "  to do:  see what is there, and whether the disk is full: ls -ld $_cw_cache" >&2
        _cw_cache=
    fi
    for _cw_pair in "${_cw_gpu[@]}"; do # FILE NAME=VALUE: on nodes with this file
        _cw_part=${_cw_pair%% *}
        _cw_pair=${_cw_pair#* }
        _cw_name_of=${_cw_pair%%=*}
        [[ ! -v $_cw_name_of && $_cw_given != *"ENV_$_cw_name_of "* && -e $_cw_part ]] || continue
        [[ $_cw_pair != *"{cache}"* || -n $_cw_cache ]] || continue
        _cw_pair=${_cw_pair#*=}
        _cw_set "$_cw_name_of" "${_cw_pair/"{cache}"/"$_cw_cache"}"
    done
}

_cw_mend_spoilt() {
    for _cw_name_of in "${_cw_spoilt[@]}"; do
        [[ -z $_cw_image || $_cw_name_of != @(PATH|LD_LIBRARY_PATH) ]] || continue
        _cw_pair=$_cw_to_inside$_cw_name_of
        if [[ $_cw_name_of == @(PREPEND|APPEND)_PATH && -v $_cw_name_of ]]; then
            _cw_inside+=("$_cw_name_of=${!_cw_name_of}") # to the runtime this means PATH
            continue
        elif [[ -v $_cw_pair ]]; then # what is for the runtime, without what _cw_escape added
            _cw_value=${!_cw_pair//\\\\/$'\1'}
            _cw_value=${_cw_value//\\}
            _cw_value=${_cw_value//$'\1'/\\}
        elif [[ -v $_cw_name_of && $_cw_name_of != @(APPTAINER|SINGULARITY)ENV_* ]]; then
            _cw_value=${!_cw_name_of}
        else
            continue
        fi
        if ! _cw_is_text "$_cw_value"; then
            _cw_inside+=("$_cw_name_of=$_cw_value")
        elif [[ ! -v $_cw_pair ]]; then
            _cw_force "$_cw_name_of" "$_cw_value" # there nothing is expanded
        fi
    done
}

# -- What a bash inside does.
_cw_go_later() {
    _cw_cwd=${_cw_at:-$PWD}
    [[ $_cw_runtime == /* ]] || _cw_runtime=$PWD/$_cw_runtime
    [[ ! -v OLDPWD ]] || _cw_inside+=("OLDPWD=$OLDPWD")
    cd /
}

_cw_do_without_bash() {
    [[ -z $_cw_cwd ]] ||
        _cw_fail "the container cannot be started in the current directory: $_cw_cwd" "cd elsewhere"
    _cw_ignored='' _cw_inside=() _cw_natively=() _cw_bound=()
}

_cw_quote() { # WORD…: as bash itself would read them, in _cw_value
    local LC_ALL=C
    _cw_value=
    (($# == 0)) || printf -v _cw_value '%q ' "$@"
}

_cw_encode() { # WORD…: in _cw_words
    _cw_encoded=1
    _cw_words=()
    for _cw_word; do
        _cw_quote "$_cw_word" 2>/dev/null
        _cw_words+=("$_cw_value")
    done
}

_cw_put_right() { # WORD…: in _cw_words, behind a bash
    _cw_code="_cw_ignored='$_cw_ignored' _cw_encoded=$_cw_encoded _cw_looks_up=$_cw_looks_up"
    _cw_quote "$_cw_cwd" 2>/dev/null
    _cw_code+=" _cw_cwd=$_cw_value"
    for _cw_word in scripts kept inside bound natively; do
        local -n _cw_array=_cw_$_cw_word
        _cw_quote "${_cw_array[@]}" 2>/dev/null
        _cw_code+=" _cw_$_cw_word=($_cw_value)"
    done
    # shellcheck disable=SC2016 # expanded by the shell inside
    _cw_words=(/bin/bash -p -c '
        eval "$1" # assignments of words that bash has quoted
        _cw_command=("${@:2}")
        if [[ -n $_cw_encoded ]]; then
            _cw_command=()
            for _cw_word in "${@:2}"; do eval "_cw_command+=($_cw_word)"; done
        fi
        set --
        [[ -z $_cw_ignored ]] || trap "" $_cw_ignored
        if [[ -n $_cw_cwd ]]; then
            cd -- "$_cw_cwd" || cd
            unset -v OLDPWD
        fi 2>/dev/null
        for _cw_word in "${_cw_bound[@]}"; do
            _cw_count=0
            for _cw_pair in "$_cw_word"/*; do
                ((_cw_count++ < 1000)) || break
                [[ ! -L $_cw_pair || -e $_cw_pair ]] || printf "%s\n" \
                    "[ WARNING ] $_cw_pair is a link to what is not bound" \
                    "  to do:  bind that too, by its own path, if programs need it" >&2
            done
        done
        for _cw_pair in "${_cw_inside[@]}"; do export "$_cw_pair"; done
        for _cw_script in "${_cw_scripts[@]}"; do . "$_cw_script"; done
        [[ ${#_cw_scripts[@]} -eq 0 ]] || for _cw_pair in "${_cw_kept[@]}"; do export "$_cw_pair"; done
        if [[ -n $_cw_looks_up ]] && ! type -P -- "${_cw_command[0]}" >/dev/null; then
            printf "%s\n" "[ ERROR ] no such program inside: ${_cw_command[0]}" \
                "  to do:  check the name, or look for it: _debug_exec ls DIRECTORY" >&2
            exit 127
        fi
        if [[ ${#_cw_natively[@]} -gt 0 && -x /usr/bin/env && ${_cw_command[0]} != *=* ]]; then
            _cw_command=(/usr/bin/env -- "${_cw_natively[@]}" "${_cw_command[@]}")
        fi
        set +p
        exec -- "${_cw_command[@]}"' shim "$_cw_code" "$@")
}
