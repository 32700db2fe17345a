#!/bin/bash
# Source activation scripts one after the other and record the environment after each.
#
# usage: probe.sh OUTPUT_PREFIX SCRIPT...
#
# Writes OUTPUT_PREFIX.0 before the first script, .1 after it, and so on, in the format of env -0.
# A script may change PATH or fail: what it leaves is what a user's shell would be left with.
_probe_out=$1
_probe_count=0
shift
/usr/bin/env -0 >"$_probe_out.0"
for _probe_script; do
    # shellcheck disable=SC1090 # the environment's own scripts
    . "$_probe_script" </dev/null
    _probe_count=$((_probe_count + 1))
    /usr/bin/env -0 >"$_probe_out.$_probe_count"
done
