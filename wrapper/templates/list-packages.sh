#!/bin/bash -p
# The packages of this installation: name, version, build, channel. Needs no container.
_cw_bin=${0%/*}
[[ $_cw_bin == "$0" ]] && _cw_bin=.
exec cat -- "$_cw_bin/../current/packages.txt"
