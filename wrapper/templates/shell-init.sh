#!/bin/bash
# "containerize activate" and "deactivate" for bash and zsh: functions, because only a shell itself
# can change its PATH. To be sourced, which starts no program.
#
# Looked up in: CONTAINERIZE_PATH, TYKKY_PATH. Prompt left alone: CONTAINERIZE_CHANGE_PS1=0,
# TYKKY_CHANGE_PS1=0. Active: CONTAINERIZE_PREFIX, and the first in TYKKY_PREFIX as Tykky has it.

containerize() {
    case ${1-} in
        activate)
            shift
            _containerize_activate "$@"
            ;;
        deactivate)
            case ${2-} in
                -*) command containerize "$@" ;;
                *) _containerize_deactivate ;;
            esac
            ;;
        *) command containerize "$@" ;;
    esac
}

_containerize_activate() {
    local one found left prefixes='' bins='' with='' name names=''
    case ${1-} in
        '' | -*)
            command containerize activate --help
            if [ "${1-}" = -h ] || [ "${1-}" = --help ]; then return 0; else return 2; fi
            ;;
    esac
    for one in "$@"; do # all of them are found before anything is changed
        _containerize_find "$one" || return 1
        prefixes=$prefixes${prefixes:+:}$found
        bins=$bins${bins:+:}$found/bin
        if _containerize_can_join; then with=$with${with:+:}$found; fi
        name=${found##*/}
        # A prompt is evaluated: nothing that could mean something there.
        names=$names${names:+ }${name//[!A-Za-z0-9._+@ -]/?}
    done
    _containerize_deactivate
    export CONTAINERIZE_PREFIX="$prefixes" PATH="$bins${PATH:+:$PATH}"
    if [ -z "${TYKKY_PREFIX-}" ]; then export TYKKY_PREFIX="${prefixes%%:*}"; fi
    if [ $# -gt 1 ] && [ -n "$with" ]; then
        export CONTAINERIZE_WITH="$with${CONTAINERIZE_WITH:+:$CONTAINERIZE_WITH}"
    fi
    if [ -n "${PS1-}" ] && [ "${CONTAINERIZE_CHANGE_PS1-}" != 0 ] && [ "${TYKKY_CHANGE_PS1-}" != 0 ]; then
        _containerize_prompt="($names) "
        PS1=$_containerize_prompt$PS1
    fi
}

# Takes away what activating added and nothing else: what came to PATH since then stays.
_containerize_deactivate() {
    local rest=${CONTAINERIZE_PREFIX:+$CONTAINERIZE_PREFIX:} one left
    local several=${rest#*:}
    if [ -n "$rest" ] && [ "${TYKKY_PREFIX-}" = "${rest%%:*}" ]; then unset TYKKY_PREFIX; fi
    while [ -n "$rest" ]; do
        one=${rest%%:*}
        rest=${rest#*:}
        _containerize_remove "$PATH" "$one/bin"
        PATH=$left
        if [ -n "$several" ] && [ -n "${CONTAINERIZE_WITH-}" ]; then
            _containerize_remove "$CONTAINERIZE_WITH" "$one"
            CONTAINERIZE_WITH=$left
            if [ -z "$left" ]; then unset CONTAINERIZE_WITH; fi
        fi
    done
    if [ -n "${_containerize_prompt-}" ]; then
        left=${PS1%%"$_containerize_prompt"*}
        if [ "$left" != "$PS1" ]; then PS1=$left${PS1#*"$_containerize_prompt"}; fi
    fi
    unset CONTAINERIZE_PREFIX _containerize_prompt
}

_containerize_remove() { # LIST ELEMENT: the list without the first such element, in $left
    left=:$1:
    case $left in
        *":$2:"*) left=${left%%":$2:"*}:${left#*":$2:"} ;;
    esac
    left=${left#:}
    left=${left%:}
}

_containerize_find() { # NAME_OR_DIR: the absolute path of an installation, in $found
    local rest=${CONTAINERIZE_PATH-}:${TYKKY_PATH-}: folder
    found=
    while [ -n "$rest" ] && [ -z "$found" ] && [ "${1#*/}" = "$1" ]; do
        folder=${rest%%:*}
        rest=${rest#*:}
        if [ -n "$folder" ] && _containerize_is_one "$folder/$1"; then found=$folder/$1; fi
    done
    if [ -z "$found" ] && _containerize_is_one "$1"; then found=$1; fi
    if [ -z "$found" ]; then
        printf '%s\n' "[ ERROR ] $1 is no installation" \
            "  where:  ${CONTAINERIZE_PATH:-CONTAINERIZE_PATH is not set} ${TYKKY_PATH-}" \
            "  to do:  name a directory, or one in a directory that CONTAINERIZE_PATH lists" >&2
        return 1
    fi
    if [ -n "${ZSH_VERSION-}" ]; then # without its hooks
        found=$(builtin cd -q -- "$found" && builtin pwd)
    else
        found=$(CDPATH='' builtin cd -- "$found" && builtin pwd)
    fi
}

_containerize_is_one() { # ours, or Tykky's
    [ -d "$1/bin" ] && [ -e "$1/common.sh" ]
}

# Whether programs of $found can run in other containers: not where it wraps a container of its own.
_containerize_can_join() {
    local line
    [ -e "$found/current/env" ] || return 1
    while IFS= read -r line; do
        case $line in
            "_cw_image=''") return 0 ;;
        esac
    done <"$found/current/env"
    return 1
}

# "module load tykky" and its function gave way to this.
if ! command -v tykky >/dev/null 2>&1; then
    tykky() { containerize "$@"; }
    _containerize_tykky=tykky
fi

# -- Completion: names of installations here, all else from the program itself.
_containerize_complete() {
    local word=${COMP_WORDS[COMP_CWORD]} rest=${CONTAINERIZE_PATH-}:${TYKKY_PATH-}: one kind value
    COMPREPLY=()
    if [ "${COMP_WORDS[1]-}" = activate ] && [ "$COMP_CWORD" -gt 1 ]; then
        while [ -n "$rest" ]; do
            for one in "${rest%%:*}"/*/bin; do
                one=${one%/bin}
                if _containerize_is_one "$one" && [ "${rest%%:*}" ]; then
                    one=${one##*/}
                    case $one in "$word"*) COMPREPLY+=("$one") ;; esac
                fi
            done
            rest=${rest#*:}
        done
    else
        while IFS=, read -r kind value; do
            if [ "$kind" = plain ]; then COMPREPLY+=("$value"); fi
        done < <(COMP_WORDS="${COMP_WORDS[*]}" COMP_CWORD=$COMP_CWORD \
            _CONTAINERIZE_COMPLETE=bash_complete command containerize 2>/dev/null)
    fi
}
if [ -n "${ZSH_VERSION-}" ] && command -v compdef >/dev/null 2>&1; then
    autoload -U +X bashcompinit && bashcompinit
fi
if command -v complete >/dev/null 2>&1; then
    complete -o default -o filenames -F _containerize_complete containerize \
        ${_containerize_tykky:+"$_containerize_tykky"}
fi
unset _containerize_tykky
