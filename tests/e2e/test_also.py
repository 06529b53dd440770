"""Records of several events through a real service: taken, found, shown, sent again, read again by a fixed table."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from tests.mapping.acme_also import LOCKED, RAW, SINGLE, write_also
from tests.opened import Opened, opened


async def found(service: Opened, **query: Any) -> list[tuple[str, str | None]]:
    """Type, and name of a further event, of all that the feed finds, in the order of arrival."""
    status, page = await service.get("/events", order="log", **query)
    assert status == 200, page
    return [(one["type"].removeprefix("access."), one["source"].get("also")) for one in page["events"]]


async def renormalized(service: Opened, **question: Any) -> dict[str, int]:
    """The counts of a renormalization, those that are not 0."""
    async with service.session.post("/renormalization", json=question) as response:
        assert response.status == 202, await response.text()
    while (await service.get("/renormalization"))[1]["state"] == "running":
        pass
    counts: dict[str, int] = (await service.get("/renormalization"))[1]["counts"]
    return {name: count for name, count in counts.items() if count}


async def test_a_fact_in_two_is_taken_found_and_known_again(tmp_path: Path) -> None:
    folder = tmp_path / "mappings"
    write_also(folder)
    settings = {"mappings": {"path": [folder]}, "sources": [{"name": "acme", "provider": "acme"}]}
    async with opened(tmp_path / "data", **settings) as service:
        answer = await service.post([RAW, LOCKED], "acme")
        assert (answer["accepted"], len(answer["uids"])) == (2, 2)
        assert await found(service) == [
            ("LOGIN_ERROR", None), ("REPORT_SUSPICIOUS_ACTIVITY", "report"),
            ("LOGIN_ERROR", None), ("REPORT_SUSPICIOUS_ACTIVITY", "report"), ("LOGOUT", "lock"),
        ]  # fmt: skip
        assert (
            await found(service, type="REPORT_SUSPICIOUS_ACTIVITY", user="anna")
            == [("REPORT_SUSPICIOUS_ACTIVITY", "report")] * 2
        )
        again = await service.post([LOCKED, RAW], "acme")
        assert (again["duplicates"], again["uids"]) == (2, answer["uids"][::-1])
        # By the provider's id the first event; each other one by its uid, with the record that it was made of.
        status, first = await service.get("/events/2")
        assert (status, first["type"], first["uid"]) == (200, "access.LOGIN_ERROR", answer["uids"][1])
        _, page = await service.get("/events", type="LOGOUT")
        _, lock = await service.get(f"/events/{page['events'][0]['uid']}", raw="1")
        assert (lock["source"]["also"], lock["raw"]) == ("lock", LOCKED)
        assert await renormalized(service) == {"looked_at": 5, "unchanged": 5}


async def test_a_table_that_gets_also_is_tried_and_then_makes_what_is_missing(tmp_path: Path) -> None:
    folder = tmp_path / "mappings"
    write_also(folder, SINGLE, examples=False)
    settings = {"mappings": {"path": [folder]}, "sources": [{"name": "acme", "provider": "acme"}]}
    async with opened(tmp_path / "data", **settings) as service:
        await service.post([RAW, LOCKED], "acme")
        text = write_also(folder).read_text()
        async with service.session.post("/mappings/acme/apply", json={"mapping": text, "raw": [LOCKED]}) as response:
            events = (await response.json())["events"]
        assert [one["source"].get("also") for one in events] == [None, "report", "lock"]
        async with service.session.post("/mappings/acme/explain", json={"mapping": text, "raw": [RAW]}) as response:
            told = (await response.json())["explanations"]
        assert [one["also"] for one in told] == [None, "report"]
        async with service.session.post("/mappings/acme/check", json={"mapping": text}) as response:
            assert (await response.json())["ok"] is True
        async with service.session.post("/mappings/acme/reload") as response:
            assert (await response.json())["state"] == "in_use"
        assert await renormalized(service, dry_run=True) == {"looked_at": 2, "unchanged": 2, "added": 3}
        assert await renormalized(service) == {"looked_at": 2, "unchanged": 2, "added": 3}
        assert await renormalized(service) == {"looked_at": 5, "unchanged": 5}
        assert (await service.post([RAW, LOCKED], "acme"))["duplicates"] == 2
        assert len(await found(service)) == 5
