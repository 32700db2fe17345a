"""Activation scripts in the ways in which those of well-known packages are written."""

from __future__ import annotations

_GDAL = """\
# What another installation set is put aside.
if [[ -n "${DEMO_GDAL_DATA:-}" ]]; then
    export _CONDA_SET_DEMO_GDAL_DATA=$DEMO_GDAL_DATA
fi
if [[ -n "${DEMO_GDAL_DRIVERS:-}" ]]; then
    export _CONDA_SET_DEMO_GDAL_DRIVERS=$DEMO_GDAL_DRIVERS
fi
if [ -d ${CONDA_PREFIX}/share/demo-gdal ]; then
    export DEMO_GDAL_DATA=${CONDA_PREFIX}/share/demo-gdal
    export DEMO_GDAL_DRIVERS=${CONDA_PREFIX}/lib/demo-gdal-drivers
elif [ -d ${CONDA_PREFIX}/Library/share/demo-gdal ]; then
    export DEMO_GDAL_DATA=${CONDA_PREFIX}/Library/share/demo-gdal
fi
if [[ ! -d "$DEMO_GDAL_DRIVERS" ]]; then
    unset DEMO_GDAL_DRIVERS
fi
if [ -n "$BASH_VERSION" ] && [ -n "$PS1" ] && [ -f ${CONDA_PREFIX}/share/demo-gdal/complete ]; then
    . ${CONDA_PREFIX}/share/demo-gdal/complete
fi
"""

_PROJ = """\
if [ -n "${DEMO_PROJ_DATA:-}" ]; then
    export _CONDA_SET_DEMO_PROJ_DATA=$DEMO_PROJ_DATA
fi
if [ -d "${CONDA_PREFIX}/share/demo-proj" ]; then
    export "DEMO_PROJ_DATA=${CONDA_PREFIX}/share/demo-proj"
elif [ -d "${CONDA_PREFIX}/Library/share/demo-proj" ]; then
    export "DEMO_PROJ_DATA=${CONDA_PREFIX}/Library/share/demo-proj"
fi
if [ -f "${CONDA_PREFIX}/share/demo-proj/grids" ]; then
    export DEMO_PROJ_NETWORK="OFF"
else
    export DEMO_PROJ_NETWORK="ON"
fi
"""

_GEOTIFF = """\
if [[ -n "$DEMO_GEOTIFF_CSV" ]]; then
    export _CONDA_SET_DEMO_GEOTIFF_CSV=$DEMO_GEOTIFF_CSV
fi
[ -d $CONDA_PREFIX/share/demo-epsg ] && export DEMO_GEOTIFF_CSV=$CONDA_PREFIX/share/demo-epsg
"""

_XML = """\
#! /bin/sh
if test -n "${DEMO_CATALOGS:-}"; then
    demo_catalogs_before="${DEMO_CATALOGS}"
    DEMO_CATALOGS="${DEMO_CATALOGS} "
else
    demo_catalogs_before=""
    DEMO_CATALOGS=""
fi
# A blank in the prefix is %20 in a URL.
demo_mine=""
demo_ifs="${IFS}"
IFS=" "
demo_rest="${CONDA_PREFIX}"
for demo_part in ${demo_rest}; do
    while test "${demo_rest#"${demo_part}"}" = "${demo_rest}"; do
        demo_mine="${demo_mine}%20"
        demo_rest=${demo_rest#" "}
    done
    demo_mine="${demo_mine}${demo_part}"
    demo_rest=${demo_rest#"${demo_part}"}
done
IFS="${demo_ifs}"
export DEMO_CATALOGS="${DEMO_CATALOGS}file://${demo_mine}/etc/xml/catalog file:///etc/xml/catalog"
unset demo_mine demo_ifs demo_rest
"""

# A function that backs up and sets variables by computed names, and looks for its programs.
_TOOLS = """\
_demo_name() {
    if [ -n "${BASH_SOURCE+x}" ] && [ -n "${BASH_SOURCE[0]}" ]; then
        basename "${BASH_SOURCE[0]}"
    elif [ -n "$ZSH_NAME" ] && [ -n "${(%):-%x}" ]; then
        basename "${(%):-%x}"
    else
        echo "UNKNOWN FILE"
    fi
}
function _demo_tools() {
    local nature="$1"; shift
    local before="$1"; shift
    local thing
    local newval
    local from
    local to
    local pass
    if [ "${nature}" = "activate" ]; then
        from=""
        to="CONDA_BACKUP_"
    else
        from="CONDA_BACKUP_"
        to=""
    fi
    for pass in check apply; do
        for thing in "$@"; do
            case "${thing}" in
                *,*)
                    newval=$(echo "${thing}" | sed "s,^[^\\,]*\\,\\(.*\\),\\1,")
                    thing=$(echo "${thing}" | sed "s,^\\([^\\,]*\\)\\,.*,\\1,")
                    ;;
                *)
                    newval="${CONDA_PREFIX}/bin/${before}${thing}"
                    thing=$(echo ${thing} | tr 'a-z+-' 'A-ZX_')
                    if [ ! -x "${newval}" -a "${pass}" = "check" ]; then
                        echo "ERROR: there is no program ${newval}"
                        return 1
                    fi
                    ;;
            esac
            if [ "${pass}" = "apply" ]; then
                eval oldval="\\$${from}$thing"
                if [ -n "${oldval}" ]; then
                    eval export "${to}'${thing}'=\\"${oldval}\\""
                else
                    eval unset '${to}${thing}'
                fi
                if [ -n "${newval}" ]; then
                    eval export "'${from}${thing}=${newval}'"
                else
                    eval unset '${from}${thing}'
                fi
            fi
        done
    done
    return 0
}
"""
_REPORT = """\
if [ $? -ne 0 ]; then
    echo "ERROR: $(_demo_name) failed, see above for details"
else
    if [ "${CONDA_BUILD:-0}" = "1" ]; then
        env > /tmp/demo-new-env-$$.txt
        diff -U 0 -rN /tmp/demo-old-env-$$.txt /tmp/demo-new-env-$$.txt | tail -n +4 | sort
        rm -f /tmp/demo-old-env-$$.txt /tmp/demo-new-env-$$.txt || true
    fi
    if [ -n "${ZSH_NAME:-}" ]; then
        autoload -Uz add-zsh-hook
    fi
fi
"""
_GCC = (
    _TOOLS
    + """\
if [ "${CONDA_BUILD:-0}" = "1" ]; then
    DEMO_CFLAGS_USED="-O2 -isystem ${PREFIX}/include -fdebug-prefix-map=${SRC_DIR}=/usr/src"
    env > /tmp/demo-old-env-$$.txt
else
    DEMO_CFLAGS_USED="-O2 -isystem ${CONDA_PREFIX}/include"
fi
_CMAKE_ARGS="-DCMAKE_AR=${CONDA_PREFIX}/bin/x86_64-demo-ar"
_CMAKE_ARGS="${_CMAKE_ARGS} -DCMAKE_BUILD_TYPE=Release"
_demo_tools \\
    activate x86_64-demo- "DEMO_HOST,x86_64-demo" demo-cc demo-gcc demo-gcc-ar \\
    "DEMO_CFLAGS,${DEMO_CFLAGS:-${DEMO_CFLAGS_USED}}" \\
    "DEMO_LDFLAGS,-Wl,-rpath,${CONDA_PREFIX}/lib -L${CONDA_PREFIX}/lib" \\
    "DEMO_CMAKE_ARGS,${_CMAKE_ARGS}"
"""
    + _REPORT
    + "unset _CMAKE_ARGS\n"
)
_BINUTILS = _TOOLS + "_demo_tools activate x86_64-demo- demo-ld demo-as\n" + _REPORT
_GXX = (
    _TOOLS
    + """\
DEMO_CXXFLAGS_USED="-fvisibility-inlines-hidden ${DEMO_CFLAGS}"
_demo_tools activate x86_64-demo- demo-g++ demo-c++ "DEMO_CXXFLAGS,${DEMO_CXXFLAGS_USED}"
"""
    + _REPORT
)

_NVCC = """\
export DEMO_CFLAGS_BACKUP="${DEMO_CFLAGS}"
[[ "linux-64" == "linux-64" ]] && demo_targets="targets/x86_64-linux"
if [ "${CONDA_BUILD:-0}" = "1" ]; then
    DEMO_INCLUDE="${PREFIX}/${demo_targets}/include"
else
    DEMO_INCLUDE="${CONDA_PREFIX}/${demo_targets}/include"
fi
export DEMO_CFLAGS="${DEMO_CFLAGS} -I${DEMO_INCLUDE}"
if [ -z "${DEMO_GXX+x}" ]; then
    echo 'please add the `compiler("cxx")` package'
    ERROR=true
else
    if [[ ! -z "${DEMO_NVCC_FLAGS+x}" ]]; then
        export DEMO_NVCC_FLAGS_BACKUP="${DEMO_NVCC_FLAGS}"
    fi
    export DEMO_NVCC_FLAGS="${DEMO_NVCC_FLAGS} -ccbin=${DEMO_GXX}"
fi
! $ERROR
"""

_MPI = """\
if [ "${CONDA_BUILD:-}" = "1" ] && [ "${CONDA_BUILD_CROSS_COMPILATION:-0}" = "1" ]; then
    export DEMO_OPAL_PREFIX="$PREFIX"
fi
_demo_mpi_home=$(cd "$(dirname "${BASH_SOURCE[0]}")/../../.." && pwd)
export DEMO_MPI_HOME=$_demo_mpi_home DEMO_MPI_AGENT="${DEMO_MPI_AGENT:-ssh}"
unset _demo_mpi_home
"""

_OPENSSL = """\
if [[ "${DEMO_CERT_FILE:-}" == "" ]]; then
    export DEMO_CERT_FILE="${CONDA_PREFIX}/ssl/cacert.pem"
    export __CONDA_DEMO_CERT_FILE_SET="1"
fi
"""

_JAVA = """\
# Variables may be set and empty.
if [ "${DEMO_JAVA_HOME+x}" ] ; then
  export DEMO_JAVA_HOME_CONDA_BACKUP=$DEMO_JAVA_HOME
fi
export DEMO_JAVA_HOME=$CONDA_PREFIX/lib/demo-jvm
if [ "${DEMO_JAVA_LIBRARIES+x}" ] ; then
  export DEMO_JAVA_LIBRARIES_BACKUP=$DEMO_JAVA_LIBRARIES
fi
export DEMO_JAVA_LIBRARIES=$DEMO_JAVA_HOME/lib/server
"""

_R = """\
#!/usr/bin/env sh
R CMD javareconf > /dev/null 2>&1 || true

if [[ ! -z ${DEMO_WHICH_R+x} ]]; then
  export DEMO_WHICH_R_PREV="$DEMO_WHICH_R"
fi
export DEMO_WHICH_R="$CONDA_PREFIX/bin/R"
"""

_GLIB = """\
export DEMO_SCHEMAS_CONDA_BACKUP="${DEMO_SCHEMAS:-}"
export DEMO_SCHEMAS="$CONDA_PREFIX/share/demo-schemas"
"""

_PERL = """\
export DEMO_HOME=$CONDA_PREFIX
DEMO_PERL5LIB="${DEMO_HOME}/lib/perl${DEMO_PERL5LIB+:$DEMO_PERL5LIB}"
export DEMO_PERL5LIB DEMO_MANPATH="$DEMO_HOME/man:$DEMO_MANPATH"
export PATH="$DEMO_HOME/demo-bin:$PATH"
"""

#: Name -> script, in the order in which they are sourced.
SCRIPTS = {
    "activate-demo-binutils_linux-64.sh": _BINUTILS,
    "activate-demo-gcc_linux-64.sh": _GCC,
    "activate-demo-gxx_linux-64.sh": _GXX,
    "activate-demo-r-base.sh": _R,
    "demo-gdal-activate.sh": _GDAL,
    "demo-geotiff-activate.sh": _GEOTIFF,
    "demo-glib_activate.sh": _GLIB,
    "demo-libxml2_activate.sh": _XML,
    "demo-openjdk_activate.sh": _JAVA,
    "demo-openmpi_activate.sh": _MPI,
    "demo-openssl_activate.sh": _OPENSSL,
    "demo-perl_activate.sh": _PERL,
    "demo-proj-activate.sh": _PROJ,
    "~demo-cuda-nvcc_activate.sh": _NVCC,
}

#: What they look for: path in the environment -> text.
FILES = {
    **{
        f"bin/x86_64-demo-demo-{name}": "#!/bin/sh\n"
        for name in ("as", "c++", "cc", "g++", "gcc", "gcc-ar", "ld")
    },
    "share/demo-gdal/data": "",
    "share/demo-proj/grids": "",
    "share/demo-epsg/data": "",
}
