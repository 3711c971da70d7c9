"""Commands in processes of their own, for their time and their peak memory."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from collections.abc import Sequence
from pathlib import Path


def run(words: Sequence[str | Path], folder: Path | None = None) -> tuple[float, float, str]:
    """Seconds, peak resident megabytes and output of a command; ends this one where it fails."""
    started = time.perf_counter()
    with subprocess.Popen(words, cwd=folder, stdout=subprocess.PIPE, text=True) as child:
        assert child.stdout is not None
        output = child.stdout.read()
        _, status, usage = os.wait4(child.pid, 0)
        child.returncode = os.waitstatus_to_exitcode(status)
    if child.returncode:
        sys.exit(f"{' '.join(map(str, words))} failed")
    return time.perf_counter() - started, usage.ru_maxrss / 1024, output
