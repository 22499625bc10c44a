"""A network that has nothing but this machine in it, where addresses that look public can be dialled.

What the product must not dial for a stranger, loopback above all, cannot stand in for the world: here hosts
of the world have addresses as the world has, on the loopback interface of a network namespace of our own.
"""

from __future__ import annotations

import ctypes
import os
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager

from tests.support.servers import SYSTEM_FOLDERS, _program

_CLONE_NEWNET = 0x40000000  # linux/sched.h
_OWN = "/proc/thread-self/ns/net"


@contextmanager
def own_network(*addresses: str) -> Iterator[None]:
    """This thread, and threads and processes that it starts meanwhile, see 127.0.0.1 and `addresses` only.

    What was started before stays where it is, and is not reached from here.
    """
    ip = _program("ip", "iproute2", first=SYSTEM_FOLDERS)
    libc = ctypes.CDLL(None, use_errno=True)
    before = os.open(_OWN, os.O_RDONLY | os.O_CLOEXEC)
    try:
        if libc.unshare(_CLONE_NEWNET):
            raise RuntimeError("no network of our own without CAP_SYS_ADMIN: run these tests as root")
        try:
            subprocess.run([ip, "link", "set", "lo", "up"], check=True)
            for address in addresses:
                subprocess.run([ip, "address", "add", f"{address}/32", "dev", "lo"], check=True)
            yield
        finally:
            if libc.setns(before, _CLONE_NEWNET):
                raise OSError(ctypes.get_errno(), "the way back to the network from before is barred")
    finally:
        os.close(before)
