"""A sender that wants its own answer gets it, and only once its events are on disk."""

from __future__ import annotations

import base64
import gzip
import json
import time
from pathlib import Path
from typing import Any

from aiohttp import ClientSession

from tests.opened import opened

SOURCE = {"name": "audit", "provider": "audit-service", "token": "audit-token"}


def event(number: int) -> dict[str, Any]:
    return {
        "initiatorsystemcode": "CRM_WEB",
        "eventtype": "LOGIN_SUCCESSFUL",
        "requestorid": f"user{number}",
        "requestorip": "203.0.113.45",
        "timestamp": str(1_768_391_201_000 + number),
    }


def delivery(*records: bytes) -> bytes:
    """A request of Firehose's with these records."""
    data = [{"data": base64.b64encode(record).decode()} for record in records]
    return json.dumps({"requestId": "r-1", "timestamp": 1_768_391_999_000, "records": data}).encode()


async def test_firehose_is_told_what_it_waits_for_and_its_records_are_stored_once(tmp_path: Path) -> None:
    begun = int(time.time() * 1000)
    async with opened(tmp_path, sources=[SOURCE]) as service, ClientSession(service.service.url) as firehose:
        both = json.dumps(event(1)).encode() + json.dumps(event(2)).encode()
        for body in (delivery(both), delivery(json.dumps(event(2)).encode(), json.dumps(event(1)).encode())):
            headers = {
                "X-Amz-Firehose-Access-Key": "audit-token",
                "Content-Type": "application/json",
                "Content-Encoding": "gzip",
            }
            async with firehose.post("/ingest/audit", data=gzip.compress(body), headers=headers) as response:
                told = await response.json()
                assert (response.status, response.content_type) == (200, "application/json")
            assert told.pop("requestId") == "r-1"
            assert begun <= told.pop("timestamp") <= time.time() * 1000
            assert told == {}
        _, found = await service.get("/events")
        assert sorted(one["authDetails"]["userId"] for one in found["events"]) == ["user1", "user2"]
        # The same event by another way
        assert (await service.post(event(1), "audit"))["duplicates"] == 1


async def test_a_wrong_access_key_is_refused(tmp_path: Path) -> None:
    async with opened(tmp_path, sources=[SOURCE]) as service, ClientSession(service.service.url) as firehose:
        headers = {"X-Amz-Firehose-Access-Key": "wrong", "Content-Type": "application/json"}
        async with firehose.post("/ingest/audit", data=delivery(b"{}"), headers=headers) as response:
            assert response.status == 401
