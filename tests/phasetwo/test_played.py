"""The recorded contracts, played against a real service with real tokens, which delivers to a real receiver."""

from __future__ import annotations

import json
import re
from collections.abc import AsyncIterator, Mapping
from typing import Any

import pytest
import pytest_asyncio

from tests.api.test_openapi import problems
from tests.e2e.process import until
from tests.phasetwo.stand import SECRET, Stand, stand
from tests.phasetwo.test_contracts import CONTRACTS, CONVERSATIONS

pytestmark = pytest.mark.asyncio(loop_scope="module")

PLAYS = [(base, number) for number in range(len(CONVERSATIONS)) for base in range(len(CONTRACTS["bases"]))]
#: Each play has a realm of its own.
REALMS = {play: f"realm-{number}-{base}" for play in PLAYS for base, number in [play]}


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def played(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Stand]:
    async with stand(tmp_path_factory.mktemp("played"), list(REALMS.values())) as one:
        yield one


@pytest.mark.parametrize("play", PLAYS, ids=[f"{CONVERSATIONS[n]['name']} below base {b}" for b, n in PLAYS])
async def test_a_conversation_goes_as_recorded(played: Stand, play: tuple[int, int]) -> None:
    base, number = play
    known = {"realm": REALMS[play]}
    conversation = CONVERSATIONS[number]
    if conversation["given"] == "sends":
        known |= await given_sends(played, known["realm"])
    for step in conversation["steps"]:
        await take_step(played, CONTRACTS["bases"][base], step, known)


async def given_sends(played: Stand, realm: str) -> dict[str, str]:
    """A realm with one webhook, to which a user event and an admin event were sent."""
    path = f"/{realm}"
    webhook = await played.webhook(path, realm=realm, secret=SECRET)
    user, admin = await played.log_in(realm), await played.make_user(realm)
    await played.log_in(f"{realm}-other")
    sent = await played.hook.has(path, 2)
    assert sorted(one.event["id"] for one in sent) == sorted([user["id"], admin["id"]])
    assert all(one.is_signed() for one in sent)
    await until(lambda: are_told(played, realm, webhook, 2))
    return {"webhook": webhook, "user_event": user["id"], "admin_event": admin["id"], "send": sent[0].event["uid"]}


async def are_told(played: Stand, realm: str, webhook: str, count: int) -> bool:
    """Whether so many sends are shown: that is stored a moment after they were answered."""
    return len(await played.manage("GET", f"/webhooks/{webhook}/sends", realm=realm)) == count


async def take_step(played: Stand, base: str, step: dict[str, Any], known: dict[str, str]) -> None:
    method, _, path = filled(step["call"], known).partition(" ")
    role, realm = step["as"], known["realm"]
    roles = () if role in ("anybody", "nobody") else (role,)
    token = None if role == "anybody" else played.token(realm, *roles)
    path = filled(base, known) + path
    status, headers, answer = await played.ask(
        method, path, step.get("body"), token=token, headers=step.get("headers"), query=step.get("query")
    )
    assert status == step["status"], (step, answer)
    assert await undescribed(played, method, path, status, headers, answer) == [], step
    if "location" in step:
        known |= kept(step["location"], headers["Location"], known)
    if "answer" in step:
        assert misfits(step["answer"], answer, known) == [], step
    for name, place in step.get("keep", {}).items():
        value = answer
        for part in place.split("."):
            value = value[int(part)] if part.isdigit() else value[part]
        known[name] = value


async def undescribed(
    played: Stand, method: str, path: str, status: int, headers: Mapping[str, str], answer: Any
) -> list[str]:
    """What of an answer is not as ``/openapi.json`` says."""
    _, document = await played.service.get("/openapi.json")
    fits = [route for route in document["paths"] if re.fullmatch(re.sub(r"\{\w+\}", "[^/]+", route), path)]
    page = document["paths"][min(fits, key=lambda route: route.count("{"))][method.lower()]
    described = page["responses"][str(status)]
    if answer is None:
        return []
    content = described["content"]
    return problems(document, content, headers["Content-Type"].partition(";")[0], json.dumps(answer))


def filled(text: str, known: dict[str, str]) -> str:
    return re.sub(r"\{(\w+)\}", lambda found: known[found[1]], text)


def kept(pattern: str, location: str, known: dict[str, str]) -> dict[str, str]:
    """What stands in a Location for the names that are not known yet."""
    parts = re.split(r"\{(\w+)\}", pattern)
    written = "".join(
        re.escape(part) if number % 2 == 0 else re.escape(known[part]) if part in known else f"(?P<{part}>[^/]+)"
        for number, part in enumerate(parts)
    )
    found = re.search(f"{written}$", location)
    assert found is not None, (pattern, location)
    return found.groupdict()


def misfits(shape: Any, value: Any, known: dict[str, str], place: str = "answer") -> list[str]:
    """Where a value is not of a shape."""
    match shape:
        case "empty":
            return [] if value is None else [f"{place}: is there"]
        case "text" | "number" | "boolean":
            types = {"text": str, "number": int, "boolean": bool}
            fits = isinstance(value, types[shape]) and (shape == "boolean" or not isinstance(value, bool))
            return [] if fits else [f"{place}: {value!r} is no {shape}"]
        case "object":
            fits = isinstance(value, dict) and all(isinstance(one, str) for one in value.values())
            return [] if fits else [f"{place}: {value!r} is no object of texts"]
        case str():
            return misfits(CONTRACTS["shapes"][shape], value, known, place)
        case {"is": wanted}:
            wanted = filled(wanted, known) if isinstance(wanted, str) else wanted
            return [] if value == wanted else [f"{place}: {value!r} is not {wanted!r}"]
        case {"list": inner}:
            if not isinstance(value, list) or not value:
                return [f"{place}: {value!r} is no list with something in it"]
            return [
                one for number, each in enumerate(value) for one in misfits(inner, each, known, f"{place}.{number}")
            ]
    if not isinstance(value, dict):
        return [f"{place}: {value!r} is no object"]
    found = [f"{place}.{name}: is there" for name in shape.get("never", []) if name in value]
    for name, inner in shape.items():
        member = name.removesuffix("?")
        if name == "never" or (name.endswith("?") and member not in value):
            continue
        found += misfits(inner, value.get(member), known, f"{place}.{member}")
    return found


async def test_a_misfit_is_seen() -> None:
    webhook = {"id": "1", "enabled": True, "url": "u", "createdAt": 1, "realm": "r", "eventTypes": ["*"]}
    assert misfits("webhook", webhook, {"realm": "r"}) == []
    wrong = {**webhook, "enabled": "true", "realm": "other", "secret": "s", "eventTypes": "*"}
    assert len(misfits("webhook", wrong, {"realm": "r"})) == 4
    assert misfits({"list": "text"}, [], {}) != []
    assert misfits("empty", {}, {}) != []
