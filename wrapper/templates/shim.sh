#!/bin/bash -p
# A program of the installation around this directory: starts the container and runs, inside, the
# path by which it was called. All files in this directory are one file (hard links).
#
# -p keeps BASH_ENV (Lmod sets one) and exported functions out. Nothing below starts a process
# before the runtime does; variables begin with _cw_ because one of the user's may be exported.
# shellcheck disable=SC2154 # assigned by the generation's file "env"
# Sourced, the last line would take the user's shell away. (-p: else BASH_SOURCE may be a variable.)
if [ -z "${BASH_VERSION-}" ] || { [ "${-#*p}" = "$-" ] && [ "${BASH_SOURCE-$0}" != "$0" ]; }; then
    printf '%s\n' "[ ERROR ] this is a program to be run, it cannot be sourced: ${BASH_SOURCE:-$0}" \
        "  to do:  run it; where the real one is shell code (a completer), source that:" \
        "          source <('${BASH_SOURCE%/*}/_debug_exec' cat '${BASH_SOURCE:-$0}')" >&2
    return 1
fi
_cw_built_at=__PREFIX__
_cw_runtime=${CONTAINERIZE_RUNTIME:-__RUNTIME__}
_cw_flags=__FLAGS__
_cw_settings=__SETTINGS__ # of the user for the runtime, that are meant for every container
_cw_unbindable=__UNBINDABLE__ # no path of a bind can have these

_cw_fail() {
    printf '%s\n' "[ ERROR ] $1" "  where:  $_cw_self" "  to do:  $2" >&2
    exit 1
}

_cw_typed() { # WORD: as one types it, in _cw_word
    printf -v _cw_word %q "$1"
}

# The runtime does not follow links in a bind's destination, and /scratch/project_x is one: find the
# physical path with cd, and come back by an open handle, which also works where cwd was deleted.
_cw_follow() { # DIRECTORY: its path without links and dots, in _cw_physical
    _cw_physical=$1
    _cw_part=$1
    [[ $1/ == *[/.]./* ]] || while [[ -n $_cw_part && ! -L $_cw_part ]]; do
        _cw_part=${_cw_part%/*}
    done
    if [[ -n $_cw_part ]]; then
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
    fi
}
_cw_resolve() { # DIRECTORY: the same of one that is bound
    _cw_follow "$1"
    _cw_check "$_cw_physical"
}

_cw_check() { # PATH: whether it can be bound
    [[ $1 != *["$_cw_unbindable"]* ]] ||
        _cw_fail "a bind cannot express the path $1" \
            "move the installation to one without "__UNBINDABLE_NAMES__
}

_cw_check_machine() { # PREFIX: whether what was just read of it is for this node
    # (HOSTTYPE and MACHTYPE may be inherited, from a login node of another kind.)
    [[ -z ${_cw_machine-} || ${BASH_VERSINFO[5]} == "$_cw_machine"-* ]] || _cw_fail \
        "$1 was built for $_cw_machine, and this node is ${BASH_VERSINFO[5]%%-*}" \
        "use a node of that kind, or build it on this one too, into another directory"
}

if [[ ${0##*/} == _debug_exec && ${1-} == @(|-h|--help) ]]; then
    printf '%s\n' "usage: $0 COMMAND [ARGUMENT...]" \
        "Runs any command in this installation's container, for example: $0 ls -l /" >&$((2 - $#))
    exit $((2 - 2 * $#))
fi

# -- Where are we? A moved installation finds itself; a link to a shim (a virtual environment's
# python) is looked up where the installation was built, and only then with readlink.
_cw_self=$0
[[ $_cw_self == /* ]] || _cw_self=${PWD%/}/${_cw_self#./}
_cw_name=${_cw_self##*/}
_cw_bin=${_cw_self%/*}
if ! [[ -e ${_cw_bin%/bin}/current/env && -e $_cw_bin/_debug_exec ]]; then
    _cw_bin=$_cw_built_at/bin
    if ! [[ $_cw_bin/_debug_exec -ef $_cw_self || $_cw_bin/$_cw_name -ef $_cw_self ]]; then
        _cw_bin=$(readlink -f -- "$_cw_self")
        _cw_bin=${_cw_bin%/*}
    fi
fi
if [[ $_cw_bin/ == *[/.]./* ]]; then
    _cw_resolve "$_cw_bin"
    _cw_bin=$_cw_physical
fi
_cw_prefix=${_cw_bin%/bin}

# -- Images besides the one that is the container's root.
_cw_image_binds=
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

_cw_find_programs() { # the bind of the real ones over the shims, in $_cw_programs
    _cw_programs=,$_cw_generation_dir/_bin:$_cw_physical/bin
    [[ $_cw_mask != "$_cw_physical" ]] || _cw_programs= # the image lies over the prefix, and has them
}

# Other installations that are to be there too: their images and programs, at their own paths. Tykky's
# users name them by a bind, DIR/img.sqfs:PATH:image-src=/, and join whole binds by colons too. As in
# Tykky, what wraps a container (it has no such image) gets none of these.
_cw_with=${CONTAINERIZE_WITH-}
_cw_extra_binds=
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
    unset -v _cw_machine
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
_cw_resolve "$_cw_prefix"
[[ $_cw_prefix == "$_cw_physical" ]] || _cw_check "$_cw_prefix"

# -- Which generation? One read decides; a switch while we start changes nothing. (One of an earlier
# version sets other variables.)
unset -v _cw_when _cw_changes _cw_prepends _cw_defaults _cw_unsets _cw_machine _cw_mpi _cw_mpi_defaults
unset -v _cw_gpu_device _cw_runscripts _cw_entry_point _cw_beyond
# ("command": where POSIXLY_CORRECT is set, a failing "." would end the shell without a word.)
# shellcheck source=/dev/null
command . "$_cw_prefix/current/env" 2>/dev/null ||
    _cw_fail "the installation is incomplete: $_cw_prefix/current/env cannot be read" \
        "check that the file system is mounted and that you may read it, or install anew"
_cw_check_machine "$_cw_prefix"
_cw_generation_dir=$_cw_prefix/.generations/$_cw_generation
if [[ $_cw_name == _debug_* ]]; then # as in Tykky, whose users ask for them
    export "install_root=${_cw_mask:-${_cw_image_root:-$_cw_install_path}}" \
        "env_root=${_cw_mask:-$_cw_install_path}"
fi

# -- Already in a container?
if [[ -d $_cw_install_path ]]; then
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
elif [[ -e /.containerize || -e /.singularity.d ]]; then
    [[ -z $_cw_image ]] || # another system: the two can be no one container
        _cw_fail "this program wraps a container, which cannot be started from inside another" \
            "call it outside, in a step of its own"
    _cw_typed "$_cw_prefix"
    _cw_fail "this program lives in a container of its own and cannot be started from inside another" \
        "outside, before starting the other one: export CONTAINERIZE_WITH=$_cw_word"
fi

# pip and uv heed EXTERNALLY-MANAGED (PEP 668), but not in a virtual environment: said here.
# A virtual environment on top calls by a path of its own.
_cw_words="$_cw_name ${1:0:9} ${2:0:9} ${3:0:9} "
if [[ -n $_cw_venv && ${_cw_self%/*} -ef $_cw_bin &&
    $_cw_words == @(pip*([0-9.])|python*([0-9.])\ -m\ pip|uv\ pip)\ @(install|uninstall|sync)\ * &&
    " $* " != *\ @(-t|--target|--prefix|--root|--dry-run|-p|--python|-h|--help)[=\ ]* ]]; then
    _cw_typed "$_cw_prefix"
    _cw_fail "the image is read-only: $_cw_name can install nothing into it, and remove nothing" \
        "pip-containerize update $_cw_word -r requirements.txt
          or install on top of it, into a virtual environment that sees its packages:
          $_cw_word/bin/python3 -m venv --system-site-packages VENV"
fi

if [[ -n $_cw_required_program ]] &&
    ! [[ -x $_cw_required_program && -d ${_cw_required_library:-/} ]]; then
    _cw_why="has gone: $_cw_required_program"
    [[ -x $_cw_required_program ]] &&
        _cw_why="is another version now: $_cw_required_library is missing"
    _cw_typed "$_cw_prefix"
    _cw_fail "the Python that this installation is built on $_cw_why" \
        "load its module, or build anew on another: pip-containerize new --prefix NEW_DIR\
 $_cw_word/current/inputs/*"
fi

# -- The runtime: the one that the user names; else where it was at build time, or on PATH.
if ! [[ $_cw_runtime == */* && -f $_cw_runtime && -x $_cw_runtime ]]; then
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
fi

# -- What the container sees: the host's top-level directories (a bind whose source is missing is
# fatal to the runtime, and nodes differ), the user's own binds, the real programs over the shims.
# They are mounted in this order: the last must not be covered.
# Apptainer would drop a SINGULARITY_BIND that differs from APPTAINER_BIND, so we pass both; and of
# two binds to one place the runtime drops the later, so ours gives way.
_cw_user_binds=
for _cw_pair in "$SINGULARITY_BIND" "$SINGULARITY_BINDPATH" "$APPTAINER_BIND" \
    "$APPTAINER_BINDPATH" "$_cw_extra_binds"; do
    [[ -n $_cw_pair && $_cw_user_binds, != *",$_cw_pair,"* ]] && _cw_user_binds+=,$_cw_pair
done
_cw_own_binds=$_cw_user_binds,
[[ -n ${CONTAINERIZE_MINIMAL_BINDS-} ]] || _cw_site_binds+=("${_cw_beyond[@]}")
for _cw_pair in "${_cw_site_binds[@]}"; do # (an image twice at one place is fatal)
    [[ ! -e ${_cw_pair%%:*} || $_cw_image_binds, == *":${_cw_pair#*:},"* ]] ||
        _cw_user_binds+=,$_cw_pair
done
_cw_taken=,
_cw_rest=${_cw_user_binds#,}
while [[ -n $_cw_rest ]]; do # SOURCE[:DESTINATION[:OPTIONS]],…
    _cw_pair=${_cw_rest%%,*}
    _cw_rest=${_cw_rest#"$_cw_pair"}
    _cw_rest=${_cw_rest#,}
    [[ $_cw_pair == *:* ]] && _cw_pair=${_cw_pair#*:} && _cw_pair=${_cw_pair%%:*}
    _cw_taken+=${_cw_pair%/},
done
_cw_binds=
_cw_left_out=$_cw_taken,__NEVER_BOUND__, # the runtime provides these itself, or nobody needs them
for _cw_dir in "${_cw_excluded[@]}"; do _cw_left_out+=$_cw_dir,; done
if [[ -n $_cw_image ]]; then
    # An image with a system of its own keeps these; it gets the other directories and the home.
    _cw_system=,__OWN_SYSTEM__,
    _cw_left_out+=$_cw_system
    for _cw_dir in "${HOME-}" "$_cw_prefix"; do
        _cw_part=${_cw_dir#/}
        [[ -d $_cw_dir && $_cw_dir != *["$_cw_unbindable"]* && $_cw_system == *",/${_cw_part%%/*},"* ]] &&
            _cw_binds+=$_cw_dir,
    done
fi
_cw_bound=() # directories that the user binds, inside: whether links in them lead somewhere
_cw_at=      # the working directory inside, where it is there by another name
if [[ -n ${CONTAINERIZE_MINIMAL_BINDS-} ]]; then
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
fi
_cw_part=" ${_cw_links[*]} "
[[ -z $_cw_image ]] || _cw_part= # those are of our own image
for _cw_dir in /*/; do
    _cw_dir=${_cw_dir%/}
    [[ $_cw_left_out == *",$_cw_dir,"* || $_cw_dir == *["$_cw_unbindable"]* ||
        ($_cw_part == *" $_cw_dir "* && -L $_cw_dir) ]] || _cw_binds+=$_cw_dir,
done
_cw_here=
if [[ -n $_cw_image && -z ${CONTAINERIZE_MINIMAL_BINDS-} ]]; then
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
fi
_cw_binds+=${_cw_user_binds:+${_cw_user_binds#,},}
_cw_add_mask
_cw_start=$_cw_generation_dir/img.sqfs
if [[ -n $_cw_image_root ]]; then # an adopted image has no mount points: a skeleton beside it has
    _cw_start=$_cw_generation_dir/skeleton.sqfs
    _cw_add_image "$_cw_image_root"
fi
[[ -z $_cw_layer ]] || _cw_add_image "$_cw_install_path" "$_cw_install_path"
_cw_find_programs
_cw_binds=${_cw_binds%,}$_cw_programs$_cw_image_binds
[[ -z ${_cw_runscripts-} ]] || _cw_binds+=,$_cw_generation_dir/runscripts:/runscripts
if [[ -n $_cw_image ]]; then
    _cw_start=$_cw_image
    [[ $_cw_start == /* ]] || _cw_start=$_cw_generation_dir/$_cw_image
    [[ -e $_cw_start ]] || _cw_fail "the container image has gone: $_cw_start" \
        "put it back, or build anew on another one (current/inputs has what you gave)"
    if [[ -n $_cw_image_mark ]]; then # bytes of its first block; bash leaves zero bytes out
        LC_ALL=C IFS= read -r -N 96 _cw_value <"$_cw_start"
        [[ $_cw_value == *"$_cw_image_mark"* ]] || printf '%s\n' \
            "[ WARNING ] $_cw_start is not the image that this was built on" \
            "  to do:  if programs fail, build anew (current/inputs has what you gave)" >&2
    fi
    [[ -z $_cw_mpi ]] || _cw_binds+=,/:__HOST_ROOT__
    # By its install path a shim sees that it is inside its own container.
    [[ -n $_cw_image_root$_cw_layer ]] || _cw_binds+=,$_cw_generation_dir:$_cw_install_path
fi

if [[ -v CW_NO_CONDA_ACTIVATE ]]; then # what the site and the user set stays
    _cw_assign=("${_cw_always[@]}") _cw_scripts=() _cw_changes=()
    _cw_prepends=() _cw_defaults=() _cw_unsets=()
fi
# A virtual environment on top of this installation, called or active.
_cw_on_top=
for _cw_dir in "${_cw_self%/*/*}" "${VIRTUAL_ENV-}"; do
    [[ -z $_cw_on_top && $_cw_dir/bin != "$_cw_bin" && -f $_cw_dir/pyvenv.cfg ]] || continue
    for _cw_found in "$_cw_dir"/bin/python*; do
        [[ ! $_cw_found -ef $_cw_bin/_debug_exec ]] || _cw_on_top=$_cw_dir
    done
done
[[ ! $_cw_on_top -ef $_cw_prefix ]] || _cw_on_top=
# Variables of which the caller's values are to stay as they are.
_cw_kept=() # NAME=VALUE
_cw_keep=,  # their names
for _cw_name_of in ${CONTAINERIZE_KEEP//,/ } ${_cw_on_top:+VIRTUAL_ENV}; do
    [[ $_cw_name_of == [A-Za-z_]*([A-Za-z0-9_]) && -v $_cw_name_of ]] || continue
    _cw_kept+=("$_cw_name_of=${!_cw_name_of}")
    _cw_keep+=$_cw_name_of,
done
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
if [[ $_cw_keep != , ]]; then
    for _cw_value in _cw_assign _cw_changes _cw_prepends _cw_defaults _cw_unsets; do
        _cw_leave "$_cw_value"
    done
fi

# -- What would not arrive. The runtime makes text of all words, expands a "~" at the beginning of a
# value, and lets a shell of its own read every variable, where some names mean something else; to
# this bash some mean something, too. They are looked for in what the kernel keeps of our start.
_cw_bashs="IFS|PS[24]|PPID|E?UID|GID|OPT(IND|ARG|ERR)|S?RANDOM|SECONDS|LINENO|EPOCH(SECONDS|REALTIME)"
_cw_bashs+="|SHELLOPTS|BASH(OPTS|PID|_(VERSION|VERSINFO|ARGV0?|ARGC|COMMAND|SUBSHELL|LINENO|REMATCH))?"
_cw_bashs+="|DIRSTACK|FUNCNAME|GROUPS|MAPFILE|HISTCMD|COMP_[A-Z]+|e|key|IMAGE_ARG|USER_PATH"
_cw_beyond_ascii=$'[\x80-\xff]'
_cw_is_text() { # WORD…: whether all are UTF-8
    # (Errors go nowhere: of a locale that is missing bash would tell at every return.)
    [[ -n $_cw_text ]] || _cw_decode "$@" 2>/dev/null
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
_cw_text=       # set: there is nothing else
_cw_spoilt=()   # names of variables whose values would change
_cw_natively=() # NAME=VALUE: what no shell can hand on
_cw_look() {    # WORD…: at the variables, those of the activation too, and at these words
    local LC_ALL=C IFS=$'\n'
    local pair pairs names=$_cw_bashs values="=~|\\\\u000A|$_cw_beyond_ascii"
    mapfile -d '' -t pairs </proc/self/environ
    pairs+=("${_cw_assign[@]}" "${_cw_changes[@]#* * * }")
    pairs+=("${_cw_prepends[@]}" "${_cw_defaults[@]#*|}")
    [[ -v OLDPWD ]] || names+='|OLDPWD' # one that is no directory any more
    [[ $'\n'"${pairs[*]}"$'\n'"$*" =~ $'\n'($names)=|$values ]] || { _cw_text=1 && return; }
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
_cw_look "$PWD" "$_cw_self" "$@" 2>/dev/null

# SingularityCE starts no image that is compressed with zstd, and leaves out without a word a layer
# that is. Where another runtime was found than the one that started it when it was built, that is
# asked; nowhere else a process is started for it.
if [[ $_cw_compression == zstd && ! $_cw_runtime -ef $_cw_built_with &&
    $("$_cw_runtime" --version 2>/dev/null) == singularity* ]]; then
    _cw_part=$_cw_compressed
    [[ $_cw_part == /* ]] || _cw_part=$_cw_generation_dir/$_cw_part
    if [[ $("$_cw_runtime" -s exec "$_cw_part" / 2>&1 </dev/null) == *[Cc]ompress* ]]; then
        [[ $_cw_compressed == /* ]] || _cw_part=$_cw_prefix
        _cw_typed "$_cw_part"
        _cw_fail "$_cw_runtime starts no image that is compressed with $_cw_compression" \
            "use the runtime of the build ($_cw_built_with), or, as the owner: containerize repack $_cw_word"
    fi
fi

# -- The active environment. A container inherits variables as they are; only PATH and
# LD_LIBRARY_PATH it takes from SINGULARITYENV_PATH and so on. What stands there is evaluated by a
# shell as if in double quotes, so ours is escaped. Apptainer knows these names too, but prefers its
# own; to SingularityCE APPTAINERENV_PATH is a variable like any other, which programs would see.
_cw_to_inside=SINGULARITYENV_
_cw_other_family=APPTAINERENV_
if [[ ${_cw_runtime##*/} == apptainer ]]; then
    _cw_to_inside=APPTAINERENV_
    _cw_other_family=SINGULARITYENV_
fi
_cw_escape() { # VALUE: escaped, in _cw_value
    _cw_value=$1
    [[ $1 == *[\\\$\`]* ]] || return 0
    _cw_value=${1//\\/\\\\}
    _cw_value=${_cw_value//\$/\\\$}
    _cw_value=${_cw_value//\`/\\\`}
}
_cw_give() { # NAME VALUE: an escaped one, inside, whatever the image sets
    export "$_cw_to_inside$1=$2"
    unset -v "$_cw_other_family$1"
}
_cw_asked() { # NAME DEFAULT: what the user wants NAME to be inside, else DEFAULT, in _cw_value
    local own=$_cw_to_inside$1 other=$_cw_other_family$1
    _cw_escape "$2"
    _cw_value=${!own-${!other-$_cw_value}}
}
_cw_present() { # NAME: what it will be inside, in _cw_old; of PATH and LD_*: escaped
    _cw_old=${!1-}
    [[ $1 != @(PATH|LD_*) ]] || { _cw_asked "$1" "$_cw_old" && _cw_old=$_cw_value; }
}
_cw_hand_on() { # NAME FIRST [ON_TOP]: set NAME inside to FIRST and then what it would have been,
    local first top list # and what is to be on top of it before it. What is there stays in its place.
    _cw_escape "$2"
    first=$_cw_value
    _cw_escape "${3-}"
    top=$_cw_value
    _cw_asked "$1" "${!1-}"
    list=:$_cw_value:
    if [[ -n $first && $list != *":$first:"* ]]; then
        if [[ -n $top && $list == *":$top:"* ]]; then
            list=${list/":$top:"/":$top:$first:"}
        else
            list=:$first${_cw_value:+:$_cw_value}:
        fi
    fi
    [[ -z $top || $list == *":$top:"* ]] || list=${list/":$first:"/":$top:$first:"}
    list=${list#:}
    [[ -z ${list%:} ]] || _cw_give "$1" "${list%:}"
}
_cw_force() { # NAME VALUE: inside, whatever the image sets
    _cw_escape "$2"
    _cw_give "$1" "$_cw_value"
}
_cw_users_own() { # NAME [DEFAULT]: inside, what the user set, whatever the image sets
    _cw_asked "$1" "${2-${!1-}}"
    _cw_give "$1" "$_cw_value"
}
_cw_set() { # NAME VALUE: the runtime itself must not see what is for the loader inside
    case $1 in
        PATH | LD_* | PS1) _cw_force "$1" "$2" ;;
        *)
            export "$1=$2"
            [[ -z $_cw_image ]] || _cw_force "$1" "$2"
            ;;
    esac
}
for _cw_pair in "${_cw_assign[@]}"; do
    _cw_set "${_cw_pair%%=*}" "${_cw_pair#*=}"
done
# Variables for the runtime that the user set for other containers (CLEANENV, CONTAIN, NET…) must not
# change this one. Programs see what the user sees, not what the runtime was given.
for _cw_name_of in APPTAINER_BIND SINGULARITY_BIND "${!APPTAINER_@}" "${!SINGULARITY_@}"; do
    _cw_setting=${_cw_name_of#*_}
    [[ $_cw_setting == @(APPNAME|COMMAND|CONTAINER|ENVIRONMENT|INSTANCE|NAME|SHELL) ]] ||
        _cw_users_own "$_cw_name_of"
    [[ $_cw_setting == @($_cw_settings) && $_cw_setting != BIND* ]] || unset -v "$_cw_name_of"
done
if [[ -n $_cw_image ]]; then
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
else
    _cw_hand_on LD_LIBRARY_PATH ""
    _cw_bins=$_cw_prefix/bin
    [[ $_cw_keep != *,PATH,* ]] || _cw_bins=
    _cw_hand_on PATH "$_cw_bins" "${_cw_bins:+${_cw_on_top:+$_cw_on_top/bin}}"
fi
# Scripts of packages are sourced inside where something is set that they look into; what else they
# do is recorded (see environment_file in wrapper/shims.py).
_cw_given=" ${!APPTAINERENV_@} ${!SINGULARITYENV_@} "
_cw_sourced=" "
for _cw_index in "${!_cw_scripts[@]}"; do
    for _cw_word in ${_cw_when[_cw_index]--}; do
        case $_cw_word in
            -) ;;
            @*) [[ $_cw_sourced == *" ${_cw_word#@} "* ]] || continue ;;
            =*)
                _cw_word=${_cw_word#=}
                [[ -v $_cw_word && -z ${!_cw_word} ]] || continue
                ;;
            *) [[ -v $_cw_word || $_cw_given == *"ENV_$_cw_word "* ]] || continue ;;
        esac
        _cw_sourced+="$_cw_index "
        continue 2
    done
    unset -v "_cw_scripts[_cw_index]"
done
# As an environment file of an earlier version has them:
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
for _cw_change in "${_cw_changes[@]}"; do # SCRIPT CONDITION KIND NAME=VALUE
    [[ $_cw_sourced != *" ${_cw_change%% *} "* ]] || continue
    _cw_change=${_cw_change#* }
    _cw_word=${_cw_change%% *}
    _cw_change=${_cw_change#* }
    if [[ $_cw_word != . ]]; then
        _cw_present "${_cw_word:1}"
        [[ ($_cw_word == +* && -n $_cw_old) || ($_cw_word == -* && -z $_cw_old) ]] || continue
    fi
    _cw_pair=${_cw_change:2}
    _cw_name_of=${_cw_pair%%=*}
    _cw_present "$_cw_name_of"
    case $_cw_change in
        =*) _cw_set "$_cw_name_of" "${_cw_pair#*=}" ;;
        '<'*) _cw_put "$_cw_name_of" "${_cw_pair#*=}" "" ;;
        '>'*) _cw_put "$_cw_name_of" "" "${_cw_pair#*=}" ;;
        '&'*)
            _cw_pair=${_cw_pair#*=}
            [[ " ${_cw_spoilt[*]} " != *" $_cw_pair "* ]] || _cw_spoilt+=("$_cw_name_of")
            _cw_set "$_cw_name_of" "${!_cw_pair}"
            ;;
        -*)
            unset -v "$_cw_name_of"
            [[ $_cw_name_of != LD_* && -z $_cw_image ]] ||
                unset -v "SINGULARITYENV_$_cw_name_of" "APPTAINERENV_$_cw_name_of"
            ;;
    esac
done
# The host's MPI is before any other: links in the generation.
if [[ -n $_cw_mpi && $_cw_keep != *,LD_LIBRARY_PATH,* ]]; then
    _cw_escape "$_cw_generation_dir/$_cw_mpi"
    # shellcheck disable=SC2016 # expanded inside: what the image sets is known there alone
    _cw_old='${LD_LIBRARY_PATH:+:$LD_LIBRARY_PATH}'
    for _cw_name_of in "$_cw_other_family" "$_cw_to_inside"; do
        _cw_name_of+=LD_LIBRARY_PATH
        [[ ! -v $_cw_name_of ]] || _cw_old=${!_cw_name_of:+:${!_cw_name_of}}
    done
    [[ $_cw_old: == ":$_cw_value:"* ]] || _cw_give LD_LIBRARY_PATH "$_cw_value$_cw_old"
fi
for _cw_pair in "${_cw_mpi_defaults[@]}"; do # also where CW_NO_CONDA_ACTIVATE is set
    _cw_name_of=${_cw_pair%%=*}
    [[ -v $_cw_name_of || $_cw_given == *"ENV_$_cw_name_of "* ]] ||
        _cw_set "$_cw_name_of" "${_cw_pair#*=}"
done
# -- Where GPUs are (see wrapper/gpu.toml): what nobody has set. Caches are on the node's own disk, in a
# directory of the user's and the job's. A job's first program on a node makes it: first the directory
# alone, as another user may have come before, whose links would lead elsewhere. Ranks do not race:
# whoever comes second finds what is there.
if [[ -n ${_cw_gpu_device-} && -e $_cw_gpu_device ]]; then
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
fi
# The runtime hands on a prompt of its own, and a PROMPT_COMMAND that sets it once more after the
# user's ~/.bashrc: PS1="VALUE". This value lets an interactive bash keep the prompt it has.
# shellcheck disable=SC2016 # expanded by the shell inside
_cw_prompt='${PS1-}'
[[ $_cw_name != _debug_shell ]] || _cw_prompt="[${_cw_prefix##*[!A-Za-z0-9._+-]}] \\w \\$ "
_cw_users_own PS1 "$_cw_prompt"
# A user's ~/.local must not change what the installation imports, unless they say so (with an
# empty value), or said so when they built it.
[[ -v PYTHONNOUSERSITE || -n $_cw_user_site ]] || export PYTHONNOUSERSITE=1

# -- What a bash inside has to put right, where there is something: it gets ASCII alone. The ordinary
# call needs none.
_cw_inside=() # NAME=VALUE
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
_cw_account() { # the home of the account, in _cw_home
    local HOME name='\u'
    unset -v HOME
    [[ ${name@P} != 'I have no name!' ]] ||
        _cw_fail "your account (number $UID) has no name here, and no container starts without" \
            "ask for an entry in passwd, or use another account"
    _cw_home=~
}
_cw_account
if [[ -n ${HOME-} && $HOME != *:* ]] && _cw_is_text "$HOME"; then
    _cw_home=$HOME
elif [[ -v HOME ]]; then # after a colon the runtime expects the place inside
    _cw_inside+=("HOME=$HOME")
fi
_cw_cwd=
[[ $PWD -ef . ]] || _cw_fail "the current directory has gone: $PWD" "cd elsewhere"
if [[ -n $_cw_at || ! -r . ]] || ! _cw_is_text "$PWD"; then # where the runtime cannot go
    _cw_cwd=${_cw_at:-$PWD}
    [[ $_cw_runtime == /* ]] || _cw_runtime=$PWD/$_cw_runtime
    [[ ! -v OLDPWD ]] || _cw_inside+=("OLDPWD=$OLDPWD")
    cd /
else # by the name that the caller knows it by, where links lead there
    _cw_force PWD "$PWD"
    # The runtime goes to the directory itself, so that it is the same to who asks the kernel.
    [[ -z $_cw_here ]] || export PWD="$_cw_here"
fi
# Signals that the caller ignores (nohup, a script's background jobs) stay so: the runtime resets all.
trap : QUIT # bash itself ignores this one; caught, it shows whether the caller does
mapfile -t _cw_words </proc/self/status
trap - QUIT
[[ ${_cw_words[*]} =~ SigIgn:[[:space:]]*([0-9a-f]+) ]]
_cw_bits=$((16#${BASH_REMATCH[1]}))
_cw_ignored=
for ((_cw_signal = 1; _cw_bits != 0 && _cw_signal <= 64; _cw_signal++)); do
    [[ $_cw_signal != 3[23] ]] || continue # the C library's own
    ((_cw_bits >> _cw_signal - 1 & 1)) && _cw_ignored+=" $_cw_signal"
done

if [[ -n $_cw_no_bash ]]; then # of the image: nothing can be put right in it
    [[ -z $_cw_cwd ]] ||
        _cw_fail "the container cannot be started in the current directory: $_cw_cwd" "cd elsewhere"
    _cw_ignored='' _cw_inside=() _cw_natively=() _cw_bound=()
fi

# -- Go.
case $_cw_name in
    _debug_exec) ;;
    _debug_shell) set -- /bin/bash --norc "$@" ;;
    *) set -- "$_cw_self" "$@" ;;
esac
[[ -z ${_cw_entry_point-} || ${CONTAINERIZE_ENTRY_POINT-} == 0 ]] ||
    set -- "${_cw_entry_point[@]}" "$@" # as the image's "run" does
_cw_quote() { # WORD…: as bash itself would read them, in _cw_value
    local LC_ALL=C
    _cw_value=
    (($# == 0)) || printf -v _cw_value '%q ' "$@"
}
_cw_encoded=
if [[ -z $_cw_no_bash ]] && ! _cw_is_text "$@"; then
    _cw_encoded=1
    _cw_words=()
    for _cw_word; do
        _cw_quote "$_cw_word" 2>/dev/null
        _cw_words+=("$_cw_value")
    done
    set -- "${_cw_words[@]}"
fi
_cw_looks_up= # what is not found outside is found, or missed, by the bash inside
if [[ $_cw_name == _debug_exec && -z $_cw_image && ! -e $_cw_bin/$1 ]]; then
    type -P -- "$1" >/dev/null || _cw_looks_up=1
fi
if [[ -n $_cw_ignored$_cw_cwd$_cw_encoded$_cw_looks_up || ${#_cw_scripts[@]} -gt 0 ||
    ${#_cw_bound[@]} -gt 0 || ${#_cw_inside[@]} -gt 0 || ${#_cw_natively[@]} -gt 0 ]]; then
    _cw_code="_cw_ignored='$_cw_ignored' _cw_encoded=$_cw_encoded _cw_looks_up=$_cw_looks_up"
    _cw_quote "$_cw_cwd" 2>/dev/null
    _cw_code+=" _cw_cwd=$_cw_value"
    _cw_quote "${_cw_scripts[@]}" 2>/dev/null
    _cw_code+=" _cw_scripts=($_cw_value)"
    _cw_quote "${_cw_kept[@]}" 2>/dev/null
    _cw_code+=" _cw_kept=($_cw_value)"
    _cw_quote "${_cw_inside[@]}" 2>/dev/null
    _cw_code+=" _cw_inside=($_cw_value)"
    _cw_quote "${_cw_bound[@]}" 2>/dev/null
    _cw_code+=" _cw_bound=($_cw_value)"
    _cw_quote "${_cw_natively[@]}" 2>/dev/null
    _cw_code+=" _cw_natively=($_cw_value)"
    # shellcheck disable=SC2016 # expanded by the shell inside
    set -- /bin/bash -p -c '
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
        exec -- "${_cw_command[@]}"' shim "$_cw_code" "$@"
fi
set +p # an exported SHELLOPTS would hand it to every bash inside
# shellcheck disable=SC2086 # one word each, written by the build
exec "$_cw_runtime" -s exec $_cw_flags --home "$_cw_home" -B "$_cw_binds" \
    "$_cw_start" "$@"
