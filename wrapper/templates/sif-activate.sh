#!/bin/sh
# The environment of this image, active. Read at every start by the runtime's own interpreter, which
# is nearly a POSIX shell, after the base image's scripts of this kind and before the user's
# SINGULARITYENV_* and APPTAINERENV_*. It starts no program, unless a package's script depends on the
# moment of its start.
#
# A variable cannot be removed here (measured with Apptainer 1.4: unset has no effect outside this
# file); the empty value stands for that. The runtime then removes those that come from the user.
#
# Before the image's scripts of this kind the runtime puts the user's variables aside, in lines of
# NAME=VALUE, and after them it brings back what they did not set (Apptainer, and SingularityCE since
# 3.6). What packages' scripts ask for has to be there before.
_cw_recall() { # |NAME|NAME|: of the user's variables these, or all
    # shellcheck disable=SC2039,SC3043 # it knows "local"
    local IFS='
' line name
    set -f
    for line in ${__exported_env__-}; do
        name=${line%%=*}
        case $name in
            [!A-Za-z_]* | *[!A-Za-z0-9_]*) continue ;;
        esac
        case $1 in
            all | *"|$name|"*) ;;
            *) continue ;;
        esac
        # shellcheck disable=SC2039,SC3060 # and this
        eval "test -n \"\${$name+x}\"" || export "${line//'\u000A'/$IFS}"
    done
    set +f
}
