#!/bin/bash
# Run a user's script with the environment active, as after "conda activate".
#
# usage: run-active.sh ENVIRONMENT SCRIPT
#
# The script's first failing command ends it: an installation that half works is worse than none.
_script=$2
for _activate in "$1"/etc/conda/activate.d/*.sh; do
    # shellcheck disable=SC1090 # the environment's own scripts
    [[ -r $_activate ]] && . "$_activate"
done
exec /bin/bash -e "$_script"
