"""How much memory there is for what is about to be made: asked before it is made, since Linux ends whoever takes too much."""

from __future__ import annotations

import os
import resource
from collections.abc import Iterable
from contextlib import suppress
from pathlib import Path

WHOLE, OWN = Path("/proc/meminfo"), Path("/proc/self/statm")
CONTAINERS = (  # the limit of a container and what is used of it, in the two versions that Linux has
    (Path("/sys/fs/cgroup/memory.max"), Path("/sys/fs/cgroup/memory.current")),
    (Path("/sys/fs/cgroup/memory/memory.limit_in_bytes"), Path("/sys/fs/cgroup/memory/memory.usage_in_bytes")),
)


def available(whole: Path = WHOLE, containers: Iterable[tuple[Path, Path]] = CONTAINERS) -> int:
    """Bytes of memory that a process could have now: what Linux calls available, less where a container has less,
    or where the process may not have more (``ulimit -v``).

    Elsewhere all that is built in.
    """
    found = [os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")]
    with suppress(OSError, ValueError, IndexError):
        found += [
            int(row.split()[1]) * 2**10 for row in whole.read_text().splitlines() if row.startswith("MemAvailable")
        ]
    for most, used in containers:
        with suppress(OSError, ValueError):  # "max" where there is no limit
            found.append(int(most.read_text()) - int(used.read_text()))
    limit, _ = resource.getrlimit(resource.RLIMIT_AS)
    if limit != resource.RLIM_INFINITY:
        with suppress(OSError, ValueError):
            limit -= int(OWN.read_text().split()[0]) * os.sysconf("SC_PAGE_SIZE")
        found.append(limit)
    return max(0, min(found))


def in_words(size: float) -> str:
    """Bytes as a reader has them: ``1.5 GiB``."""
    unit = 0
    while size >= 1024 and unit < 4:
        size, unit = size / 1024, unit + 1
    return f"{size:,.3g} {('bytes', 'KiB', 'MiB', 'GiB', 'TiB')[unit]}" if size < 1000 else f"{size:,.0f} TiB"
