#!/bin/bash
# Run a user's script with the environment active, as after "conda activate".
#
# usage: run-active.sh ENVIRONMENT SCRIPT NAME
#
# NAME is $0 for the script (where bash is 5.0 or newer): beside that the user has what it calls.
#
# The script's first failing command ends it: an installation that half works is worse than none.
_script=$2 _name=$3
for _activate in "$1"/etc/conda/activate.d/*.sh; do
    # shellcheck disable=SC1090 # the environment's own scripts
    [[ -r $_activate ]] && . "$_activate"
done
# shellcheck disable=SC2016 # expanded by the bash that starts
exec /bin/bash -ec '_script=$0; BASH_ARGV0=$1; shift; . "$_script"' "$_script" "$_name"
