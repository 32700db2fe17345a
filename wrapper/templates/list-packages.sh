#!/bin/bash -p
# The packages of this installation: name, version, build, channel. Needs no container.
_cw_self=$(readlink -f -- "$0")
exec cat -- "${_cw_self%/bin/*}/current/packages.txt"
