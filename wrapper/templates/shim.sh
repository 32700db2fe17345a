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

# Words are bytes: bash matches them in half the time. (It is not exported where it was not set.)
unset -v _cw_locale
[[ ! -v LC_ALL ]] || _cw_locale=$LC_ALL
LC_ALL=C
_cw_users_locale() { # (Of one that is missing bash would tell.)
    if [[ -v _cw_locale ]]; then LC_ALL=$_cw_locale; else unset -v LC_ALL; fi 2>/dev/null
}

# What few calls need is behind the last line (templates/shim-rare.sh), and bash reads no further than
# it gets: to read 20 kB more would take a fifth of the time.
_cw_functions=
_cw_rarely() { # FUNCTION [WORD…]: one of those
    [[ -n $_cw_functions ]] || _cw_read_on
    "$@"
}
_cw_read_on() {
    local IFS=$'\n'
    mapfile -t -s __LINES__ _cw_functions <"$0"
    [[ ${_cw_functions-} == "#!"* ]] || # their first line
        _cw_fail "this program is being replaced" "call it again"
    eval "${_cw_functions[*]}"
}

_cw_fail() {
    printf '%s\n' "[ ERROR ] $1" "  where:  ${_cw_self-$0}" "  to do:  $2" >&2
    exit 1
}

# The runtime does not follow links in a bind's destination, and /scratch/project_x is one.
_cw_follow() { # DIRECTORY: its path without links and dots, in _cw_physical
    _cw_physical=$1
    _cw_part=$1
    [[ $1/ == *[/.]./* ]] || while [[ -n $_cw_part && ! -L $_cw_part ]]; do
        _cw_part=${_cw_part%/*}
    done
    [[ -z $_cw_part ]] || _cw_rarely _cw_go_there "$1"
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
    [[ -z ${_cw_machine-} || ${BASH_VERSINFO[5]} == "$_cw_machine"-* ]] ||
        _cw_rarely _cw_wrong_machine "$1"
    [[ ! -v _cw_processor ]] || _cw_rarely _cw_check_processor "$1"
}

[[ ${0##*/} != _debug_exec || ${1-} != @(|-h|--help) ]] || _cw_rarely _cw_usage $#

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

# -- Images besides the one that is the container's root, at AT[:FROM…] of the generation just read.
_cw_image_binds=
_cw_find_programs() { # the bind of the real ones over the shims, in $_cw_programs
    _cw_programs=,$_cw_generation_dir/_bin:$_cw_physical/bin
    [[ $_cw_mask != "$_cw_physical" ]] || _cw_programs= # the image lies over the prefix, and has them
}
_cw_extra_binds=
[[ -z ${CONTAINERIZE_WITH-}${CW_EXTRA_BIND_MOUNTS-} ]] || _cw_rarely _cw_add_others
_cw_resolve "$_cw_prefix"
[[ $_cw_prefix == "$_cw_physical" ]] || _cw_check "$_cw_prefix"

# -- Which generation? One read decides; a switch while we start changes nothing. (One of an earlier
# version sets other variables.)
unset -v _cw_when _cw_changes _cw_prepends _cw_defaults _cw_unsets _cw_machine _cw_mpi _cw_mpi_defaults
unset -v _cw_gpu_device _cw_runscripts _cw_entry_point _cw_beyond _cw_host_programs _cw_processor
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
    _cw_rarely _cw_start_inside "$@"
elif [[ -e /.containerize || -e /.singularity.d ]]; then
    _cw_rarely _cw_in_another
fi

# pip and uv heed EXTERNALLY-MANAGED (PEP 668), but not in a virtual environment: said here.
# A virtual environment on top calls by a path of its own.
_cw_words="$_cw_name ${1:0:9} ${2:0:9} ${3:0:9} "
if [[ -n $_cw_venv && ${_cw_self%/*} -ef $_cw_bin &&
    $_cw_words == @(pip*([0-9.])|python*([0-9.])\ -m\ pip|uv\ pip)\ @(install|uninstall|sync)\ * &&
    " $* " != *\ @(-t|--target|--prefix|--root|--dry-run|-p|--python|-h|--help)[=\ ]* ]]; then
    _cw_rarely _cw_refuse_pip
fi

if [[ -n $_cw_required_program ]] &&
    ! [[ -x $_cw_required_program && -d ${_cw_required_library:-/} ]]; then
    _cw_rarely _cw_no_python
fi

# -- The runtime: the one that the user names; else where it was at build time, or on PATH.
[[ $_cw_runtime == */* && -f $_cw_runtime && -x $_cw_runtime ]] || _cw_rarely _cw_find_runtime

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
while [[ -n $_cw_rest ]]; do # SOURCE[:DESTINATION[:OPTION[,OPTION…]]],…; a comma may be escaped
    _cw_pair=${_cw_rest%%,*}
    _cw_rest=${_cw_rest#"$_cw_pair"}
    _cw_rest=${_cw_rest#,}
    [[ -e ${_cw_pair%%:*} || $_cw_pair == ?(ro|rw|id=*|image-src=*) || $_cw_user_binds == *\\* ]] || {
        _cw_rarely _cw_leave_out
        continue
    }
    [[ $_cw_pair == *:* ]] && _cw_pair=${_cw_pair#*:} && _cw_pair=${_cw_pair%%:*}
    _cw_taken+=${_cw_pair%/},
done
_cw_binds=
_cw_left_out=$_cw_taken,__NEVER_BOUND__, # the runtime provides these itself, or nobody needs them
for _cw_dir in "${_cw_excluded[@]}"; do _cw_left_out+=$_cw_dir,; done
[[ -z $_cw_image ]] || _cw_rarely _cw_keep_system
_cw_bound=() # directories that the user binds, inside: whether links in them lead somewhere
_cw_at=      # the working directory inside, where it is there by another name
[[ -z ${CONTAINERIZE_MINIMAL_BINDS-} ]] || _cw_rarely _cw_bind_little
_cw_part=" ${_cw_links[*]} "
[[ -z $_cw_image ]] || _cw_part= # those are of our own image
for _cw_dir in /*/; do
    _cw_dir=${_cw_dir%/}
    [[ $_cw_left_out == *",$_cw_dir,"* || $_cw_dir == *["$_cw_unbindable"]* ||
        ($_cw_part == *" $_cw_dir "* && -L $_cw_dir) ]] || _cw_binds+=$_cw_dir,
done
_cw_here=
[[ -z $_cw_image || -n ${CONTAINERIZE_MINIMAL_BINDS-} ]] || _cw_rarely _cw_bind_linked
_cw_binds+=${_cw_user_binds:+${_cw_user_binds#,},}
[[ -z $_cw_mask ]] || _cw_rarely _cw_add_mask
_cw_start=$_cw_generation_dir/img.sqfs
[[ -z $_cw_image_root$_cw_layer ]] || _cw_rarely _cw_add_layer
_cw_find_programs
_cw_binds=${_cw_binds%,}$_cw_programs$_cw_image_binds
[[ -z ${_cw_runscripts-} ]] || _cw_binds+=,$_cw_generation_dir/runscripts:/runscripts
[[ -z $_cw_image ]] || _cw_rarely _cw_start_image

if [[ -v CW_NO_CONDA_ACTIVATE ]]; then # what the site and the user set stays
    _cw_assign=("${_cw_always[@]}") _cw_scripts=() _cw_changes=()
    _cw_prepends=() _cw_defaults=() _cw_unsets=()
fi
# A virtual environment on top of this installation, called or active.
_cw_on_top=
[[ ${_cw_self%/*} == "$_cw_bin" && -z ${VIRTUAL_ENV-} ]] || _cw_rarely _cw_find_venv
# Variables of which the caller's values are to stay as they are.
_cw_kept=() # NAME=VALUE
_cw_keep=,  # their names
[[ -z ${CONTAINERIZE_KEEP-}$_cw_on_top ]] || _cw_rarely _cw_keep_variables

# -- What would not arrive. The runtime makes text of all words, expands a "~" at the beginning of a
# value, and lets a shell of its own read every variable, where some names mean something else; to
# this bash some mean something, too. They are looked for in what the kernel keeps of our start.
_cw_bashs="IFS|PS[24]|PPID|E?UID|GID|OPT(IND|ARG|ERR)|S?RANDOM|SECONDS|LINENO|EPOCH(SECONDS|REALTIME)"
_cw_bashs+="|SHELLOPTS|BASH(OPTS|PID|_(VERSION|VERSINFO|ARGV0?|ARGC|COMMAND|SUBSHELL|LINENO|REMATCH))?"
_cw_bashs+="|DIRSTACK|FUNCNAME|GROUPS|MAPFILE|HISTCMD|COMP_[A-Z]+|e|key|IMAGE_ARG|USER_PATH"
_cw_beyond_ascii=$'[\x80-\xff]'
_cw_is_text() { # WORD…: whether all are UTF-8
    # (Errors go nowhere: of a locale that is missing bash would tell at every return.)
    [[ -n $_cw_text ]] || { _cw_rarely : && _cw_decode "$@" 2>/dev/null; }
}
_cw_text=       # set: there is nothing else
_cw_spoilt=()   # names of variables whose values would change
_cw_natively=() # NAME=VALUE: what no shell can hand on
_cw_look() {    # WORD…: at the variables, those of the activation too, and at these words
    local IFS=$'\n'
    local pairs names=$_cw_bashs values="=~|\\\\u000A|$_cw_beyond_ascii"
    mapfile -d '' -t pairs </proc/self/environ
    pairs+=("${_cw_assign[@]}" "${_cw_changes[@]#* * * }")
    pairs+=("${_cw_prepends[@]}" "${_cw_defaults[@]#*|}")
    [[ -v OLDPWD ]] || names+='|OLDPWD' # one that is no directory any more
    [[ $'\n'"${pairs[*]}"$'\n'"$*" =~ $'\n'($names)=|$values ]] || { _cw_text=1 && return; }
    _cw_rarely _cw_sort_out "$@"
}
_cw_look "$PWD" "$_cw_self" "$@"
[[ ! -v _cw_locale && "${_cw_assign[*]} ${_cw_when[*]} ${_cw_changes[*]}" != *LC_ALL* ]] ||
    _cw_users_locale

# SingularityCE starts no image that is compressed with zstd, and leaves out without a word a layer
# that is. Where another runtime was found than the one that started it when it was built, that is
# asked; nowhere else a process is started for it.
if [[ $_cw_compression == zstd && ! $_cw_runtime -ef $_cw_built_with &&
    $("$_cw_runtime" --version 2>/dev/null) == singularity* ]]; then
    _cw_rarely _cw_check_compression
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
    _cw_rarely _cw_set_in_image
else
    _cw_hand_on LD_LIBRARY_PATH ""
    _cw_bins=$_cw_prefix/bin
    [[ $_cw_keep != *,PATH,* ]] || _cw_bins=
    # (Where there is none, bash takes one of its own, with "." in it.)
    [[ $PATH != *:. || ${PATH@a} == *x* ]] || PATH=${PATH%:.}
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
[[ -z ${_cw_prepends-}${_cw_defaults-}${_cw_unsets-} ]] || _cw_rarely _cw_read_earlier
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
        '<'*) _cw_rarely _cw_put "$_cw_name_of" "${_cw_pair#*=}" "" ;;
        '>'*) _cw_rarely _cw_put "$_cw_name_of" "" "${_cw_pair#*=}" ;;
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
[[ -z ${_cw_gpu_device-} || ! -e $_cw_gpu_device ]] || _cw_rarely _cw_set_for_gpus
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
[[ ${#_cw_spoilt[@]} -eq 0 ]] || _cw_rarely _cw_mend_spoilt
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
    _cw_rarely _cw_go_later
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

[[ -z $_cw_no_bash ]] || _cw_rarely _cw_do_without_bash

# -- Go.
case $_cw_name in
    _debug_exec) ;;
    _debug_shell) set -- /bin/bash --norc "$@" ;;
    *) set -- "$_cw_self" "$@" ;;
esac
[[ -z ${_cw_entry_point-} || ${CONTAINERIZE_ENTRY_POINT-} == 0 ]] ||
    set -- "${_cw_entry_point[@]}" "$@" # as the image's "run" does
_cw_encoded=
if [[ -z $_cw_no_bash ]] && ! _cw_is_text "$@"; then
    _cw_rarely _cw_encode "$@"
    set -- "${_cw_words[@]}"
fi
_cw_looks_up= # what is not found outside is found, or missed, by the bash inside
if [[ $_cw_name == _debug_exec && -z $_cw_image && ! -e $_cw_bin/$1 ]]; then
    type -P -- "$1" >/dev/null || _cw_looks_up=1
fi
if [[ -n $_cw_ignored$_cw_cwd$_cw_encoded$_cw_looks_up || ${#_cw_scripts[@]} -gt 0 ||
    ${#_cw_bound[@]} -gt 0 || ${#_cw_inside[@]} -gt 0 || ${#_cw_natively[@]} -gt 0 ]]; then
    _cw_rarely _cw_put_right "$@"
    set -- "${_cw_words[@]}"
fi
set +p # an exported SHELLOPTS would hand it to every bash inside
# shellcheck disable=SC2086 # one word each, written by the build
exec "$_cw_runtime" -s exec $_cw_flags --home "$_cw_home" -B "$_cw_binds" \
    "$_cw_start" "$@"
