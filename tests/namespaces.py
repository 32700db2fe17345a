"""``namespaces.py COMMAND…``: run it where user namespaces are refused, as clusters refuse them.

A seccomp filter, inherited by whatever the command starts, refuses clone and unshare with
CLONE_NEWUSER. It cannot look at clone3's arguments, which lie in memory: that is answered as an old
kernel would, and everybody falls back to clone. Installed by root and without no_new_privs, it lets
set-uid programs be set-uid; nothing else on the machine is changed.
"""

from __future__ import annotations

import ctypes
import errno
import os
import struct
import sys

X86_64, CLONE, UNSHARE, CLONE3 = 0xC000003E, 56, 272, 435
CLONE_NEWUSER = 0x10000000
PR_SET_SECCOMP, SECCOMP_MODE_FILTER = 22, 2
ALLOW, ERRNO = 0x7FFF0000, 0x00050000
LOAD, IF_EQUAL, IF_BITS, RETURN = 0x20, 0x15, 0x45, 0x06
NUMBER, ARCHITECTURE, FIRST_ARGUMENT = 0, 4, 16  # in struct seccomp_data

# Instruction, how many to skip if true and if false, operand: see seccomp(2).
PROGRAM = (
    (LOAD, 0, 0, ARCHITECTURE),
    (IF_EQUAL, 0, 6, X86_64),
    (LOAD, 0, 0, NUMBER),
    (IF_EQUAL, 5, 0, CLONE3),
    (IF_EQUAL, 1, 0, CLONE),
    (IF_EQUAL, 0, 2, UNSHARE),
    (LOAD, 0, 0, FIRST_ARGUMENT),
    (IF_BITS, 2, 0, CLONE_NEWUSER),
    (RETURN, 0, 0, ALLOW),
    (RETURN, 0, 0, ERRNO | errno.ENOSYS),
    (RETURN, 0, 0, ERRNO | errno.EPERM),
)


def refuse_user_namespaces() -> None:
    """For this process and its children, for ever."""
    code = ctypes.create_string_buffer(b"".join(struct.pack("HBBI", *line) for line in PROGRAM))
    program = struct.pack("HxxxxxxQ", len(PROGRAM), ctypes.addressof(code))
    libc = ctypes.CDLL(None, use_errno=True)
    if libc.prctl(PR_SET_SECCOMP, SECCOMP_MODE_FILTER, program, 0, 0) != 0:
        raise OSError(ctypes.get_errno(), "no seccomp filter (only root can have one)")


if __name__ == "__main__":
    refuse_user_namespaces()
    os.execvp(sys.argv[1], sys.argv[1:])
