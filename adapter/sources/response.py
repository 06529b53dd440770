"""The answer to posted events. On a connection that stays open it is written in one piece, which costs much less than
what aiohttp does for an answer of any kind."""

from __future__ import annotations

from typing import Any

import orjson
from aiohttp import HttpVersion11, hdrs, web
from aiohttp.abc import AbstractStreamWriter
from aiohttp.helpers import rfc822_formatted_time

from adapter.mapping.body import JSON

_HEAD = "HTTP/1.1 202 Accepted\r\nContent-Type: application/json\r\nContent-Length: %d\r\nDate: %s\r\n\r\n"


class IngestResponse(web.Response):
    """202 with what became of the events, as JSON."""

    def __init__(self, summary: dict[str, Any]) -> None:
        super().__init__(status=202, body=orjson.dumps(summary))

    async def prepare(self, request: web.BaseRequest) -> AbstractStreamWriter | None:
        transport, body = request.transport, self.body
        assert isinstance(body, bytes)
        lasts = request.keep_alive and self.keep_alive is not False and request.version == HttpVersion11
        if not lasts or transport is None or transport.is_closing():
            self.headers.update({hdrs.CONTENT_TYPE: JSON, hdrs.SERVER: ""})
            return await super().prepare(request)
        transport.write((_HEAD % (len(body), rfc822_formatted_time())).encode() + body)
        await request.writer.drain()
        self._keep_alive = self._eof_sent = True
        return None
