"""The form of a sink: its settings as fields, and fields as settings.

What people set most has a field of its own. All else stands in one text, as in ``adapter.toml``, so that no setting is
lost in the form, and each that there is can be made there.
"""

from __future__ import annotations

import tomllib
from collections.abc import Mapping, Sequence
from math import isfinite
from typing import Any

from adapter.sink_management.stored import KEPT
from adapter.sink_management.written import as_toml

#: What `format`, `signature` and `auth` are where they stand in the text.
BELOW = "below"
FORMATS = ("unified", "phasetwo", "keycloak", "cloudevents")
SIGNATURES = (("", "Standard Webhooks, if there is a secret"), ("phasetwo-sha256", "Phase Two's, HmacSHA256"),
              ("phasetwo-sha1", "Phase Two's, HmacSHA1"), (BELOW, "as the further settings say"))  # fmt: skip
AUTHS = (("", "none but the signature"), ("basic", "basic: user and password"), ("bearer", "bearer token"),
         (BELOW, "as the further settings say (headers, OAuth2)"))  # fmt: skip
#: Settings that are one text or number, each a field, and whether it is a number.
_PLAIN = {"url": str, "rate": float, "catch_up": float, "window": int, "timeout": float, "disable_after": str}
#: Those that are chosen, what is meant where nothing is chosen, and the others.
CHOSEN = {
    "attempts": ("failures", "all", "none"),
    "on_4xx": ("retry", "dead", "hold"),
    "order_by": ("", "user", "session", "realm"),
    "when_dead": ("block", "skip"),
    "revisions": ("none", "send"),
    "compress": ("none", "gzip"),
}
_BATCH = {"entries": int, "wait": float}
#: Settings that have a field of the same name.
_OWN = (*_PLAIN, *CHOSEN, "format", "signature", "auth", "filter", "from", "names")


def fill(settings: Mapping[str, Any]) -> dict[str, str]:
    """The fields for a sink's settings, as the API shows them."""
    left = {key: value for key, value in settings.items() if key not in ("name", "kind", "secret")}
    fields = dict.fromkeys((*_PLAIN, "from", "user", "password", "token", "secret", "secret_is", "names"), "")
    fields |= {"batch_entries": "", "batch_wait": "", "batch_as": "json"}
    fields["filter"] = filter_lines(left.pop("filter", {}))
    for name in _PLAIN:
        if isinstance(left.get(name), str | int | float):
            fields[name] = _written(left.pop(name))
    for name, words in CHOSEN.items():
        fields[name] = left.pop(name) if left.get(name) in words else BELOW if name in left else words[0]
    if isinstance(left.get("from"), str):
        fields["from"] = left.pop("from")
    if left.pop("names", False):
        fields["names"] = "1"
    fields["format"] = BELOW if "format" in left else FORMATS[0]
    if left.get("format") in FORMATS:
        fields["format"] = left.pop("format")
    named = [word for word, _ in SIGNATURES]
    said = left.get("signature")
    said = said[0] if isinstance(said, list) and len(said) == 1 else said
    if said in (None, "standard", *named[1:3]):
        left.pop("signature", None)
        fields["signature"] = said if said in named[1:3] else ""
    else:
        fields["signature"] = BELOW
    fields |= _fill_auth(left) | _fill_batch(left)
    fields["further"] = "\n".join(as_toml(left)[1:])
    return fields


def _fill_auth(left: dict[str, Any]) -> dict[str, str]:
    auth = left.get("auth")
    if auth is None:
        return {"auth": ""}
    if isinstance(auth, Mapping) and auth.get("kind") in ("basic", "bearer"):
        known = {"basic": {"kind", "user", "password"}, "bearer": {"kind", "token"}}[auth["kind"]]
        if set(auth) <= known:
            del left["auth"]
            return {"auth": auth["kind"], "user": str(auth.get("user", ""))}
    return {"auth": BELOW}


def _fill_batch(left: dict[str, Any]) -> dict[str, str]:
    batch = left.get("batch")
    if not isinstance(batch, Mapping) or not set(batch) <= {*_BATCH, "as"} or not set(batch) & set(_BATCH):
        return {}
    del left["batch"]
    return {f"batch_{name}": _written(value) for name, value in batch.items()}


def read(fields: Mapping[str, str], before: Mapping[str, Any] | None) -> dict[str, Any]:
    """The settings that a form asks for, as the API takes them; ``before``: those of the sink that it changes. A secret
    that is left empty stays as it is.

    Raises:
        ValueError: a field is none; says which, and what would be right.
    """
    try:
        settings: dict[str, Any] = tomllib.loads(fields.get("further", ""))
    except tomllib.TOMLDecodeError as error:
        raise ValueError(f"Further settings: this is not TOML: {error}") from None
    settings = _plain(settings)
    said = sorted(settings)
    settings["kind"] = "webhook"
    filter = read_filter(fields.get("filter", ""))
    if filter:
        settings["filter"] = filter
    for name, kind in _PLAIN.items():
        if text := fields.get(name, "").strip():
            settings[name] = _number(name, text, kind) if kind is not str else text
    for name, words in CHOSEN.items():
        if (word := fields.get(name, "")) not in ("", BELOW) and (word != words[0] or name in (before or {})):
            settings[name] = word
    if (text := fields.get("from", "").strip()) and (before is None or "from" in before or text != "now"):
        settings["from"] = text
    if fields.get("names"):
        settings["names"] = True
    if (word := fields.get("format", "")) != BELOW and (word != FORMATS[0] or "format" in (before or {})):
        settings["format"] = word or FORMATS[0]
    if (word := fields.get("signature", "")) not in ("", BELOW):
        settings["signature"] = word
    elif not word and (before or {}).get("signature") in ("standard", ["standard"]):
        settings["signature"] = (before or {})["signature"]
    _read_secret(fields, settings, before)
    _read_auth(fields, settings, before)
    batch = {name: _number(f"batch_{name}", text, kind) for name, kind in _BATCH.items()
             if (text := fields.get(f"batch_{name}", "").strip())}  # fmt: skip
    if batch:
        word, was = fields.get("batch_as") or "json", (before or {}).get("batch") or {}
        settings["batch"] = {**batch, **({"as": word} if word != "json" or "as" in was else {})}
    own = {name for name in _OWN if fields.get(name, "") not in ("", BELOW)} | ({"batch"} if batch else set())
    if twice := [name for name in said if name in own or name in ("name", "kind", "secret")]:
        raise ValueError(f"Further settings: {', '.join(twice)} is said in a field of its own, too; say it once")
    return settings


def _read_secret(fields: Mapping[str, str], settings: dict[str, Any], before: Mapping[str, Any] | None) -> None:
    match fields.get("secret_is", ""):
        case "none":
            settings["secret"] = None
        case "said":
            if not (text := fields.get("secret", "").strip()):
                raise ValueError("Secret: none is written; write the receiver's, or have one made")
            settings["secret"] = text
        case _ if before is not None and "secret" in before:
            settings["secret"] = before["secret"]


def _read_auth(fields: Mapping[str, str], settings: dict[str, Any], before: Mapping[str, Any] | None) -> None:
    kind = fields.get("auth", "")
    was = (before or {}).get("auth")
    kept = isinstance(was, Mapping) and was.get("kind") == kind
    match kind:
        case "basic":
            password = fields.get("password", "") or (KEPT if kept else "")
            settings["auth"] = {"kind": "basic", "user": fields.get("user", ""), "password": password}
        case "bearer":
            settings["auth"] = {"kind": "bearer", "token": fields.get("token", "") or (KEPT if kept else "")}


def read_filter(text: str) -> dict[str, list[str]]:
    """A filter, as people write it: a line ``FIELD=VALUE`` for each value.

    Raises:
        ValueError: a line is none.
    """
    found: dict[str, list[str]] = {}
    for number, line in enumerate(text.splitlines(), 1):
        if not line.strip():
            continue
        name, equals, value = line.partition("=")
        if not equals or not name.strip() or not value.strip():
            raise ValueError(f"Filter, line {number}: write FIELD=VALUE, such as type=access.*_ERROR")
        found.setdefault(name.strip(), []).append(value.strip())
    return found


def filter_lines(filter: Mapping[str, str | Sequence[str]]) -> str:
    """The same the other way round."""
    pairs = [(name, [values] if isinstance(values, str) else values) for name, values in filter.items()]
    return "\n".join(f"{name}={value}" for name, values in pairs for value in values)


def _number(name: str, text: str, kind: type) -> int | float:
    try:
        value: int | float = kind(text)
        if not isfinite(value):
            raise ValueError
    except ValueError:
        raise ValueError(f"{name}: {text[:40]!r} is no number") from None
    return int(value) if value == int(value) else value


def _written(value: str | int | float) -> str:
    return repr(value).removesuffix(".0") if isinstance(value, float) else str(value)


def _plain(value: Any) -> Any:
    """What TOML has and JSON has not, as text."""
    match value:
        case dict():
            return {key: _plain(one) for key, one in value.items()}
        case list():
            return [_plain(one) for one in value]
        case str() | int() | float() | bool():
            return value
    return value.isoformat()
