"""Work on messages that would hold up the event loop: in threads, and on few at a time.

Each message under work is there more than once for a while (as it came, its body, what is hashed). So few
threads keep what a process holds near its byte budget, whatever number of sessions bring messages at once.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from typing import ParamSpec, TypeVar

FROM_BYTES = 256 * 1024
_THREADS = ThreadPoolExecutor(4, thread_name_prefix="big")

P = ParamSpec("P")
T = TypeVar("T")


async def in_thread(work: Callable[P, T], *arguments: P.args, **named: P.kwargs) -> T:
    """What `work` returns or raises."""
    loop = asyncio.get_running_loop()
    return await loop.run_in_executor(_THREADS, partial(work, *arguments, **named))
