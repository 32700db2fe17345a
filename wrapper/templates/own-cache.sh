#!/bin/bash
# Run a program that keeps files in DIRECTORY, if that is the one that was meant.
#
# usage: own-cache.sh DIRECTORY DEVICE:INODE STAT... -- PROGRAM...
#
# Where DIRECTORY comes from, others could put another one in its place until it was bound here; what
# is bound stays. STAT are the words that start stat(1).
_own_directory=$1 _own_meant=$2
shift 2
_own_stat=()
while [[ $1 != -- ]]; do
    _own_stat+=("$1")
    shift
done
shift
_own_found=$("${_own_stat[@]}" -c %d:%i "$_own_directory")
if [[ $_own_found != "$_own_meant" ]]; then
    echo "the cache has another directory in the place of yours: nothing was started" >&2
    exit 1
fi
exec "$@"
