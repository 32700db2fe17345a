#!/bin/bash
# Source activation scripts one after the other and record the environment after each.
#
# usage: probe.sh OUTPUT_PREFIX START SCRIPT...
#
# START is a file with the environment to start with, in the format of "env -0": everybody sees a
# program's words. Writes OUTPUT_PREFIX.0 before the first script, .1 after it, and so on, in the same
# format. A script may change PATH or fail: what it leaves is what a user's shell would be left with.
# Starts no program: an image may have none.
_probe_out=$1
while IFS= read -r -d '' _probe_script; do
    export "${_probe_script?}"
done <"$2"
shift 2
_probe_count=0

_probe_record() {
    local IFS=$' \t\n' name
    {
        for name in $(compgen -e); do
            printf '%s=%s\0' "$name" "${!name}"
        done
        for name in $(compgen -A function); do # an exported one is a variable of this name
            [[ $(declare -Fp "$name") != *-fx* ]] || printf 'BASH_FUNC_%s%%%%=%s\0' "$name" \
                "$(declare -f "$name")"
        done
    } >"$_probe_out.$_probe_count"
}

_probe_record
for _probe_script; do
    # shellcheck disable=SC1090 # the environment's own scripts
    . "$_probe_script" </dev/null
    _probe_count=$((_probe_count + 1))
    _probe_record
done
