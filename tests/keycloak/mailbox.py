"""A mail server for the links that Keycloak sends."""

from __future__ import annotations

import asyncio
import email
import email.policy
import re
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager


class Mailbox:
    """What came in mails."""

    def __init__(self) -> None:
        self.port = 0
        self._links: asyncio.Queue[str] = asyncio.Queue()

    async def link(self) -> str:
        """The next link to an action."""
        async with asyncio.timeout(60):
            return await self._links.get()

    async def _receive(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(b"220 mailbox\r\n")
        while words := (await reader.readline()).split():
            match words[0].upper():
                case b"DATA":
                    writer.write(b"354 go on\r\n")
                    mail = await reader.readuntil(b"\r\n.\r\n")
                    writer.write(b"250 kept\r\n")
                    text = email.message_from_bytes(mail, policy=email.policy.default).get_body(("plain",))
                    assert text is not None
                    # Others only tell that something has happened.
                    for link in re.findall(r"https?://\S+/action-token\S+", text.get_content()):
                        self._links.put_nowait(link)
                case b"QUIT":
                    writer.write(b"221 bye\r\n")
                    break
                case _:
                    writer.write(b"250 well\r\n")
        writer.close()


@asynccontextmanager
async def mailbox() -> AsyncIterator[Mailbox]:
    """A mailbox that takes mails for everybody on a loopback port."""
    box = Mailbox()
    server = await asyncio.start_server(box._receive, "127.0.0.1", 0)
    async with server:
        box.port = server.sockets[0].getsockname()[1]
        yield box
