"""A real redis-server for the tests of stores."""

import secrets
import shutil
import socket
import subprocess
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import suppress
from pathlib import Path
from urllib.parse import quote_plus, urlencode

import pytest
from redis import Redis
from redis.backoff import NoBackoff
from redis.exceptions import ConnectionError as NotConnected
from redis.retry import Retry
from servers import free_port


def need(binary: str) -> str:
    """The path of a program; without it a test is skipped."""
    path = shutil.which(binary)
    if path is None:
        pytest.skip(f"the program {binary} is not installed")
    return path


class RedisProcess:
    """A redis-server on 127.0.0.1 and on a Unix socket, in a folder of its own, saving nothing."""

    def __init__(self, *arguments: str) -> None:
        self.binary = need("redis-server")
        # Not pytest's folder, whose path may be too long for a socket.
        self.folder = Path(tempfile.mkdtemp(prefix="itemspace-redis-"))
        self.socket, self.port, self.arguments = self.folder / "socket", free_port(), arguments
        try:
            self.start()
        except BaseException:
            self.close()
            raise

    def start(self) -> None:
        command = [self.binary, "--bind", "127.0.0.1", "--port", str(self.port)]
        command += ["--unixsocket", str(self.socket), "--dir", str(self.folder)]
        command += ["--save", "", "--appendonly", "no", *self.arguments]
        with (self.folder / "log").open("ab") as log:
            self.process = subprocess.Popen(command, stdout=log, stderr=log)
        for _ in range(500):
            with suppress(OSError), socket.socket(socket.AF_UNIX) as probe:
                probe.connect(str(self.socket))
                return
            assert self.process.poll() is None, (self.folder / "log").read_text()
            time.sleep(0.02)
        raise AssertionError((self.folder / "log").read_text())

    def stop(self, *, save: bool = False) -> None:
        """End the server; with ``save`` its next start finds what is in it now."""
        if save:
            with self.client() as client, suppress(NotConnected):
                client.shutdown(save=True)
        self.process.kill()  # which ends one that a test has halted, too
        self.process.wait()
        self.socket.unlink(missing_ok=True)

    def close(self) -> None:
        self.stop()
        shutil.rmtree(self.folder)

    def client(self) -> Redis:
        return Redis(unix_socket_path=str(self.socket), retry=Retry(NoBackoff(), 0))

    def unix(self, prefix: str | None = None, **parameters: object) -> str:
        return f"unix://{self.socket}{_query(prefix, parameters)}"

    def tcp(self, prefix: str | None = None, login: str = "", **parameters: object) -> str:
        return f"redis://{login}127.0.0.1:{self.port}/0{_query(prefix, parameters)}"

    def keys(self) -> set[bytes]:
        with self.client() as client:
            return set(client.keys())


def _query(prefix: str | None, parameters: dict[str, object]) -> str:
    named = {"prefix": prefix or secrets.token_hex(6), **parameters}
    return "?" + urlencode(named, quote_via=quote_plus)


@pytest.fixture(scope="session")
def redis_server() -> Iterator[RedisProcess]:
    """One that tests share: each has prefixes of its own."""
    server = RedisProcess()
    yield server
    server.close()


@pytest.fixture
def start_redis() -> Iterator[Callable[..., RedisProcess]]:
    """Starts servers of the test's own, with further arguments."""
    started: list[RedisProcess] = []

    def start(*arguments: str) -> RedisProcess:
        started.append(RedisProcess(*arguments))
        return started[-1]

    yield start
    for server in started:
        server.close()


@pytest.fixture
def port() -> int:
    """A port of 127.0.0.1 where nobody listens."""
    return free_port()


@pytest.fixture(scope="session")
def certificate(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    """A certificate of 127.0.0.1 that nobody trusts, and its key."""
    folder = tmp_path_factory.mktemp("certificate")
    certificate, key = folder / "certificate.pem", folder / "key.pem"
    command = [need("openssl"), "req", "-x509", "-newkey", "rsa:2048", "-nodes"]
    command += ["-days", "2", "-subj", "/CN=itemspace", "-addext", "subjectAltName=IP:127.0.0.1"]
    command += ["-out", str(certificate), "-keyout", str(key)]
    subprocess.run(command, check=True, capture_output=True)
    return certificate, key
