"""What forwarders really send of each provider, through a real service: `forwarded/examples/PROVIDER.yaml`, in the form
of a table's examples. Of the details only what the forwarding decides is expected; the rest is for the tables' own
examples."""

from __future__ import annotations

import hashlib
import json
from base64 import b64encode
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest
import pytest_asyncio
from aiohttp import ClientSession
from joserfc import jwt
from joserfc.jwk import OctKey

from adapter.workbench.examples import Placed, expected_form, read_examples
from tests.mapping.built_in import PROVIDERS
from tests.opened import Opened, opened

pytestmark = pytest.mark.asyncio(loop_scope="module")

CORPORA = list(read_examples(Path(__file__).parent / "forwarded"))
SIGNED = "a-secret-of-at-least-thirty-two-bytes"


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def service(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Opened]:
    sources = [
        *({"name": provider, "provider": provider} for provider in PROVIDERS),
        {"name": "signed", "provider": "fusionauth", "token": SIGNED},
    ]
    async with opened(tmp_path_factory.mktemp("data"), sources=sources) as service:
        yield service


def name_of(placed: Placed) -> str:
    return f"{placed.file.stem}: {placed.example.name}"


@pytest.mark.parametrize("placed", CORPORA, ids=name_of)
async def test_a_forwarded_body_becomes_its_events(service: Opened, placed: Placed) -> None:
    example, source = placed.example, placed.file.stem
    headers = {"Content-Type": example.media}
    async with service.session.post(f"/ingest/{source}", data=example.body, headers=headers) as response:
        # Firehose wants a 200 and an answer of its own.
        assert response.status in (200, 202), await response.text()
        receipts = await response.json()
    expected = [one for one in example.expect if "ignored" not in one]
    if response.status == 202:
        counts = [receipts[name] for name in ("accepted", "duplicates", "quarantined", "ignored")]
        assert counts == [len(expected), 0, 0, len(example.expect) - len(expected)]
        found = [(await service.get(f"/events/{uid}"))[1] for uid in receipts["uids"] if uid is not None]
    else:
        _, page = await service.get("/events", order="log", source=source, limit="1000")
        found = page["events"][-len(expected) :]
    assert [forwarded_form(event) for event in found] == expected


def forwarded_form(event: dict[str, Any]) -> dict[str, Any]:
    decided = {name: value for name, value in event["details"].items() if name in ("time_source", "time_problem")}
    return {**expected_form(event), "details": decided}


async def test_every_provider_has_a_corpus() -> None:
    assert {placed.file.stem for placed in CORPORA} == set(PROVIDERS)


async def test_fusionauth_signs_a_body_and_no_other(service: Opened) -> None:
    body = json.dumps(
        {"event": {"type": "user.login.success", "id": "e-1", "createInstant": 1_768_381_200_000}}
    ).encode()
    claims = {"request_body_sha256": b64encode(hashlib.sha256(body).digest()).decode()}
    token = jwt.encode({"alg": "HS256"}, claims, OctKey.import_key(SIGNED))
    headers = {"Content-Type": "application/json", "X-FusionAuth-Signature-JWT": token}
    async with ClientSession(service.service.url) as session:
        for sent, status in ((body, 202), (body.replace(b"success", b"failed"), 401)):
            async with session.post("/ingest/signed", data=sent, headers=headers) as response:
                assert response.status == status, await response.text()
