"""Making a sink, and changing one, by a form: checked, shown as a difference, and saved."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from typing import Any

from aiohttp import web

from adapter.console.attempt_chart import PARTS, WIDTH
from adapter.console.frame import Route
from adapter.console.named import sink_name
from adapter.console.sink_actions import CAME_TO, etag, test_bar, version_of
from adapter.console.sink_form import AUTHS, BELOW, CHOSEN, FORMATS, SIGNATURES, fill, read
from adapter.console.visit import Refused, Visit
from adapter.errors import RequestError
from adapter.sink_management.written import difference

#: What is said of a setting that stands in the further ones.
_AS_BELOW = (BELOW, "as the further settings say")
_FORMATS = [*((name, name) for name in FORMATS), _AS_BELOW]
#: What the values of a choice mean to people, where they do not say it themselves.
_MEANINGS = {
    ("attempts", "failures"): "those that failed",
    ("on_4xx", "retry"): "is tried again",
    ("on_4xx", "dead"): "gives the event up",
    ("on_4xx", "hold"): "holds the sink",
    ("order_by", ""): "nothing: unordered",
    ("when_dead", "block"): "the others wait",
    ("when_dead", "skip"): "the others go on",
    ("revisions", "none"): "are not sent",
    ("revisions", "send"): "are sent, too",
}
_CHOICES = {
    name: [*((word, _MEANINGS.get((name, word), word)) for word in words), _AS_BELOW] for name, words in CHOSEN.items()
}


async def new(visit: Visit) -> web.Response:
    fields = {**fill({}), "name": visit.request.query.get("name", ""), "from": "now"}
    visit.command("idp-adapter sinks create NAME --to https://HOST/PATH")
    return _form(visit, None, fields)


async def edit(visit: Visit) -> web.Response:
    sink = await visit.get(f"/sinks/{sink_name(visit)}")
    _refuse_settings(sink)
    visit.command(f"idp-adapter sinks change {sink['name']} --set KEY=VALUE")
    return _form(visit, sink, {**fill(sink["settings"]), "name": sink["name"], "version": version_of(sink)})


async def save_new(visit: Visit) -> web.Response:
    """Check a new sink, or make it, if it is what was checked."""
    fields = _fields(visit)
    name = fields.get("name", "").strip()
    try:
        settings = {"name": name, **read(fields, None)}
        if fields.get("step") != "save" or fields.get("checked") != _digest(settings):
            return await _checked(visit, None, fields, settings)
        made = await visit.post("/sinks", settings, {"paused": "1" if fields.get("paused") else "0"})
    except (Refused, ValueError) as error:
        return _form(visit, None, fields, problem=error)
    return _made(visit, made, is_new=True)


async def save(visit: Visit) -> web.Response:
    """Check a change of a sink, or make it, if it is what was checked; of one that has changed since, say how."""
    fields, name = _fields(visit), sink_name(visit)
    sink = await visit.get(f"/sinks/{name}")
    _refuse_settings(sink)
    seen = fields.get("version", "")
    try:
        settings = {"name": name, **read(fields, sink["settings"])}
        if fields.get("step") != "save" or fields.get("checked") != _digest(settings) or seen != version_of(sink):
            fields = {**fields, "version": version_of(sink)}
            return await _checked(visit, sink, fields, settings, has_changed=seen != version_of(sink))
        made = await visit.put(f"/sinks/{name}", settings, match=etag(seen))
    except (Refused, ValueError) as error:
        return _form(visit, sink, fields, problem=error)
    if made["secret"] or made["warnings"]:
        return _made(visit, made, is_new=False)
    return visit.redirect(f"/ui/sinks/{name}")


async def _checked(
    visit: Visit,
    sink: Mapping[str, Any] | None,
    fields: Mapping[str, str],
    settings: Mapping[str, Any],
    *,
    has_changed: bool = False,
) -> web.Response:
    """The form with what would change. ``has_changed``: somebody has changed the sink since the form was made."""
    send = "1" if fields.get("send") else "0"
    found = await visit.post("/sinks/check", settings, {"send": send})
    if sink is None:
        lines = difference(None, {"name": settings["name"], "settings": found["settings"]})
    else:
        after = await visit.put(f"/sinks/{sink['name']}", settings, {"dry_run": "1"})
        lines = difference(sink, after)
    checked = {"lines": lines, "warnings": found["warnings"], "test": found["test"], "bar": test_bar(found["test"])}
    fields = {**fields, "checked": _digest(settings)}
    return _form(visit, sink, fields, checked=checked, has_changed=has_changed)


def _form(
    visit: Visit,
    sink: Mapping[str, Any] | None,
    fields: Mapping[str, str],
    *,
    problem: Exception | None = None,
    checked: Mapping[str, Any] | None = None,
    has_changed: bool = False,
) -> web.Response:
    """The form, as it was filled in; ``problem``: why it was not taken."""
    told = problem.detail if isinstance(problem, Refused) else None if problem is None else str(problem)
    status = problem.status if isinstance(problem, Refused) else 400 if problem is not None else 200
    return visit.page(
        "sinks_form.html", sink=sink, fields=_Fields(fields), problem=told, checked=checked, has_changed=has_changed,
        format_choices=_FORMATS, signatures=SIGNATURES, auths=AUTHS, choices=_CHOICES, came_to=CAME_TO, width=WIDTH,
        phases=PARTS, http_status=status, here="Settings",
    )  # fmt: skip


def _made(visit: Visit, made: Mapping[str, Any], *, is_new: bool) -> web.Response:
    if is_new and not made["secret"] and not made["warnings"]:
        return visit.redirect(f"/ui/sinks/{made['name']}")
    return visit.page("sinks_secret.html", sink=made, secret=made["secret"], warnings=made["warnings"], is_new=is_new,
                      here="")  # fmt: skip


def _digest(settings: Mapping[str, Any]) -> str:
    """By what settings are known that were checked: others are not saved by a button beside those."""
    return hashlib.sha256(json.dumps(settings, sort_keys=True).encode("utf-8", "surrogatepass")).hexdigest()


def _fields(visit: Visit) -> dict[str, str]:
    return {name: value for name, value in visit.form.items() if name != "csrf"}


class _Fields(dict[str, str]):
    """Fields of a form, of which those that were not sent are empty."""

    def __missing__(self, name: str) -> str:
        return ""


def _refuse_settings(sink: Mapping[str, Any]) -> None:
    """
    Raises:
        RequestError: 409, it is not changed here.
    """
    if sink["managed"] != "api":
        detail = f"The sink {sink['name']!r} stands in adapter.toml; change it there, and reload."
        raise RequestError(409, "Of the settings", detail)


#: No name of a sink has a dot.
ROUTES = (
    Route("GET", "/ui/sinks/.new", new),
    Route("POST", "/ui/sinks/.new", save_new),
    Route("GET", "/ui/sinks/{name}/edit", edit),
    Route("POST", "/ui/sinks/{name}/edit", save),
)
