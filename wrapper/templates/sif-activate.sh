#!/bin/sh
# The environment of this image, active. Read at every start by the runtime's own interpreter, which
# is nearly a POSIX shell, after the base image's scripts of this kind and before the user's
# SINGULARITYENV_* and APPTAINERENV_*. It starts no program, unless a package's script depends on the
# moment of its start.
#
# A variable cannot be removed here (measured with Apptainer 1.4: unset has no effect outside this
# file); the empty value stands for that.
