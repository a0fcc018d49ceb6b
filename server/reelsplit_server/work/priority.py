"""What a process gives up so that others on the machine have their turn."""

from __future__ import annotations

import ctypes
import os
import sys

_CAP_SYS_NICE = 23
_VERSION = 0x20080522
"""_LINUX_CAPABILITY_VERSION_3 of <linux/capability.h>: two words of each set."""


class _Header(ctypes.Structure):
    _fields_ = (("version", ctypes.c_uint32), ("pid", ctypes.c_int))


class _Words(ctypes.Structure):
    _fields_ = (
        ("effective", ctypes.c_uint32),
        ("permitted", ctypes.c_uint32),
        ("inheritable", ctypes.c_uint32),
    )


def forgo_real_time() -> None:
    """Give up the right to run before all others, for this thread and those it starts.

    SVT-AV1 makes the thread that opens it, and its own, real-time ones wherever root runs it. All
    that such a process starts is real-time as well, and the rest of the machine stands still.
    """
    if sys.platform != "linux" or os.geteuid() != 0:
        return
    libc = ctypes.CDLL(None, use_errno=True)
    header, words = _Header(_VERSION, 0), (_Words * 2)()
    if libc.capget(ctypes.byref(header), words) == 0:
        for kept in ("effective", "permitted", "inheritable"):
            setattr(words[0], kept, getattr(words[0], kept) & ~(1 << _CAP_SYS_NICE))
        libc.capset(ctypes.byref(header), words)
    # An earlier one may have made it so already, or whoever started this process. What that chose
    # below the usual stays, and so does the flag: to change them needs the right that is gone.
    chosen = os.sched_getscheduler(0)
    flag = chosen & os.SCHED_RESET_ON_FORK
    if chosen - flag in (os.SCHED_FIFO, os.SCHED_RR):
        os.sched_setscheduler(0, os.SCHED_OTHER | flag, os.sched_param(0))
