"""The command line as somebody runs it on another machine: nothing of the service but its address and a token."""

from __future__ import annotations

import asyncio
import os
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from ssl import SSLContext

from typer.testing import CliRunner

from adapter.__main__ import make_app

PREFIX = "IDP_ADAPTER_"


@dataclass(frozen=True)
class Said:
    """How a command ended, and what it wrote."""

    status: int
    output: str
    error: str


@dataclass
class Machine:
    """A user's place on a machine: a configuration folder, and an environment."""

    home: Path
    environment: dict[str, str] = field(default_factory=dict)

    @property
    def logins(self) -> Path:
        return self.home / "idp-adapter" / "logins.json"

    async def run(self, *words: str | Path, input: str | None = None, **environment: str) -> Said:
        """Run a command in this process; ``environment`` without the prefix."""
        named = {f"{PREFIX}{name}": value for name, value in environment.items()}
        others = dict.fromkeys(name for name in os.environ if name.startswith(PREFIX))
        given = {**others, "XDG_CONFIG_HOME": str(self.home), "COLUMNS": "200", **named}
        app = make_app(str(words[0]) if words else None)
        done = await asyncio.to_thread(CliRunner().invoke, app, [*map(str, words)], input=input, env=given)
        if done.exception is not None and not isinstance(done.exception, SystemExit):
            raise done.exception
        return Said(done.exit_code, done.stdout, done.stderr)


@asynccontextmanager
async def behind_tls(port: int, context: SSLContext) -> AsyncIterator[int]:
    """A port on which TLS is spoken for the one given, as a proxy in front of the service does."""

    async def carry(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            while data := await reader.read(65536):
                writer.write(data)
                await writer.drain()
        except OSError:
            pass
        finally:
            writer.close()

    async def connected(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        inner_reader, inner_writer = await asyncio.open_connection("127.0.0.1", port)
        await asyncio.gather(carry(reader, inner_writer), carry(inner_reader, writer))

    server = await asyncio.start_server(connected, "127.0.0.1", 0, ssl=context)
    async with server:
        yield server.sockets[0].getsockname()[1]
