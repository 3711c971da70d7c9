"""Servers of a test's own, on 127.0.0.1."""

import os
import socket
import subprocess
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import psutil


def free_port() -> int:
    """A port where nobody listens."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        return int(listener.getsockname()[1])


@contextmanager
def running(
    command: list[str], log: Path, answers: Callable[[], object]
) -> Iterator[subprocess.Popen[bytes]]:
    """A server's process, once ``answers`` raises no ``OSError``; killed at the end."""
    with log.open("ab") as output:
        process = subprocess.Popen(command, stdout=output, stderr=output)
    try:
        for _ in range(600):
            try:
                answers()
                break
            except OSError:
                assert process.poll() is None, log.read_text()
                time.sleep(0.05)
        else:
            raise AssertionError(log.read_text())
        yield process
    finally:
        process.kill()
        process.wait()


@contextmanager
def halted(*pids: int) -> Iterator[None]:
    """Processes that do nothing: a signal takes its time to arrive, and a busy server to stop."""
    processes = [psutil.Process(pid) for pid in pids]
    for process in processes:
        process.suspend()
    still = (psutil.STATUS_STOPPED, psutil.STATUS_ZOMBIE)
    while any(process.status() not in still for process in processes):
        os.sched_yield()
    try:
        yield
    finally:
        for process in processes:
            process.resume()
