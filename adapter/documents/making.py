"""The service's side: hands what stands in a document to the process that writes it, and gives what comes back."""

from __future__ import annotations

import asyncio
from asyncio.subprocess import PIPE, Process
from collections.abc import AsyncGenerator, AsyncIterable, Mapping
from contextlib import suppress
from typing import Any

import orjson

from adapter.documents.kinds import Kind
from adapter.documents.process import LENGTH
from adapter.subprocesses import command, environment

#: Bytes that are read of a document at once.
_PIECE = 64 * 1024


class DocumentFailed(Exception):
    """The process that wrote a document ended before it was whole; the service's log has what it said."""


async def make_document(
    kind: Kind, head: Mapping[str, Any], stretches: AsyncIterable[bytes]
) -> AsyncGenerator[bytes, None]:
    """A document, piece by piece, as fast as it is taken; ``head``: what it says of itself, ``stretches``: what stands
    in it. To be closed by who does not take all of it: that ends the process.

    Raises:
        DocumentFailed: it did not become whole.
        Exception: as ``stretches`` do.
    """
    process = await asyncio.create_subprocess_exec(
        *command("adapter.documents.process", kind.name), stdin=PIPE, stdout=PIPE, env=environment()
    )
    feeding = asyncio.create_task(_feed(process, head, stretches))
    try:
        assert process.stdout is not None
        while piece := await process.stdout.read(_PIECE):
            yield piece
        # What went wrong with the events says more than that the process had no more of them.
        await feeding
        if await process.wait():
            raise DocumentFailed(kind.name)
    finally:
        feeding.cancel()
        if process.returncode is None:
            with suppress(ProcessLookupError):
                process.kill()
        with suppress(asyncio.CancelledError, Exception):
            await feeding
        await process.wait()


async def _feed(process: Process, head: Mapping[str, Any], stretches: AsyncIterable[bytes]) -> None:
    assert process.stdin is not None
    try:
        with suppress(ConnectionError):  # it has ended: its exit code says how
            await _give(process.stdin, orjson.dumps(head))
            async for stretch in stretches:
                if stretch:
                    await _give(process.stdin, stretch)
            process.stdin.write(bytes(LENGTH))
            await process.stdin.drain()
    finally:
        # Without the end before it, the document does not become whole.
        process.stdin.close()


async def _give(stdin: asyncio.StreamWriter, data: bytes) -> None:
    stdin.write(len(data).to_bytes(LENGTH) + data)
    await stdin.drain()
