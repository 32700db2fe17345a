#!/bin/bash
# Source scripts of packages that depend on the moment, and print what they changed, for eval.
#
# usage: sif-dynamic.sh FLAG SCRIPT [FLAG SCRIPT]…
#
# Those with an empty flag are left out. The runtime's interpreter is no bash; these scripts are
# written for one.
declare -A _before=()
while IFS= read -r -d '' _pair; do
    _before[${_pair%%=*}]=${_pair#*=}
done < /proc/self/environ
_quote="'\"'\"'"
_scripts=()
while [[ $# -gt 0 ]]; do
    [[ -z $1 ]] || _scripts+=("$2")
    shift 2
done
exec {_out}>&1 1>&2
for _script in "${_scripts[@]}"; do
    # shellcheck disable=SC1090 # a package's
    . "$_script"
done
for _name in $(compgen -e); do
    case $_name in
        _ | SHLVL | PWD | OLDPWD | BASH_*) continue ;;
    esac
    if [[ ${_before[$_name]-} != "${!_name}" || ! -v _before[$_name] ]]; then
        # The runtime's interpreter knows this kind of quoting alone.
        printf "export %s='%s'\\n" "$_name" "${!_name//\'/$_quote}" >&"$_out"
    fi
    unset "_before[$_name]"
done
for _name in "${!_before[@]}"; do
    [[ $_name != +([A-Za-z0-9_]) || -v $_name ]] || printf 'export %s=\n' "$_name" >&"$_out"
done
