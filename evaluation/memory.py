"""What a process's memory came to."""

from __future__ import annotations

import resource
from contextlib import suppress
from pathlib import Path


def forget_peak() -> None:
    """Let the peak of this process's memory start at what it is now (Linux's proc(5))."""
    with suppress(OSError):
        Path("/proc/self/clear_refs").write_text("5", encoding="ascii")


def peak_megabytes() -> float:
    """Since then; elsewhere a bound, since the start of the process."""
    return _status("VmHWM:")


def resident_megabytes() -> float:
    """What is in memory now; elsewhere the peak."""
    return _status("VmRSS:")


def _status(field: str) -> float:
    try:
        status = Path("/proc/self/status").read_text(encoding="ascii")
        return int(status.partition(field)[2].split()[0]) / 1024
    except (OSError, IndexError, ValueError):
        return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
