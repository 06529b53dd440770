"""A PostgreSQL server of the tests' own: made fresh, on a loopback port, in a folder that goes with it."""

from __future__ import annotations

import os
import shutil
import signal
import socket
import subprocess
import tempfile
import time
import uuid
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager
from pathlib import Path

import asyncpg

#: Seconds for it to start, and for its processes to end.
_PATIENCE = 60.0
PASSWORD = "s3cret#word"


def find_programs() -> Path | None:
    """The folder with ``initdb`` and ``postgres``: found by the search path, or where Debian puts them."""
    found = shutil.which("initdb")
    if found is not None and (Path(found).resolve().parent / "postgres").exists():
        return Path(found).resolve().parent
    folders = [file.parent for file in Path("/usr/lib/postgresql").glob("*/bin/initdb")]
    return max(folders, key=lambda folder: int(folder.parent.name), default=None)


class Server:
    """A server; stopped until `start`."""

    def __init__(self, programs: Path, folder: Path) -> None:
        self._programs = programs
        self._folder = folder
        self._process: subprocess.Popen[bytes] | None = None
        with socket.create_server(("127.0.0.1", 0)) as free:
            self.port: int = free.getsockname()[1]

    def url(self, database: str) -> str:
        """How to get at a database of it."""
        return f"postgresql://adapter:{PASSWORD.replace('#', '%23')}@127.0.0.1:{self.port}/{database}"

    @asynccontextmanager
    async def database(self) -> AsyncIterator[str]:
        """The address of an empty database, which goes with the context."""
        name = f"test_{uuid.uuid4().hex}"
        connection = await asyncpg.connect(self.url("postgres"))
        try:
            await connection.execute(f"CREATE DATABASE {name}")
            yield self.url(name)
            await connection.execute(f"DROP DATABASE {name} WITH (FORCE)")
        finally:
            connection.terminate()

    def make(self) -> None:
        """Make its data."""
        password = self._folder / "password"
        password.write_text(PASSWORD)
        if os.geteuid() == 0:
            shutil.chown(self._folder, "postgres", "postgres")
            shutil.chown(password, "postgres", "postgres")
        command = ["--auth=scram-sha-256", "--username=adapter", f"--pwfile={password}", "--encoding=UTF8", "--no-sync"]
        subprocess.run(
            [
                *_as_user(),
                str(self._programs / "initdb"),
                "-D",
                str(self._folder / "data"),
                "--locale=C.UTF-8",
                *command,
            ],
            check=True,
            capture_output=True,
            cwd=self._folder,
        )

    def allow(self, network: str) -> None:
        """Let the connections of a network (CIDR) in, from the next start on."""
        with (self._folder / "data" / "pg_hba.conf").open("a") as rules:
            rules.write(f"host all all {network} scram-sha-256\n")

    def start(self, **settings: str) -> None:
        """Start it, and return when it takes connections."""
        given = {"listen_addresses": "127.0.0.1", "max_connections": "200", "shared_buffers": "64MB", **settings}
        options = [part for name, value in given.items() for part in ("-c", f"{name}={value}")]
        command = [
            str(self._programs / "postgres"),
            "-D",
            str(self._folder / "data"),
            "-k",
            str(self._folder),
            "-p",
            str(self.port),
        ]
        until = time.monotonic() + _PATIENCE
        while True:
            with (self._folder / "log").open("ab") as out:
                self._process = subprocess.Popen(
                    [*_as_user(), *command, *options], stdout=out, stderr=out, cwd=self._folder, start_new_session=True
                )
            while self._process.poll() is None:
                if self._is_ready():
                    return
                time.sleep(0.02)
            # Processes of one that was killed may still end.
            if time.monotonic() > until:
                raise AssertionError((self._folder / "log").read_text()[-2000:])
            time.sleep(0.1)

    def kill(self) -> None:
        """End it at once, as a lost machine would."""
        self._end(signal.SIGKILL)

    def stop(self) -> None:
        """Stop it in order, which ends connections."""
        self._end(signal.SIGINT)

    def send(self, number: signal.Signals) -> None:
        """Send its first process a signal."""
        assert self._process is not None
        self._process.send_signal(number)

    def _end(self, number: signal.Signals) -> None:
        if self._process is not None:
            self._process.send_signal(number)
            self._process.wait(_PATIENCE)
            self._process = None

    def _is_ready(self) -> bool:
        command = [str(self._programs / "pg_isready"), "-q", "-h", "127.0.0.1", "-p", str(self.port)]
        return subprocess.run(command, check=False).returncode == 0


def _as_user() -> list[str]:
    """PostgreSQL refuses to run as root."""
    if os.geteuid() != 0:
        return []
    return ["setpriv", "--reuid=postgres", "--regid=postgres", "--init-groups", "--"]


@contextmanager
def open_server(place: Path | None = None) -> Iterator[Server]:
    """A server that runs while the context lasts, in a folder of its own below ``place``, which others may enter."""
    programs = find_programs()
    assert programs is not None
    if place is not None:
        for parent in (place, *place.parents):
            if parent != Path(tempfile.gettempdir()) and parent.is_relative_to(tempfile.gettempdir()):
                parent.chmod(0o755)
    # Not below pytest's folders, which no other user may enter.
    folder = Path(tempfile.mkdtemp(prefix="postgresql-", dir=place))
    server = Server(programs, folder)
    try:
        server.make()
        server.start()
        yield server
    finally:
        server.kill()
        shutil.rmtree(folder, ignore_errors=True)
