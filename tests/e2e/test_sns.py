"""Subscriptions of Amazon SNS, through a real service. Amazon is a receiver with a certificate for its name, to which a
proxy leads."""

from __future__ import annotations

import base64
import json
import ssl
from collections.abc import AsyncIterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest
import pytest_asyncio
from aiohttp import ClientSession, web

from tests.mapping.forwarded import WRAPPED
from tests.opened import Opened, login, opened
from tests.outgoing.certificates import Authority
from tests.outgoing.proxy import ForwardProxy

pytestmark = pytest.mark.asyncio(loop_scope="module")

HOST = "sns.eu-central-1.amazonaws.com"
TOPIC = "arn:aws:sns:eu-central-1:111122223333:idp-events"
OTHER = "arn:aws:sns:eu-central-1:999999999999:idp-events"
TOKEN = "2336412f37fb687f5d51e6e2425c464c"


@dataclass
class Amazon:
    """What answers for SNS."""

    port: int = 0
    status: int = 200
    asked: list[tuple[str, dict[str, str]]] = field(default_factory=list)

    async def answer(self, request: web.Request) -> web.Response:
        self.asked.append((request.headers["Host"], dict(request.query)))
        return web.Response(status=self.status, text="<ConfirmSubscriptionResponse/>")


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def amazon(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[tuple[Amazon, Authority]]:
    authority, it = Authority(tmp_path_factory.mktemp("tls")), Amazon()
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(*authority.sign(HOST))
    app = web.Application()
    app.router.add_get("/", it.answer)
    runner = web.AppRunner(app)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 0, ssl_context=context).start()
    it.port = runner.addresses[0][1]
    yield it, authority
    await runner.cleanup()


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def service(tmp_path_factory: pytest.TempPathFactory, amazon: tuple[Amazon, Authority]) -> AsyncIterator[Opened]:
    it, authority = amazon
    async with ForwardProxy({HOST: "127.0.0.1"}, port=it.port) as proxy:
        sources = [
            {"name": "keycloak", "provider": "keycloak", "token": "s3cret-token", "sns_topics": [TOPIC]},
            {"name": "bare", "provider": "keycloak", "token": "other-token"},
        ]
        outgoing = {"ca_file": str(authority.file), "proxy": proxy.url, "allow": ["127.0.0.0/8"]}
        folder: Path = tmp_path_factory.mktemp("data")
        async with opened(folder, sources=sources, outgoing=outgoing) as service:
            yield service


def message(topic: str = TOPIC, kind: str = "SubscriptionConfirmation", **changes: Any) -> dict[str, Any]:
    return {
        "Type": kind,
        "MessageId": "165545c9-2a5c-472c-8df2-7ff2be2b3b1b",
        "Token": TOKEN,
        "TopicArn": topic,
        "Message": "You have chosen to subscribe to the topic.",
        "SubscribeURL": "https://evil.example.org/?Action=ConfirmSubscription",
        "Timestamp": "2026-01-14T09:04:57.000Z",
        "SignatureVersion": "1",
        "Signature": "c2lnbmF0dXJl",
        **changes,
    }


async def send(
    service: Opened, body: dict[str, Any], source: str = "keycloak", password: str | None = "s3cret-token"
) -> tuple[int, Any]:
    headers = {"x-amz-sns-message-type": body["Type"], "Content-Type": "text/plain; charset=UTF-8"}
    if password is not None:
        headers["Authorization"] = f"Basic {base64.b64encode(f'sns:{password}'.encode()).decode()}"
    async with (
        ClientSession(service.service.url) as session,
        session.post(f"/ingest/{source}", data=json.dumps(body), headers=headers) as response,
    ):
        if response.status == 401:
            assert response.headers["WWW-Authenticate"].startswith("Basic realm=")
        return response.status, await response.json(content_type=None)


async def ignored(service: Opened, source: str = "keycloak") -> dict[str, tuple[int, str]]:
    _, page = await service.get("/ignored", source=source, raw="1")
    return {one["what"]: (one["count"], one["samples"][-1]["raw"]) for one in page["groups"]}


async def test_a_subscription_to_a_named_topic_is_confirmed_at_amazon_and_nowhere_else(
    service: Opened, amazon: tuple[Amazon, Authority]
) -> None:
    it, _ = amazon
    it.asked.clear()
    status, answer = await send(service, message())
    assert (status, answer["ignored"], answer["quarantined"]) == (202, 1, 0)
    wanted = {"Action": "ConfirmSubscription", "TopicArn": TOPIC, "Token": TOKEN}
    assert it.asked == [(HOST, wanted)]
    assert (await ignored(service))["SNS: a subscription was confirmed"] == (1, TOPIC)


@pytest.mark.parametrize(("source", "password", "topic"), [
    ("keycloak", "s3cret-token", OTHER), ("bare", "other-token", TOPIC),
])  # fmt: skip
async def test_a_topic_that_is_not_named_is_never_confirmed(
    service: Opened, amazon: tuple[Amazon, Authority], source: str, password: str, topic: str
) -> None:
    it, _ = amazon
    it.asked.clear()
    status, answer = await send(service, message(topic), source, password)
    assert (status, answer["ignored"], it.asked) == (202, 1, [])
    assert (await ignored(service, source))["SNS: a topic that sns_topics does not name"] == (1, topic)


async def test_nothing_is_confirmed_without_the_credentials_of_the_source(
    service: Opened, amazon: tuple[Amazon, Authority]
) -> None:
    it, _ = amazon
    it.asked.clear()
    for password in (None, "other-token"):
        assert (await send(service, message(), password=password))[0] == 401
    assert it.asked == []


async def test_the_end_of_a_subscription_is_told_and_not_undone(
    service: Opened, amazon: tuple[Amazon, Authority]
) -> None:
    it, _ = amazon
    it.asked.clear()
    status, answer = await send(service, message(kind="UnsubscribeConfirmation"))
    assert (status, answer["ignored"], it.asked) == (202, 1, [])
    assert (await ignored(service))["SNS: a subscription was ended"] == (1, TOPIC)


async def test_sns_sends_again_what_could_not_be_confirmed_and_not_what_was_refused(
    service: Opened, amazon: tuple[Amazon, Authority]
) -> None:
    it, _ = amazon
    try:
        it.status = 500
        assert (await send(service, message()))[0] == 503
        it.status = 400
        assert (await send(service, message()))[0] == 202
    finally:
        it.status = 200
    assert "SNS: a confirmation that Amazon refused" in await ignored(service)


@pytest.mark.parametrize("change", [
    {"Token": "a&TopicArn=b"}, {"Token": 1},
    {"TopicArn": "arn:aws:sns:eu.evil.org/:111122223333:x"}, {"TopicArn": None},
])  # fmt: skip
async def test_what_is_no_such_message_is_quarantined(
    service: Opened, amazon: tuple[Amazon, Authority], change: dict[str, Any]
) -> None:
    it, _ = amazon
    it.asked.clear()
    status, answer = await send(service, message(**change))
    # Without their tokens, which are taken out, two of them are the same.
    assert (status, answer["quarantined"] + answer["duplicates"], it.asked) == (202, 1, [])


async def test_notifications_are_read(service: Opened) -> None:
    body = json.loads(WRAPPED["sns"](json.dumps(login(1)))[0])
    status, answer = await send(service, body)
    assert (status, answer["accepted"]) == (202, 1)
    _, shown = await service.get(f"/events/{answer['uids'][0]}", raw="1")
    (level,) = shown["envelope"]
    assert (level["forwarder"], level["members"]["TopicArn"]) == ("sns", body["TopicArn"])
