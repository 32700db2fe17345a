#!/bin/bash
# Source activation scripts one after the other; record what each does, and the environment after it.
#
# usage: probe.sh OUTPUT_PREFIX SCRIPT...
#
# OUTPUT_PREFIX.start has the environment to start with, in the format of "env -0" (everybody can read
# the words of a process). Writes OUTPUT_PREFIX.0 before the first script, .1 after it, and so on, in
# that format; .1.texts, the first script's commands as bash comes to them ("probe PID COMMAND", each
# with a zero byte; a subshell has another PID), .1.trace, the same as bash runs them, expanded, each
# after a byte 1, .1.functions and .1.variables, what the shell then has. A script may change PATH or
# fail: what it leaves is what a user's shell would be left with. Starts no program: an image may have
# none.
_probe_out=$1
while IFS= read -r -d '' _probe_script; do
    export "${_probe_script?}"
done <"$_probe_out.start"
shift
_probe_count=0
PS4=$'\001 '

_probe_record() {
    local IFS=$' \t\n' name
    {
        for name in $(compgen -e); do
            [[ ! -v $name ]] || printf '%s=%s\0' "$name" "${!name}"
        done
        for name in $(compgen -A function); do # an exported one is a variable of this name
            [[ $(declare -Fp "$name") != *-fx* ]] || printf 'BASH_FUNC_%s%%%%=%s\0' "$name" \
                "$(declare -f "$name")"
        done
    } >"$_probe_out.$_probe_count"
}

_probe_record
for _probe_script; do
    _probe_count=$((_probe_count + 1))
    exec {_probe_texts}>"$_probe_out.$_probe_count.texts" \
        {BASH_XTRACEFD}>"$_probe_out.$_probe_count.trace"
    set -T
    trap 'printf "probe %s %s\0" "$BASHPID" "$BASH_COMMAND" >&$_probe_texts' DEBUG
    set -x
    # shellcheck disable=SC1090 # the environment's own scripts
    . "$_probe_script" </dev/null
    set +x
    trap - DEBUG
    set +T
    compgen -A function >"$_probe_out.$_probe_count.functions"
    compgen -v >"$_probe_out.$_probe_count.variables"
    _probe_record
done
