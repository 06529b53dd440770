"""What is taken of a sink that is made while the service runs: settings as in ``adapter.toml``, without anything of the
machine on which it runs."""

from __future__ import annotations

import asyncio
import base64
import re
import secrets
import socket
from collections.abc import Iterator, Mapping, Sequence
from ipaddress import ip_address
from pathlib import Path
from typing import Any

from pydantic import BaseModel, SecretStr, ValidationError
from yarl import URL

from adapter.errors import Blocked, ConfigError, RequestError, public_text
from adapter.filter import Filter
from adapter.hints import Hints
from adapter.mapping.catalogue import Catalogue
from adapter.outgoing.guard import AddressRefused, Guard
from adapter.section import keys, read_http_url
from adapter.sink_management.stored import KEPT, StoredSink, given_of, has_secret
from adapter.sinks.settings import KINDS, SinkSettings, read_sink_settings

#: Seconds within which a name has to be looked up, for a warning.
LOOKUP = 2.0
#: The settings of a proxy: it connects without a look at the address, so who may make sinks could reach any.
_PROXY = ("proxy", "proxy_user", "proxy_password", "no_proxy")
_AS_TEXT = ("ca_file", "certificate_file", "key_file")
_NO_PROXY = "a proxy is set in adapter.toml alone, as the address behind it is not checked here"
_PLAIN_KEY = (
    "give tls.key as it is, not encrypted: it is sealed here, and how long opening one takes is its maker's choice"
)
_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9_-]{0,63}")


def kinds() -> list[str]:
    """The kinds of sinks that may be made while the service runs."""
    return [name for name in KINDS.names() if _model(name).by_api]


def check_name(name: Any) -> str:
    """The name of a sink.

    Raises:
        RequestError: 400, it is none.
    """
    if not isinstance(name, str) or not _NAME.fullmatch(name):
        raise refused([("name", "begins with a letter or digit, and has up to 64 of A-Z, a-z, 0-9, _ and -")])
    return name


def read_given(given: Mapping[str, Any], name: str, stored: StoredSink | None) -> tuple[SinkSettings, str | None]:
    """The settings that are asked for. What is ``null`` is left out; `KEPT` stands for the secret that is stored there.
    ``secret`` that is not said at all stays, as a new sink that could have one, and says nothing of it, gets one: that
    comes back beside the settings. Nothing else that is not said stays.

    Raises:
        RequestError: 400, they are wrong; each line says where, what is wrong and what would be right.
    """
    kind = given.get("kind", stored.kind if stored is not None else None)
    if kind not in kinds():
        local = kind in KINDS.names()
        why = (
            "writes on the service's own machine, so it is made in adapter.toml alone" if local else "there is no such"
        )
        raise refused([("kind", f"{why}; there are: {', '.join(kinds())}")])
    model = _model(kind)
    if wrong := [*_of_machine(given, model)]:
        raise refused(wrong)
    values: dict[str, Any] = {key: one for key, one in given.items() if one is not None}
    if stored is not None and stored.problem is None and stored.kind == kind:
        kept: Mapping[str, Any] = stored.given
        if "secret" in kept and "secret" not in given and _goes_by_secret(given):
            values["secret"] = kept["secret"]
    else:
        kept = {}
    values = {key: _with_kept(one, kept.get(key), key) for key, one in values.items()}
    if has_secret(values.get("auth")) and _receivers(kept) != _receivers(values):
        raise refused([("auth", "its secrets were given for another host; say them again, or null")])
    made: str | None = None
    if stored is None and "secret" in model.model_fields and "secret" not in given and _goes_by_secret(given):
        made = make_secret()
        values["secret"] = [SecretStr(made)]
    return _validated({**values, "name": name, "kind": kind}), made


def _receivers(given: Mapping[str, Any]) -> list[Any]:
    """Where the secrets of ``auth`` are sent."""
    auth = given.get("auth")
    return [_origin(given.get("url")), _origin(auth.get("token_url") if isinstance(auth, Mapping) else None)]


def _origin(text: Any) -> Any:
    try:
        return str(URL(text).origin()) if isinstance(text, str) else text
    except ValueError:
        return text


def patched(given: Mapping[str, Any], patch: Mapping[str, Any]) -> dict[str, Any]:
    """What was given, changed as a merge patch (RFC 7396) says: members replace those of their name, ``null`` takes
    them out."""
    after: dict[str, Any] = dict(given)
    for name, one in patch.items():
        before = after.get(name)
        if one is None:
            after[name] = None  # said to be left out
        elif isinstance(one, Mapping):
            inner = patched(before if isinstance(before, Mapping) else {}, one)
            after[name] = {key: value for key, value in inner.items() if value is not None}
        else:
            after[name] = one
    return after


def check_signature(settings: SinkSettings, stored: StoredSink | None, *, may_know: bool) -> None:
    """Whether a caller may have posts signed like that: a token of the service's own key says that its issuer sent a
    post, and who receives it may believe tokens of that realm. So only who may do everything (``may_know``) says which
    issuer and audience it names, and where it goes.

    Raises:
        RequestError: 403, that is not for this caller.
    """
    signatures = getattr(settings, "signature", ())
    if may_know or not any(getattr(one, "kind", None) == "phasetwo-bearer" for one in signatures):
        return
    given = given_of(settings)
    if stored is not None and all(stored.given.get(name) == given.get(name) for name in ("signature", "url")):
        return
    raise RequestError(
        403,
        "Forbidden",
        "signature: phasetwo-bearer names an issuer that receivers believe; only the administrator sets it, and the "
        "url of a sink that has it",
        parameter="signature",
    )


def secrets_said(given: Mapping[str, Any]) -> list[str]:
    """The settings in which secrets are said anew: their texts are not `KEPT`."""
    held = [name for name in ("secret", "auth", "signature", "privacy", "tls") if name in given]
    return [name for name in held if _says_anew(given[name])]


def _says_anew(value: Any) -> bool:
    match value:
        case Mapping():
            return any(map(_says_anew, value.values()))
        case list():
            return any(map(_says_anew, value))
    return isinstance(value, str) and value != KEPT


def said_in_vain(settings: SinkSettings, stored: StoredSink | None) -> list[str]:
    """What is said of a sink and has no effect on it."""
    if stored is None or stored.given.get("from") == given_of(settings).get("from"):
        return []
    return [
        "from: counts when a sink is first seen, and this one has its place already; to send it what came before, "
        f"replay that: POST /sinks/{settings.name}/replay with status never"
    ]


def make_secret() -> str:
    """A new secret, of the form of Standard Webhooks."""
    return f"whsec_{base64.b64encode(secrets.token_bytes(32)).decode()}"


def check_filter(settings: SinkSettings, catalogue: Catalogue, hints: Hints) -> list[str]:
    """What in the filter looks like a slip.

    Raises:
        RequestError: 400, it is none.
    """
    try:
        filter = Filter.from_settings(settings.filter, catalogue, "filter")
    except ConfigError as error:
        raise RequestError(400, "Bad sink", str(error), errors=[str(error)]) from None
    return [f"filter: {hint}" for hint in hints.of(filter.terms)]


async def check_address(settings: SinkSettings, guard: Guard, *, may_know: bool) -> list[str]:
    """Whether it may be sent to the sink's address: what is no public address is refused at once, and of a name that
    stands for one now, it is said. What counts is what is found at each connection. ``may_know``: the caller may be
    told which setting allows it.

    Raises:
        RequestError: 400, the address is refused.
    """
    text = getattr(settings, "url", None)
    if not isinstance(text, str):
        return []
    url = read_http_url(text, text)
    host, port = (url.raw_host or "").strip("[]"), url.port or 0
    try:
        guard.check_url(url)
        try:
            ip_address(host.partition("%")[0])
        except ValueError:
            pass
        else:
            guard.check(host, port, host)
            return []
    except AddressRefused as refusal:
        why = str(Blocked(str(refusal)))
        raise refused([("url", why if may_know else public_text(why))]) from None
    try:
        async with asyncio.timeout(LOOKUP):
            found = await asyncio.get_running_loop().getaddrinfo(host, None, type=socket.SOCK_STREAM)
    except (OSError, TimeoutError, UnicodeError):
        return [f"url: {host} cannot be looked up now"]
    for address in sorted({str(one[4][0]) for one in found}):
        try:
            guard.check(address, port, host)
        except AddressRefused as refusal:
            why = str(Blocked(str(refusal)))
            return [f"url: {host}: {why if may_know else public_text(why)}"]
    return []


def refused(wrong: Sequence[tuple[str, str]]) -> RequestError:
    """What to raise for places and what is wrong there."""
    lines = [f"{place}: {what}" if place else what for place, what in wrong]
    return RequestError(400, "Bad sink", "\n".join(lines), errors=lines)


def _model(kind: str) -> type[SinkSettings]:
    model: type[SinkSettings] = KINDS.load(kind).Settings
    return model


def _goes_by_secret(given: Mapping[str, Any]) -> bool:
    """Whether its signature is one that the setting ``secret`` is for."""
    return given.get("signature") in (None, "standard", "phasetwo-sha256", "phasetwo-sha1")


def _of_machine(given: Mapping[str, Any], model: type[SinkSettings]) -> Iterator[tuple[str, str]]:
    """Settings that name something of the service's machine, or that lead past the guard."""
    for name, one in given.items():
        if one is None:
            continue
        if name == "auth" and isinstance(one, Mapping):
            yield from ((f"auth.{inner}", _NO_PROXY) for inner in _PROXY if one.get(inner) is not None)
            if one.get("key_password") is not None:
                yield "auth.key_password", _PLAIN_KEY
        if name == "key_password":
            yield name, _PLAIN_KEY
            continue
        field = model.model_fields.get(name)
        if name in _PROXY and field is not None:
            yield name, _NO_PROXY
        elif field is not None and "Path" in str(field.annotation):
            instead = f"; give its PEM as tls.{name.removesuffix('_file')}" if name in _AS_TEXT else ""
            yield (
                name,
                f"names a file of the service's machine; a sink with such settings is made in adapter.toml{instead}",
            )
        else:
            yield from _files(name, one, model if field is None else None)


def _files(place: str, value: Any, model: type[SinkSettings] | None) -> Iterator[tuple[str, str]]:
    last = place.rpartition(".")[2]
    if last.endswith("_file"):
        instead = last.removesuffix("_file")
        say = f"; say {instead} itself" if model is not None and instead in keys(model) else ""
        yield place, f"secrets are not read from files of the service's machine here{say}"
    if place == "filter":
        return
    if isinstance(value, Mapping):
        for name, one in value.items():
            yield from _files(f"{place}.{name}", one, None)
    elif isinstance(value, list):
        for number, one in enumerate(value, 1):
            yield from _files(f"{place}[{number}]", one, None)


def _has_path(value: Any) -> bool:
    """Whether something that was said, wherever it stands, is a path."""
    match value:
        case Path():
            return True
        case BaseModel():
            return any(_has_path(getattr(value, name)) for name in value.model_fields_set)
        case Mapping():
            return any(map(_has_path, value.values()))
        case list() | tuple():
            return any(map(_has_path, value))
    return False


def _with_kept(value: Any, kept: Any, place: str) -> Any:
    """A value with the secrets that are stored in the place of `KEPT`.

    Raises:
        RequestError: 400, there is none.
    """
    if value == KEPT:
        if isinstance(kept, SecretStr) or has_secret(kept):
            return kept
        raise refused([(place, f"{KEPT} stands for a secret that is stored here, and there is none; say it")])
    if isinstance(value, Mapping):
        inner = kept if isinstance(kept, Mapping) else {}
        return {name: _with_kept(one, inner.get(name), f"{place}.{name}") for name, one in value.items()}
    if isinstance(value, list):
        row = kept if isinstance(kept, list | tuple) else ()
        return [
            _with_kept(one, row[number] if number < len(row) else None, f"{place}[{number + 1}]")
            for number, one in enumerate(value)
        ]
    return value


def _validated(values: dict[str, Any]) -> SinkSettings:
    try:
        settings = read_sink_settings(values)
        if _has_path(settings):
            raise refused(
                [("", "a setting names a file of the service's machine; such a sink is made in adapter.toml")]
            )
        return settings
    except ValidationError as error:
        found = error.errors(include_input=False, include_context=False, include_url=False)
        raise refused([(_place(one["loc"]), one["msg"].removeprefix("Value error, ")) for one in found]) from None
    except ValueError as error:
        raise refused([("", str(error))]) from None


def _place(location: Sequence[int | str]) -> str:
    """``filter.type[1]``, counted from 1 as people count."""
    text = ""
    for part in location:
        if isinstance(part, int):
            text += f"[{part + 1}]"
        elif not part.startswith("function-"):
            text += f".{part}" if text else part
    return text
