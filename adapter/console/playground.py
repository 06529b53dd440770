"""The playground of the page Mappings: samples, a table as it would be, and what it makes of them; then saved over what
was read, after its check and what it would change."""

from __future__ import annotations

import asyncio
import difflib
import hashlib
import json
from collections.abc import Sequence
from itertools import islice
from typing import Any
from urllib.parse import quote

import orjson
from aiohttp import web

from adapter.console.frame import Route
from adapter.console.table_text import extension_of, row_text, with_row
from adapter.console.visit import HEADERS, Refused, Visit
from adapter.errors import RequestError
from adapter.mapping.scalars import dump
from adapter.settings import Permission

#: Samples that a playground begins with, and characters of all of them.
SAMPLES, SAMPLES_SIZE = 20, 500_000
#: Lines of two texts whose difference is looked for, lines of it that are shown, and characters of each.
COMPARED, DIFFERENCE, LINE = 4000, 400, 400

#: How far back stored events are looked at.
SINCE = {"1d": "the last day", "7d": "the last 7 days", "30d": "the last 30 days", "3650d": "all that is stored"}


async def edit(visit: Visit) -> web.StreamResponse:
    """The playground, with the samples that its address names, or what is quarantined, or examples."""
    provider, query = visit.request.match_info["provider"], visit.request.query
    _refuse_unless_author(visit)
    base = await _base(visit, provider)
    text = base["text"]
    if native := query.get("native"):
        known = await visit.get(_path(provider, "types"))
        if not any(one["name"] == native and one["rows"] for one in known["types"]):
            text = with_row(text, row_text(native, await _likely(visit, provider, native)))
    uids = query.getall("uid", [])
    samples, problems = await _samples(visit, provider, uids, query.get("example"))
    given: dict[str, Any] = {"mapping": text, "samples": samples, "files": {}, "etag": base["etag"]}
    part: tuple[str, dict[str, Any]] = "", {}
    if uids and query.get("make") == "1":
        part = await _example(visit, provider, given, uids[0])
    return _page(visit, provider, base, given, part, problems=problems)


async def act(visit: Visit) -> web.StreamResponse:
    """Whatever the form is sent for; a part of the page for its script, and without scripts the page with it."""
    provider, form = visit.request.match_info["provider"], visit.form
    acts = {"try": _try, "check": _check, "review": _review, "compare": _compare, "save": _save, "example": _example}
    wanted = form.get("act", "review" if "over" in form else "try")
    if wanted not in acts:
        raise RequestError(400, "Bad request", f"act must be one of {', '.join(acts)}")
    given = _given(form)
    part = await acts[wanted](visit, provider, given)
    template, values = part
    if visit.is_partial:
        return visit.fragment(template, provider=provider, given=given, **values)
    if "saved" in values:
        given.update(etag=values["saved"]["etag"], files={})
    return _page(visit, provider, await _base(visit, provider), given, part)


async def words(visit: Visit) -> web.StreamResponse:
    """What the editor offers."""
    found = await visit.get(_path(visit.request.match_info["provider"], "words"))
    return web.Response(body=orjson.dumps(found), content_type="application/json", headers=HEADERS)


ROUTES = [
    Route("GET", "/ui/mappings/{provider}/edit", edit),
    Route("POST", "/ui/mappings/{provider}/edit", act),
    Route("GET", "/ui/mappings/{provider}/words", words),
]


def _page(
    visit: Visit,
    provider: str,
    base: dict[str, Any],
    given: dict[str, Any],
    part: tuple[str, dict[str, Any]],
    *,
    problems: Sequence[str] = (),
) -> web.StreamResponse:
    """The whole playground; ``part``: the answer that stands in it already, its template and what that shows."""
    template, values = part
    return visit.page(
        "mappings_edit.html",
        **values,
        provider=provider,
        base=base,
        given=given,
        files_json=json.dumps(given["files"]),
        problems=problems,
        part=template,
    )


def _refuse_unless_author(visit: Visit) -> None:
    """
    Raises:
        RequestError: the visitor may not try tables.
    """
    if not visit.may(Permission.MAPPINGS):
        detail = f"{visit.name} lacks the permission 'mappings', which the playground needs."
        raise RequestError(403, "Forbidden", detail)


async def _base(visit: Visit, provider: str) -> dict[str, Any]:
    """The table as it was read: its text, or the beginning of one that takes the place of a built-in one."""
    listed = await visit.get("/mappings")
    found: dict[str, Any] = await visit.get(_path(provider), {"findings": "0", "files": "1"})
    text = (found["text"] or "").replace("\r\n", "\n")
    found["built_in"] = found["origin"] == "built_in"
    found["text"] = extension_of(provider, found["title"] or provider) if found["built_in"] else text
    found["writable"] = listed["writable"] and visit.may(Permission.WRITE_MAPPINGS)
    found["why_not"] = (
        None
        if found["writable"]
        else "your key lacks the permission write_mappings"
        if listed["writable"]
        else "tables are not saved over HTTP here: [mappings] writable = true allows it"
    )
    return found


async def _likely(visit: Visit, provider: str, native: str) -> dict[str, str] | None:
    """The row that a quarantined native type suggests."""
    found = await visit.get("/quarantine", {"provider": provider, "native_type": native, "limit": 1})
    return next((one["likely"] for one in found["groups"]), None)


async def _samples(visit: Visit, provider: str, uids: Sequence[str], example: str | None) -> tuple[str, list[str]]:
    """The text of the samples, and why some are not there."""
    if example is not None:
        found = await visit.get(_path(provider, "examples"))
        some = found["examples"]
        at = int(example) if example.isascii() and example.isdigit() and len(example) < 9 else len(some)
        if at >= len(some):
            return "", [f"there is no example {example[:20]}; the table's files may have changed"]
        return samples_text([some[at]["raw"]]), []
    if not visit.may(Permission.RAW):
        return "", ["what providers sent is shown to those who have the permission raw; paste samples of your own"]
    named = bool(uids)
    if not named:
        groups = await visit.get("/quarantine", {"provider": provider, "limit": SAMPLES})
        uids = [one["samples"][0]["uid"] for one in groups["groups"] if one["samples"]]
    found, problems, size = [], [], 0
    for uid in list(dict.fromkeys(uids))[:SAMPLES]:
        try:
            raw = await _raw(visit, uid)
        except Refused as error:
            problems.append(f"{uid[:100]}: {error.detail}")
            continue
        size += len(raw) if isinstance(raw, str) else len(orjson.dumps(raw))
        if size > SAMPLES_SIZE:
            problems.append(f"the samples from {uid[:100]} on are left out: together they are too long for an editor")
            break
        found.append(raw)
    if not named and not found:
        listed = await visit.get(_path(provider, "examples"))
        found = [one["raw"] for one in listed["examples"][:3]]
    return samples_text(found), problems


async def _raw(visit: Visit, uid: str) -> Any:
    """What a provider sent for an entry, an event or not.

    Raises:
        Refused: there is none, or it is not the visitor's to see.
    """
    name = quote(uid, safe="")
    try:
        return (await visit.get(f"/quarantine/{name}", {"raw": "1"}))["raw"]
    except Refused as error:
        if error.status != 404:
            raise
        found = await visit.get(f"/events/{name}", {"raw": "1"})
        return found.get("raw")


def samples_text(samples: Sequence[Any]) -> str:
    """Raw events as people edit them: objects as a list with an element a line, lines of text as lines."""
    if samples and all(isinstance(one, str) for one in samples):
        return "\n".join(samples) + "\n"
    laid_out = [json.dumps(one, ensure_ascii=False, indent=2) for one in samples if not isinstance(one, str)]
    return "[\n" + ",\n".join(laid_out) + "\n]\n" if laid_out else ""


def _given(form: Any) -> dict[str, Any]:
    """What the form holds.

    Raises:
        RequestError: 400, its files are not of their form.
    """
    try:
        files = orjson.loads(form.get("files") or "{}")
    except orjson.JSONDecodeError:
        files = None
    if not isinstance(files, dict) or not all(isinstance(one, str | None) for one in files.values()):
        raise RequestError(400, "Bad request", "files must be a JSON object of names and texts; load the page again")
    # Forms carry line ends as other systems write them.
    texts = {name: form.get(name, "").replace("\r\n", "\n") for name in ("mapping", "samples")}
    return {
        **texts,
        "files": files,
        "etag": form.get("over") or form.get("etag", ""),
        "force": form.get("force") == "1",
    }


def _unsaved(given: dict[str, Any]) -> dict[str, Any]:
    return {"mapping": given["mapping"], "files": given["files"]}


def _mark(given: dict[str, Any]) -> str:
    """By what it is known whether what is to be saved is what was reviewed."""
    return hashlib.sha256(orjson.dumps(_unsaved(given), option=orjson.OPT_SORT_KEYS)).hexdigest()[:32]


async def _try(visit: Visit, provider: str, given: dict[str, Any]) -> tuple[str, dict[str, Any]]:
    """What the table makes of the samples, and why."""
    template = "mappings_edit_tried.html"
    if not given["samples"].strip():
        return template, {"refused": None, "explanations": None}
    try:
        found = await visit.post(_path(provider, "explain"), {**_unsaved(given), "raw": given["samples"]})
    except Refused as error:
        return template, {"refused": error, "explanations": None}
    return template, {"refused": None, "explanations": found["explanations"]}


async def _check(visit: Visit, provider: str, given: dict[str, Any]) -> tuple[str, dict[str, Any]]:
    """What the check finds, the examples included."""
    template = "mappings_edit_checked.html"
    try:
        found = await visit.post(_path(provider, "check"), _unsaved(given))
    except Refused as error:
        return template, {"refused": error, "findings": []}
    return template, {"refused": None, "findings": found["findings"]}


async def _review(
    visit: Visit, provider: str, given: dict[str, Any], *, is_changed: bool = False
) -> tuple[str, dict[str, Any]]:
    """What saving would do, before anything is written. ``is_changed``: something else was reviewed before."""
    template = "mappings_edit_review.html"
    try:
        if visit.may(Permission.WRITE_MAPPINGS):
            found = await _put(visit, provider, given, {"dry_run": "1"})
        else:
            found = await visit.post(_path(provider, "check"), _unsaved(given))
            found |= {"examples": [], "identity": None, "expectations": [], "seen": None, "sources": None}
    except Refused as error:
        if error.status == 412:
            return await _conflict(visit, provider, given, error)
        return template, {"refused": error, "found": None, "since": SINCE, "writable": False}
    listed = await visit.get("/mappings")
    writable = listed["writable"] and visit.may(Permission.WRITE_MAPPINGS)
    values = {"mark": _mark(given), "is_changed": is_changed}
    return template, {"refused": None, "found": found, "since": SINCE, "writable": writable, **values}


async def _compare(visit: Visit, provider: str, given: dict[str, Any]) -> tuple[str, dict[str, Any]]:
    """What the table would do to stored raw events."""
    template, since = "mappings_edit_stored.html", visit.form.get("since", "1d")
    if since not in SINCE:
        since = "1d"
    values: dict[str, Any] = {"refused": None, "stored": None, "since": SINCE, "chosen": since}
    try:
        result = await visit.post_lines(_path(provider, "diff"), _unsaved(given), {"received_from": since})
    except Refused as error:
        return template, {**values, "refused": error}
    last = result[-1].get("result") if result else None
    return template, {**values, "stored": None if last is None else last["stored"]}


async def _save(visit: Visit, provider: str, given: dict[str, Any]) -> tuple[str, dict[str, Any]]:
    """Save it, if it is what was looked at before; else what saving it would do."""
    if visit.form.get("reviewed") != _mark(given):
        return await _review(visit, provider, given, is_changed=True)
    params = {"seen": visit.form.get("seen") or None, "force": "1" if given["force"] else None}
    try:
        found = await _put(visit, provider, given, params)
    except Refused as error:
        if error.status == 412:
            return await _conflict(visit, provider, given, error)
        return "mappings_edit_review.html", {"refused": error, "found": None, "since": SINCE, "writable": False}
    return "mappings_edit_saved.html", {"saved": found}


async def _conflict(visit: Visit, provider: str, given: dict[str, Any], refused: Refused) -> tuple[str, dict[str, Any]]:
    """Somebody else has saved it since it was read: how theirs differs from what is in the editor."""
    page = await visit.get(_path(provider), {"findings": "0"})
    theirs = (page["text"] or "").replace("\r\n", "\n").split("\n")
    # It may take long, so it is done in a thread, and for tables of a usual size.
    shown = await asyncio.to_thread(_difference, theirs[:COMPARED], given["mapping"].split("\n")[:COMPARED])
    return "mappings_edit_conflict.html", {
        "refused": refused,
        "etag": page["etag"],
        "lines": shown[:DIFFERENCE],
        "more": len(shown) > DIFFERENCE,
    }


def _difference(theirs: Sequence[str], mine: Sequence[str]) -> list[str]:
    lines = difflib.unified_diff(theirs, mine, "as it is saved now", "in your editor", lineterm="")
    return [line[:LINE] for line in islice(lines, DIFFERENCE + 1)]


async def _example(
    visit: Visit, provider: str, given: dict[str, Any], uid: str | None = None
) -> tuple[str, dict[str, Any]]:
    """Make an event that arrived an example, in the files that are to be saved. ``uid``: if not that of the form."""
    template = "mappings_edit_example.html"
    uid = visit.form.get("uid", "").strip() if uid is None else uid
    try:
        made = await visit.post(_path(provider, "examples"), {"uid": uid})
    except Refused as error:
        return template, {"refused": error, "made": None}
    name, before = made["file"], given["files"].get(made["file"])
    # What is not saved yet is in the form alone.
    text = made["text"] if before is None else f"{before.rstrip()}\n{dump([made['example']])}"
    given["files"][name] = text
    return template, {"refused": None, "made": {**made, "text": text}}


async def _put(visit: Visit, provider: str, given: dict[str, Any], params: dict[str, str | None]) -> Any:
    return await visit.put(_path(provider), _unsaved(given), params, match=given["etag"])


def _path(provider: str, *parts: str) -> str:
    return "/".join(["/mappings", quote(provider, safe=""), *parts])
