"""What is done to a sink from its pages.

What needs no more than a yes is asked where its button is; what takes more is asked on a page of its own. Test, rotate
and link answer with a page, since what they show is shown once.
"""

from __future__ import annotations

import asyncio
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from aiohttp import web

from adapter.console.attempt_chart import PARTS, WIDTH, bar_of, longest_of
from adapter.console.frame import Route
from adapter.console.named import sink_name
from adapter.console.sink_form import read_filter
from adapter.console.visit import Refused, Visit
from adapter.errors import RequestError

#: A dry run is waited for so often, so many seconds each time: most are done by then.
_LOOKS, _LOOKING = 20, 0.1
#: For how long a replaced secret goes on signing, and for how long a link lasts: value, and what it is called.
OVERLAPS = (("24h", "24 hours"), ("7d", "7 days"), ("30d", "30 days"), ("0", "no time: it ends now"))
LASTS = (("24h", "24 hours"), ("7d", "7 days"), ("30d", "30 days"), ("90d", "90 days"))
#: What became of events before, of which a replay is.
STATUSES = (
    ("dead", "dead: given up on"),
    ("held", "held: waiting for their next try"),
    ("delivered", "delivered: they will be sent a second time"),
    ("never", "never sent: from before it began, or passed with another filter"),
)
#: What a test event came to.
CAME_TO = {
    "delivered": ("The receiver took it.", "good"),
    "later": ("The receiver did not take it; it would be tried again.", "bad"),
    "never": ("The receiver did not take it; it would not be tried again.", "bad"),
    "stop": ("The receiver did not take it, and its answer would stop the sink.", "bad"),
    "failed": ("Nothing could be sent.", "bad"),
}


_VERSION = re.compile(r"[A-Za-z0-9_.]{1,100}", re.ASCII)


@dataclass(frozen=True, slots=True)
class Field:
    """A field of the form of an action."""

    name: str
    label: str
    value: str = ""
    #: `text`, `checkbox`, `hidden`, or `select` with ``options``: value, and what it is called.
    kind: str = "text"
    options: Sequence[tuple[str, str]] = ()


@dataclass(frozen=True, slots=True)
class Asked:
    """An action before it is done."""

    title: str
    #: What it will do.
    says: Sequence[str]
    #: What the button says, and the last part of the address to which it posts.
    button: str
    action: str
    fields: Sequence[Field] = ()
    #: The end of the address of the page to go back to.
    back: str = ""
    is_dangerous: bool = False


async def ask(visit: Visit) -> web.Response:
    """Say what an action will do, and ask whether it is to be done."""
    return await _ask(visit, visit.request.query.get("what", ""), visit.request.query)


async def _ask(visit: Visit, what: str, given: Mapping[str, str], refusal: Refused | None = None) -> web.Response:
    """``refusal``: why it was not done."""
    name = sink_name(visit)
    sink = await visit.get(f"/sinks/{name}")
    asked = _asked(what, sink, given)
    if asked is None:
        raise RequestError(404, "Not found", f"There is no action {what[:100]!r}.")
    problem, status = (None, 200) if refusal is None else (refusal.detail, refusal.status)
    return visit.page("sinks_ask.html", sink=sink, asked=asked, problem=problem, http_status=status, here="")


def _asked(what: str, sink: Mapping[str, Any], given: Mapping[str, str]) -> Asked | None:
    name, counts = sink["name"], sink["counts"]
    match what:
        case "rotate":
            says = [
                f"{name} gets a new secret, which is shown once.",
                "Every post is signed with both for as long as you say; give the receiver the new one in that time.",
                "The signatures of Phase Two have room for one secret: choose there that the old one ends now.",
            ]
            fields = [Field("overlap", "The old secret signs, too, for", "24h", "select", OVERLAPS), _version(sink)]
            return Asked(f"Replace the secret of {name}", says, "Make a new secret", "rotate", fields)
        case "delete":
            left = [
                f"{counts['held']} held, {counts['dead']} dead, and {sink['lag']} entries of the log that it has not "
                "come to would not be sent any more.",
                f"Its settings, its place in the log and its links go; another sink named {name} begins as a new one.",
            ]
            force = Field("force", "Delete it, also with what it has not sent", "1", "checkbox")
            return Asked(f"Delete {name}", left, "Delete it", "delete", [force, _version(sink)], "", is_dangerous=True)
        case "skip":
            uid = Field("uid", "", given.get("uid", ""), "hidden")
            says = [
                f"The event {uid.value} is not sent to {name} any more: it counts as skipped, and what waits for it "
                "goes on. An event of the log says that you did it, and why.",
            ]
            why = Field("reason", "Why")
            return Asked("Give up one event", says, "Give it up", "skip", [uid, why], "/dead", is_dangerous=True)
    return None


def version_of(sink: Mapping[str, Any]) -> str:
    """By what a version of a sink is known; empty: it is one of the settings."""
    return "" if sink["id"] is None else f"{sink['id']}.{sink['version']}"


def etag(version: str | None) -> str | None:
    """What names a version over HTTP; ``None``: whichever there is.

    Raises:
        RequestError: 400, a form brought what is none.
    """
    if not version:
        return None
    if not _VERSION.fullmatch(version):
        raise RequestError(400, "Bad form", "The form does not say which version it is of; load the page again.")
    return f'"{version}"'


def _version(sink: Mapping[str, Any]) -> Field:
    return Field("version", "", version_of(sink), "hidden")


async def pause(visit: Visit) -> web.Response:
    name = sink_name(visit)
    await visit.post(f"/sinks/{name}/pause")
    return visit.redirect(f"/ui/sinks/{name}")


async def resume(visit: Visit) -> web.Response:
    name = sink_name(visit)
    await visit.post(f"/sinks/{name}/resume")
    return visit.redirect(f"/ui/sinks/{name}")


async def test(visit: Visit) -> web.Response:
    name = sink_name(visit)
    sink = await visit.get(f"/sinks/{name}")
    status, problem, tested = 200, None, None
    try:
        tested = await visit.post(f"/sinks/{name}/test")
    except Refused as refusal:
        status, problem = refusal.status, refusal.detail
    visit.command(f"idp-adapter sinks test {name}")
    return visit.page(
        "sinks_test.html", sink=sink, tested=tested, bar=test_bar(tested), width=WIDTH, phases=PARTS, came_to=CAME_TO,
        problem=problem, here="", http_status=status,
    )  # fmt: skip


def test_bar(tested: Mapping[str, Any] | None) -> Any:
    """The bar of a test event; ``None``: nothing is known of its parts."""
    seen = None if tested is None else tested["tried"]
    if not seen:
        return None
    durations = {name: seen.get(name) for name in ("resolve", "connect", "total")}
    durations["firstByte"] = seen.get("first_byte")
    return bar_of(durations, longest_of([durations]))


async def rotate(visit: Visit) -> web.Response:
    name = sink_name(visit)
    try:
        overlap = visit.form.get("overlap", "24h")
        made = await visit.post(f"/sinks/{name}/rotate", {"overlap": overlap}, match=etag(visit.form.get("version")))
    except Refused as refusal:
        return await _ask(visit, "rotate", visit.form, refusal)
    return visit.page("sinks_secret.html", sink=made, secret=made["secret"], warnings=made["warnings"], is_new=False,
                      here="")  # fmt: skip


async def delete(visit: Visit) -> web.Response:
    name, form = sink_name(visit), visit.form
    force = "1" if form.get("force") == "1" else "0"
    try:
        await visit.delete(f"/sinks/{name}", None, {"force": force}, match=etag(form.get("version")))
    except Refused as refusal:
        return await _ask(visit, "delete", form, refusal)
    return visit.redirect("/ui/sinks")


async def resend(visit: Visit) -> web.Response:
    name, uid = sink_name(visit), visit.form.get("uid", "")
    sink = await visit.get(f"/sinks/{name}")
    status, problem, sent = 200, None, None
    try:
        sent = await visit.post(f"/sinks/{name}/resend", {"uid": uid})
    except Refused as refusal:
        status, problem = refusal.status, refusal.detail
    return visit.page("sinks_resent.html", sink=sink, sent=sent, problem=problem, uid=uid, here="", http_status=status)


async def skip(visit: Visit) -> web.Response:
    name, form = sink_name(visit), visit.form
    try:
        await visit.post(f"/sinks/{name}/skip", {"uid": form.get("uid", ""), "reason": form.get("reason", "")})
    except Refused as refusal:
        return await _ask(visit, "skip", form, refusal)
    return visit.redirect(f"/ui/sinks/{name}/dead")


async def replay(visit: Visit) -> web.Response:
    """Count what a replay would send; or send what the last one has counted."""
    name, form = sink_name(visit), visit.form
    try:
        if form.get("step") == "send":
            found = await visit.get(f"/sinks/{name}/replay")
            if str(found["id"]) != form.get("id") or not found["question"]["dry_run"]:
                detail = "Somebody else has started another replay meanwhile; count again."
                raise Refused(409, "Changed meanwhile", detail)
            question = {**found["question"], "dry_run": False}
            await visit.post(f"/sinks/{name}/replay", question, match=f'"{found["id"]}"')
        else:
            await visit.post(f"/sinks/{name}/replay", {**_question(form), "dry_run": True})
            await _ended(visit, name)
    except Refused as refusal:
        sink = await visit.get(f"/sinks/{name}")
        given = {"status": form.getall("status", []), "filter": form.get("filter", ""), "rate": form.get("rate", "")}
        given |= {"since": form.get("since", ""), "until": form.get("until", "")}
        return visit.page("sinks_replay.html", sink=sink, job=None, share=None, problem=refusal.detail, given=given,
                          statuses=STATUSES, here="Send again", http_status=refusal.status)  # fmt: skip
    return visit.redirect(f"/ui/sinks/{name}/replay")


def _question(form: Any) -> dict[str, Any]:
    """What a form asks to be sent again.

    Raises:
        Refused: the form says nothing that could be asked.
    """
    try:
        filter = read_filter(form.get("filter", ""))
        rate = int(form.get("rate") or 100)
    except ValueError as error:
        raise Refused(400, "Bad form", str(error)) from None
    for name, field in (("received_from", "since"), ("received_to", "until")):
        if text := form.get(field, "").strip():
            filter[name] = [text]
    return {"status": form.getall("status", ["dead"]), "filter": filter, "rate": rate}


async def _ended(visit: Visit, name: str) -> None:
    """Wait for a moment until a dry run has ended."""
    for _ in range(_LOOKS):
        if (await visit.get(f"/sinks/{name}/replay"))["state"] != "running":
            return
        await asyncio.sleep(_LOOKING)


async def cancel_replay(visit: Visit) -> web.Response:
    name = sink_name(visit)
    await visit.delete(f"/sinks/{name}/replay")
    return visit.redirect(f"/ui/sinks/{name}/replay")


async def start_audit(visit: Visit) -> web.Response:
    name = sink_name(visit)
    await visit.post(f"/sinks/{name}/audit", {})
    return visit.redirect(f"/ui/sinks/{name}/audit")


async def cancel_audit(visit: Visit) -> web.Response:
    name = sink_name(visit)
    await visit.delete(f"/sinks/{name}/audit")
    return visit.redirect(f"/ui/sinks/{name}/audit")


async def make_link(visit: Visit) -> web.Response:
    name, form = sink_name(visit), visit.form
    sink = await visit.get(f"/sinks/{name}")
    asked = {"label": form.get("label", ""), "expires_in": form.get("expires_in", "7d")}
    try:
        made = await visit.post(f"/sinks/{name}/links", asked)
    except Refused as refusal:
        found = await visit.get(f"/sinks/{name}/links")
        return visit.page("sinks_links.html", sink=sink, links=found["links"], problem=refusal.detail, here="Links",
                          lasts=LASTS, http_status=refusal.status)  # fmt: skip
    # The API would name the address by which the console asks it.
    link = f"{visit.site.address(visit.request)}/links/{name}/{made['token']}"
    return visit.page("sinks_link.html", sink=sink, made=made, link=link, here="Links")


async def revoke_link(visit: Visit) -> web.Response:
    name, id = sink_name(visit), visit.form.get("id", "")
    if not (id.isascii() and id.isalnum()):
        raise RequestError(404, "Not found", f"There is no link {id[:100]!r}.")
    await visit.delete(f"/sinks/{name}/links/{id}")
    return visit.redirect(f"/ui/sinks/{name}/links")


ROUTES = (
    Route("GET", "/ui/sinks/{name}/ask", ask),
    Route("POST", "/ui/sinks/{name}/pause", pause),
    Route("POST", "/ui/sinks/{name}/resume", resume),
    Route("POST", "/ui/sinks/{name}/test", test),
    Route("POST", "/ui/sinks/{name}/rotate", rotate),
    Route("POST", "/ui/sinks/{name}/delete", delete),
    Route("POST", "/ui/sinks/{name}/resend", resend),
    Route("POST", "/ui/sinks/{name}/skip", skip),
    Route("POST", "/ui/sinks/{name}/replay", replay),
    Route("POST", "/ui/sinks/{name}/replay/cancel", cancel_replay),
    Route("POST", "/ui/sinks/{name}/audit", start_audit),
    Route("POST", "/ui/sinks/{name}/audit/cancel", cancel_audit),
    Route("POST", "/ui/sinks/{name}/links", make_link),
    Route("POST", "/ui/sinks/{name}/links/revoke", revoke_link),
)
