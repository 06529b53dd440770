"""Quarantine and Mappings as a browser gets them without scripts: what is wrong, the row that would read it, tables row
by row, and a table tried, reviewed and saved."""

from __future__ import annotations

import html
import json
import re
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest
import pytest_asyncio

from tests.api.author import post
from tests.api.test_saving import ask, tag
from tests.console.conftest import Visitor, visiting
from tests.mapping.acme import MAPPING, RAW, write_example, write_table
from tests.opened import Opened, login, opened

pytestmark = pytest.mark.asyncio(loop_scope="module")

HOSTILE = "<img src=x onerror=alert(1)>\u202e\x1b[2J"
PARTIAL = {"HX-Request": "true"}
KEYS = [
    {"name": "reader", "token": "reader-token"},
    {"name": "author", "token": "author-token", "permissions": ["read", "mappings"]},
    {"name": "of-acme", "token": "of-acme-token", "permissions": ["read", "raw", "mappings"], "sources": ["acme"]},
]


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def service(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Opened]:
    folder = tmp_path_factory.mktemp("own")
    write_table(folder)
    write_example(folder)
    async with opened(
        tmp_path_factory.mktemp("data"),
        mappings={"path": [folder], "look_every": 0, "writable": True},
        sources=[
            {"name": "acme", "provider": "acme", "token": "acme-token"},
            {"name": "other", "provider": "okta", "token": "other-token"},
            {"name": "keycloak", "provider": "keycloak", "token": "keycloak-token"},
        ],
        keys=KEYS,
    ) as service:
        await service.post(
            [RAW, {"id": "2", "kind": "password changed", "user": HOSTILE, "note": "only-in-raw"}], source="acme"
        )
        await service.post([{"id": "3", "kind": HOSTILE}], source="acme")
        await service.post([login(1, type="MADE_UP")], source="keycloak")
        await service.post(
            [{"uuid": "o-1", "eventType": "secret.of.others", "published": "2026-05-01T08:00:00Z"}], "other"
        )
        yield service


@pytest.fixture
def folder(service: Opened) -> Path:
    """The user's folder of tables."""
    return service.service.tables.folders[0]


@pytest_asyncio.fixture(loop_scope="module")
async def visitor(service: Opened, folder: Path) -> AsyncIterator[Visitor]:
    """The administrator; the table is as each test expects it."""
    write_table(folder)
    write_example(folder)
    await service.service.tables.reload(["acme"], force=True)
    async with visiting(service) as visitor:
        await visitor.sign_in()
        yield visitor


async def quarantined(service: Opened, native: str) -> str:
    _, found = await service.get("/quarantine", source="acme", native_type=native)
    return str(found["groups"][0]["samples"][0]["uid"])


def field(page: str, name: str) -> str:
    """The value of a field of a page's form."""
    found = re.search(rf'name="{name}" value="([^"]*)"', page) or re.search(rf'name="{name}"[^>]*>\n([^<]*)<', page)
    assert found is not None, name
    return html.unescape(found[1])


def made_text(part: str) -> str:
    """The text of the file with an example that was made."""
    found = re.search(r'data-file-name="examples/arrived.yaml"[^>]*>\n(.*?)</textarea>', part, re.DOTALL)
    assert found is not None, part
    return html.unescape(found[1])


async def form_of(visitor: Visitor, **query: str) -> dict[str, str]:
    """The playground's form as it is shown."""
    words = "&".join(f"{name}={value}" for name, value in query.items())
    status, page = await visitor.page(f"/ui/mappings/acme/edit?{words}")
    assert status == 200, page
    return {name: field(page, name) for name in ("etag", "files", "mapping", "samples")}


async def acted(visitor: Visitor, act: str, form: dict[str, str], **more: str) -> str:
    """The part of the page that answers a button."""
    status, text = await visitor.send("/ui/mappings/acme/edit", {**form, "act": act, **more}, **PARTIAL)
    assert status == 200, text
    return text


async def test_quarantine_is_shown_in_groups_with_the_row_that_a_name_suggests(visitor: Visitor) -> None:
    status, page = await visitor.page("/ui/quarantine")
    assert status == 200
    assert "password changed: {type: UPDATE_PASSWORD}" in page
    assert "no row for &#39;password changed&#39;: add one to the table" in page
    assert page.count("<article") == 3
    assert "only-in-raw" in page
    _, page = await visitor.page("/ui/quarantine?provider=acme&native_type=password+changed")
    assert page.count("<article") == 1


async def test_nothing_that_was_sent_becomes_markup_or_moves_the_text(visitor: Visitor, service: Opened) -> None:
    uid = await quarantined(service, HOSTILE)
    form = await form_of(visitor, uid=uid)
    pages = [
        "/ui/quarantine", f"/ui/quarantine/{uid}", "/ui/mappings", "/ui/mappings/acme", "/ui/mappings/acme/examples",
        f"/ui/mappings/acme/edit?native={HOSTILE.replace('<', '%3C')[:40]}",
    ]  # fmt: skip
    shown = [(await visitor.page(path))[1] for path in pages]
    shown += [await acted(visitor, act, form) for act in ("try", "check", "review", "compare")]
    shown.append(await acted(visitor, "example", form, uid=uid))
    for text in shown:
        assert "<img" not in text.replace(f'<img src="{ICON}', "")
        without_fields = re.sub(r"<textarea.*?</textarea>", "", text, flags=re.DOTALL)
        assert "\u202e" not in without_fields
        assert "\x1b" not in without_fields


ICON = "/ui/static/"


async def test_an_entry_is_shown_whole_and_leads_to_the_playground(visitor: Visitor, service: Opened) -> None:
    uid = await quarantined(service, "password changed")
    status, page = await visitor.page(f"/ui/quarantine/{uid}")
    assert (status, "password changed" in page) == (200, True)
    assert f"/ui/mappings/acme/edit?uid={uid}&amp;native=password+changed" in page
    assert (await visitor.page("/ui/quarantine/nothing"))[0] == 404
    # It becomes an example there, of a table that has the row.
    made = f"/ui/mappings/acme/edit?uid={uid}&native=password+changed&make=1"
    assert html.escape(made) in page
    _, page = await visitor.page(made)
    assert "stands in examples/arrived.yaml now" in page
    assert list(json.loads(field(page, "files"))) == ["examples/arrived.yaml"]


async def test_what_is_too_long_for_a_page_is_shown_by_its_beginning(visitor: Visitor, service: Opened) -> None:
    large = [{"id": f"large-{number}", "kind": "large", "text": "x" * 300_000} for number in range(2)]
    uids = (await service.post(large, source="acme"))["uids"]
    _, page = await visitor.page(f"/ui/quarantine/{uids[0]}")
    assert "This is its beginning" in page
    _, page = await visitor.page(f"/ui/mappings/acme/edit?uid={uids[0]}&uid={uids[1]}")
    assert f"the samples from {uids[1]} on are left out" in page


async def test_what_providers_sent_is_for_those_who_may_see_it(service: Opened) -> None:
    async with visiting(service) as reader:
        await reader.sign_in("reader-token")
        _, page = await reader.page("/ui/quarantine")
        assert "the permission raw" in page
        assert "only-in-raw" not in page
        assert "playground" not in page
        assert "Read them again" not in page


async def test_a_limited_key_sees_its_own_alone(service: Opened) -> None:
    async with visiting(service) as limited:
        await limited.sign_in("of-acme-token")
        for path in ("/ui/quarantine", "/ui/mappings"):
            _, page = await limited.page(path)
            assert ("acme" in page, "secret.of.others" in page, "okta" in page) == (True, False, False)
        assert (await limited.page("/ui/mappings/okta"))[0] == 403
        assert (await limited.page("/ui/quarantine?source=other"))[1].count("<article") == 0


async def test_where_nothing_is_quarantined_the_page_says_what_would_be(tmp_path: Path) -> None:
    async with opened(tmp_path) as empty, visiting(empty) as visitor:
        await visitor.sign_in()
        _, page = await visitor.page("/ui/quarantine")
        assert "Nothing is quarantined" in page
        assert "Read all again" not in page


async def test_each_table_has_a_picture_whose_parts_add_up(visitor: Visitor, service: Opened) -> None:
    _, page = await visitor.page("/ui/mappings")
    for provider in ("acme", "keycloak", "okta"):
        [part] = re.findall(rf'aria-label="Native types of {provider} by.*?</ul>', page, flags=re.DOTALL)
        numbers = [int(one.replace("\u202f", "")) for one in re.findall(r"<strong>([^<]+)</strong>", part)]
        _, found = await service.get(f"/mappings/{provider}/types", arrived="1")
        assert sum(numbers) == len(found["types"])


async def test_each_part_of_a_picture_leads_to_its_rows(visitor: Visitor) -> None:
    _, page = await visitor.page("/ui/mappings/keycloak")
    links = re.findall(r'<li><a href="([^"]+)"><strong>([^<]+)</strong>', page)
    assert links
    for link, number in links:
        _, rows = await visitor.page(html.unescape(link), **PARTIAL)
        assert f'<p role="status">{number} of ' in rows


async def test_what_passes_through_under_its_own_name_lacks_nothing(visitor: Visitor) -> None:
    _, rows = await visitor.page("/ui/mappings/keycloak?q=MADE_UP&becomes=passed", **PARTIAL)
    assert "passed through under its own name" in rows


async def test_rows_are_found_by_native_type_type_reason_and_note(visitor: Visitor) -> None:
    async def found(words: str) -> str:
        return (await visitor.page(f"/ui/mappings/onewelcome?q={words}", **PARTIAL))[1]

    assert "access.LOGIN_ERROR" in await found("unknown_user")
    assert '<p role="status">1 of ' in await found("taken+for+the+whole+login+153")
    assert "No native type fits" in await found("nothing-has-this-word")
    assert "<html" not in await found("login")


async def test_a_file_is_shown_with_what_a_check_finds(visitor: Visitor, service: Opened, folder: Path) -> None:
    write_table(folder, MAPPING + "  out: {type: LOGOUTT}\n")
    status, page = await visitor.page("/ui/mappings/acme/file")
    assert status == 200
    assert "is no type of the catalogue (did you mean LOGOUT?)" in page
    assert "out: {type: LOGOUTT}" in page


async def test_examples_are_shown_with_what_they_expect(visitor: Visitor) -> None:
    status, page = await visitor.page("/ui/mappings/acme/examples")
    assert (status, "access.LOGIN" in page, "examples/first.yaml:1" in page) == (200, True, True)
    _, page = await visitor.page("/ui/mappings/acme/examples?q=nothing", **PARTIAL)
    assert "No example fits" in page


@pytest.mark.parametrize("path", ["", "/file", "/examples", "/edit", "/words"])
async def test_a_table_that_is_not_there_is_told(visitor: Visitor, path: str) -> None:
    assert (await visitor.page(f"/ui/mappings/nobody{path}"))[0] == 404


async def test_the_playground_begins_with_the_row_that_is_missing(visitor: Visitor, service: Opened) -> None:
    uid = await quarantined(service, "password changed")
    form = await form_of(visitor, uid=uid, native="password+changed")
    assert form["mapping"].rstrip().endswith("  password changed: {type: UPDATE_PASSWORD}")
    assert '"kind": "password changed"' in form["samples"]
    assert "access.UPDATE_PASSWORD" in await acted(visitor, "try", form)
    # One that has a row gets no other.
    assert (await form_of(visitor, native="in"))["mapping"].strip() == MAPPING.strip()


async def test_a_built_in_table_is_extended_and_not_copied(visitor: Visitor) -> None:
    _, page = await visitor.page("/ui/mappings/okta/edit?native=secret.of.others")
    text = field(page, "mapping")
    assert text.startswith("provider: okta\n")
    assert "extends: okta\ntypes:\n  secret.of.others: {type: " in text
    form = {name: field(page, name) for name in ("etag", "files", "mapping", "samples")}
    mapping = re.sub(r"secret.of.others: .*", "secret.of.others: {ignore: true}", form["mapping"])
    _, told = await visitor.send("/ui/mappings/okta/edit", {**form, "mapping": mapping, "act": "try"}, **PARTIAL)
    assert "ignored" in told


async def test_an_error_is_told_with_its_line_and_the_words_of_the_api(visitor: Visitor) -> None:
    form = await form_of(visitor)
    told = await acted(visitor, "try", form, mapping=MAPPING + "  out: {typo: LOGOUT}\n")
    line = (MAPPING + "  out:").count("\n") + 1
    assert f'data-line="{line}"' in told
    assert 'data-error="1"' in told
    assert "typo" in told
    told = await acted(visitor, "check", form, mapping=MAPPING + "  out: {type: LOGOUTT}\n")
    assert "did you mean LOGOUT?" in told


async def test_without_scripts_the_same_buttons_answer_with_the_page(visitor: Visitor) -> None:
    form = await form_of(visitor, example="0")
    text = MAPPING + "  mine: {type: LOGOUT}\n"
    status, page = await visitor.send(
        "/ui/mappings/acme/edit", {**form, "mapping": text.replace("\n", "\r\n"), "act": "try"}
    )
    assert (status, "<html" in page, "access.LOGIN" in page) == (200, True, True)
    assert field(page, "mapping") == text


async def test_a_table_is_saved_after_a_review_with_what_examples_become(
    visitor: Visitor, service: Opened, folder: Path
) -> None:
    uid = await quarantined(service, "password changed")
    form = await form_of(visitor, uid=uid, native="password+changed")
    made = await acted(visitor, "example", form, uid=uid)
    text = made_text(made)
    form["files"] = json.dumps({"examples/arrived.yaml": text})
    review = await acted(visitor, "review", form)
    assert "access.UPDATE_PASSWORD" in review
    saved = await acted(visitor, "save", form, seen=field(review, "seen"), reviewed=field(review, "reviewed"))
    assert "The table is in use" in saved
    assert "UPDATE_PASSWORD" in (folder / "acme" / "mapping.yaml").read_text()
    assert "access.UPDATE_PASSWORD" in (folder / "acme" / "examples" / "arrived.yaml").read_text()
    (folder / "acme" / "examples" / "arrived.yaml").unlink()


async def test_a_second_example_joins_the_first_that_is_not_saved_yet(visitor: Visitor, service: Opened) -> None:
    form = await form_of(visitor)
    first = await acted(visitor, "example", form, uid=await quarantined(service, "password changed"))
    text = made_text(first)
    form["files"] = json.dumps({"examples/arrived.yaml": text})
    second = await acted(visitor, "example", form, uid=await quarantined(service, HOSTILE))
    assert second.count("- name: ") == 2


async def test_what_somebody_else_saved_meanwhile_is_not_overwritten(
    visitor: Visitor, service: Opened, folder: Path
) -> None:
    form = await form_of(visitor)
    form["mapping"] = MAPPING + "  mine: {type: LOGOUT}\n"
    theirs = {"mapping": MAPPING + "  theirs: {type: LOGOUT}\n"}
    assert (await ask(service, "PUT", "/mappings/acme", theirs, await tag(service)))[0] == 200
    for act in ("review", "save"):
        told = await acted(visitor, act, form)
        assert "Somebody else has saved it meanwhile" in told
        assert "-  theirs: {type: LOGOUT}" in told
        assert "+  mine: {type: LOGOUT}" in told
    assert "theirs" in (folder / "acme" / "mapping.yaml").read_text()
    # Whoever has seen the difference may go on.
    over = field(told, "over")
    _, told = await visitor.send("/ui/mappings/acme/edit", {**form, "over": over}, **PARTIAL)
    assert "What saving would do" in told
    form |= {"etag": over, "reviewed": field(told, "reviewed")}
    assert "The table is in use" in await acted(visitor, "save", form)
    assert "mine" in (folder / "acme" / "mapping.yaml").read_text()


async def test_what_was_not_reviewed_is_reviewed_and_not_saved(visitor: Visitor, folder: Path) -> None:
    """Also without scripts, which keep the button from being used."""
    form = await form_of(visitor)
    form["mapping"] = MAPPING + "  mine: {type: LOGOUT}\n"
    review = await acted(visitor, "review", form)
    form |= {"reviewed": field(review, "reviewed"), "mapping": MAPPING + "  other: {type: LOGOUT}\n"}
    _, page = await visitor.send("/ui/mappings/acme/edit", {**form, "act": "save"})
    assert "the table is not the one that was reviewed" in page
    assert (folder / "acme" / "mapping.yaml").read_text() == MAPPING
    # What is shown now has been reviewed.
    form["reviewed"] = field(page, "reviewed")
    assert "The table is in use" in await acted(visitor, "save", form)
    assert "other" in (folder / "acme" / "mapping.yaml").read_text()


async def test_a_table_with_an_error_is_not_saved(visitor: Visitor, folder: Path) -> None:
    form = await form_of(visitor)
    form["mapping"] = MAPPING + "  out: {type: LOGOUTT}\n"
    review = await acted(visitor, "review", form)
    told = await acted(visitor, "save", form, reviewed=field(review, "reviewed"))
    assert "Not saved" in told
    assert "did you mean LOGOUT?" in told
    assert (folder / "acme" / "mapping.yaml").read_text() == MAPPING


async def test_a_change_of_keys_is_saved_only_where_it_is_meant(visitor: Visitor) -> None:
    form = await form_of(visitor)
    form["mapping"] = MAPPING.replace("strong: id", "strong: user")
    review = await acted(visitor, "review", form)
    assert "Other keys are meant" in review
    form["reviewed"] = field(review, "reviewed")
    assert "Not saved" in await acted(visitor, "save", form)
    assert "The table is in use" in await acted(visitor, "save", form, force="1")


async def test_stored_events_are_compared_before_a_table_is_saved(visitor: Visitor) -> None:
    form = await form_of(visitor)
    form["mapping"] = MAPPING.replace("LOGIN", "LOGOUT") + "  password changed: {type: UPDATE_PASSWORD}\n"
    told = await acted(visitor, "compare", form, since="7d")
    assert "<strong>1</strong> without an event would be events" in told
    assert "<strong>1</strong> would read differently" in told


async def test_an_author_may_try_and_not_save(service: Opened) -> None:
    async with visiting(service) as author:
        await author.sign_in("author-token")
        _, page = await author.page("/ui/mappings/acme/edit")
        assert "your key lacks the permission write_mappings" in page
        form = {name: field(page, name) for name in ("etag", "files", "mapping")}
        assert "access.LOGIN" in await acted(author, "try", {**form, "samples": '{"id": "1", "kind": "in"}'})
        review = await acted(author, "review", form)
        assert 'value="save"' not in review
        assert "It cannot be saved here" in await acted(author, "save", form)
    async with visiting(service) as reader:
        await reader.sign_in("reader-token")
        assert (await reader.page("/ui/mappings/acme/edit"))[0] == 403
        assert "Open in the playground" not in (await reader.page("/ui/mappings/acme"))[1]


async def test_a_form_that_no_page_of_ours_sends_is_refused(visitor: Visitor) -> None:
    form = await form_of(visitor)
    assert (await visitor.send("/ui/mappings/acme/edit", {**form, "act": "remove"}))[0] == 400
    assert (await visitor.send("/ui/mappings/acme/edit", {**form, "files": "[1]"}))[0] == 400
    assert (await visitor.send("/ui/mappings/acme/edit", {**form, "act": "save"}, csrf="wrong"))[0] == 403
    assert (await visitor.send("/ui/quarantine/job", {}, csrf="wrong"))[0] == 403


async def test_what_is_quarantined_is_read_again_and_the_page_says_what_became_of_it(
    visitor: Visitor, service: Opened, folder: Path
) -> None:
    await service.post([{"id": "wave-1", "kind": "wave"}], source="acme")
    write_table(folder, MAPPING + "  wave: {type: LOGOUT}\n")
    assert (await post(service, "/mappings/acme/reload"))[0] == 200
    form = {"provider": "acme", "native_type": "wave"}
    status, told = await visitor.send("/ui/quarantine/job", form, **PARTIAL)
    assert (status, "Reading again: acme" in told) == (200, True)
    found: dict[str, Any] = {"state": "running"}
    while found["state"] in ("running", "waiting"):
        _, found = await service.get("/renormalization")
    _, told = await visitor.page("/ui/quarantine/job", **PARTIAL)
    assert "hx-get" not in told
    assert '<a href="/ui/events?provider=acme&amp;type=access.LOGOUT">1</a>' in told
    assert "wave" not in (await visitor.page("/ui/quarantine?provider=acme", **PARTIAL))[1]
    # Without scripts the page itself says it.
    _, page = await visitor.send("/ui/quarantine/job", {**form, "dry_run": "1"})
    assert "What reading again would do" in page


async def test_a_table_that_could_never_be_used_is_shown_with_what_is_wrong(tmp_path: Path) -> None:
    folder = tmp_path / "own"
    write_table(folder)
    async with (
        opened(tmp_path / "data", mappings={"path": [folder], "look_every": 0, "writable": True}) as service,
        visiting(service) as visitor,
    ):
        write_table(folder, MAPPING.replace("acme", "fresh").replace("LOGIN", "LOGOUTT"), "fresh")
        await post(service, "/mappings/fresh/reload")
        _, found = await service.get("/mappings")
        [state] = [one for one in found["mappings"] if one["provider"] == "fresh"]
        assert (state["state"], state["version"]) == ("refused", None)
        assert "LOGOUTT" in state["problem"]
        status, shown = await service.get("/mappings/fresh")
        assert (status, "LOGOUTT" in shown["text"]) == (200, True)
        for path in ("types", "coverage"):
            status, problem = await service.get(f"/mappings/fresh/{path}")
            assert (status, "LOGOUTT" in problem["detail"]) == (422, True)
        await visitor.sign_in()
        status, text = await visitor.page("/ui/mappings/fresh")
        assert status == 200
        assert "is no type of the catalogue" in text and "<h1" in text
        assert "fresh" in (await visitor.page("/ui/mappings"))[1]
