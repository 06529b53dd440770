"""What python-keycloak sends goes through the one client of the service: guarded, with its authorities and its proxy,
with a deadline and bounded answers."""

from __future__ import annotations

import httpx
from yarl import URL

from adapter.errors import NoReply
from adapter.outgoing.client import Client

#: Headers that the client makes itself, or that are about one connection.
_NOT_PASSED = frozenset({"host", "connection", "content-length", "transfer-encoding", "accept-encoding", "user-agent"})


class ClientTransport(httpx.AsyncBaseTransport):
    """Makes httpx's requests with our client."""

    def __init__(self, client: Client) -> None:
        self._client = client

    async def handle_async_request(self, request: httpx.Request) -> httpx.Response:
        """
        Raises:
            httpx.ConnectError: no answer came, or not the whole; its cause is the `NoReply`.
        """
        headers = {name: value for name, value in request.headers.items() if name.lower() not in _NOT_PASSED}
        body = await request.aread() or None
        try:
            url = URL(str(request.url), encoded=True)
            reply = await self._client.request(request.method, url, headers=headers, body=body)
        except NoReply as error:
            raise httpx.ConnectError(str(error), request=request) from error
        given = [
            (name, value)
            for name, value in reply.headers.items()
            if name.lower() not in ("content-length", "transfer-encoding", "content-encoding")
        ]
        return httpx.Response(reply.status, headers=given, content=reply.body, request=request)
