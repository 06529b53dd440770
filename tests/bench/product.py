"""The product as people run it: ``idp-adapter serve`` in a process of its own."""

from __future__ import annotations

import http.client
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import urlsplit

from prometheus_client.parser import text_string_to_metric_families

from adapter.folder import read_tokens, service_url
from tests.bench.processes import Memory, cpu_seconds, memory
from tests.bench.result import CannotMeasure

#: Seconds for it to start, to make everything searchable, to stop.
_PATIENCE = 120.0


@dataclass(slots=True, frozen=True)
class Product:
    """A running service."""

    url: str
    #: Its data.
    folder: Path
    #: The administrator's token, and that of the source.
    admin_token: str
    token: str
    process: int

    @property
    def ingest_url(self) -> str:
        return f"{self.url}/ingest/keycloak"

    def cpu(self) -> float:
        """CPU seconds that all its processes used so far."""
        return cpu_seconds(self.process)

    def memory(self) -> Memory:
        """What all its processes hold in memory now."""
        return memory(self.process)

    def metrics(self) -> dict[str, float]:
        """Its metrics by name, summed over their labels."""
        found: dict[str, float] = {}
        for family in text_string_to_metric_families(self.get("/metrics").decode()):
            for sample in family.samples:
                found[sample.name] = found.get(sample.name, 0.0) + sample.value
        return found

    def wait_searchable(self, patience: float = _PATIENCE) -> None:
        """Return when all that was answered is found, after ``patience`` seconds at most.

        Raises:
            CannotMeasure: it takes too long.
        """
        begin = time.monotonic()
        while time.monotonic() - begin < patience:
            # The search answers only when it has reached what was committed when it was asked, or with 503.
            with suppress(_NotReady):
                self.get("/events?limit=1")
                return
        raise CannotMeasure(f"not everything was searchable after {patience:g} s")

    def get(self, path: str) -> bytes:
        """The answer to a question that the administrator asks.

        Raises:
            CannotMeasure: it is not 200.
        """
        split = urlsplit(self.url)
        assert split.hostname is not None
        connection = http.client.HTTPConnection(split.hostname, split.port, timeout=_PATIENCE)
        try:
            connection.request("GET", path, headers={"Authorization": f"Bearer {self.admin_token}"})
            answer = connection.getresponse()
            body = answer.read()
        finally:
            connection.close()
        if answer.status == 503:
            raise _NotReady(path)
        if answer.status != 200:
            raise CannotMeasure(f"{path}: the service answered {answer.status}: {body[:500].decode(errors='replace')}")
        return body


class _NotReady(CannotMeasure):
    """503."""


@contextmanager
def open_product(folder: Path, settings: str = "", *, killed: bool = False) -> Iterator[Product]:
    """The service, with default settings beside those given (TOML), and its data in ``folder/data``. At the end it is
    stopped as by an operator, or ``killed``, with all its processes; ``folder`` stays.

    Raises:
        CannotMeasure: it does not start, or does not stop; tells what it said last.
    """
    folder.mkdir(parents=True, exist_ok=True)
    config, data, said = folder / "adapter.toml", folder / "data", folder / "serve.log"
    config.write_text(settings)
    command = [sys.executable, "-m", "adapter", "serve", "--config", str(config), "--data", str(data), "--port", "0"]
    # Installed, its modules are compiled: without their bytecode a start takes 0.5 s more.
    environment = {
        name: value
        for name, value in os.environ.items()
        if not name.startswith("IDP_ADAPTER_") and name != "PYTHONDONTWRITEBYTECODE"
    }
    with said.open("wb") as out:
        process = subprocess.Popen(
            command,
            cwd=folder,
            env=environment,
            stdin=subprocess.DEVNULL,
            stdout=out,
            stderr=out,
            start_new_session=True,
        )
        try:
            url = _wait_for_url(process, data, said)
            tokens = read_tokens(data)
            assert tokens.admin is not None
            yield Product(url, data, tokens.admin, tokens.sources["keycloak"], process.pid)
            if killed:
                return
            process.terminate()
            try:
                status = process.wait(_PATIENCE)
            except subprocess.TimeoutExpired:
                raise CannotMeasure(f"the service did not stop within {_PATIENCE:g} s; {_last(said)}") from None
            if status:
                raise CannotMeasure(f"the service ended with status {status}; {_last(said)}")
        finally:
            with suppress(ProcessLookupError):
                os.killpg(process.pid, signal.SIGKILL)
            process.wait()


def _wait_for_url(process: subprocess.Popen[bytes], data: Path, said: Path) -> str:
    begin = time.monotonic()
    while time.monotonic() - begin < _PATIENCE:
        if process.poll() is not None:
            raise CannotMeasure(f"the service did not start (status {process.returncode}); {_last(said)}")
        # What one left behind that was killed, stands there until the lock has another holder.
        if _holder(data) == process.pid and (url := service_url(data)):
            return url
        time.sleep(0.02)
    raise CannotMeasure(f"the service was not there after {_PATIENCE:g} s; {_last(said)}")


def _holder(data: Path) -> int | None:
    """The process that holds a data folder, as far as its lock tells."""
    lock = data / "lock"
    text = lock.read_text().strip() if lock.exists() else ""
    return int(text) if text else None


def _last(said: Path) -> str:
    return "it said last:\n" + said.read_text(errors="replace")[-2000:]
