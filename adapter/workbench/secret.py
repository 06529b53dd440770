"""The redactions that a draft proposes for what stands under names that speak of secrets."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import orjson

from adapter.mapping.keyvalue import parse_keyvalue
from adapter.mapping.language import Redaction
from adapter.mapping.paths import escaped_key
from adapter.mapping.secret_names import speaks_of_secret

#: A value with one of these in it says of itself that it is made up.
MADE_UP = re.compile(r"(?i)hidden|redacted|example|dummy|fake|hunter|secret|sample|changeme|xxxx|\*\*\*")
#: Secrets by their form; the first group is the secret itself.
FORMS = {
    "a signed token": re.compile(r"\b(eyJ[\w-]{8,}\.eyJ[\w-]{8,}\.[\w-]{16,})"),
    "a bearer token": re.compile(r"(?i)\bbearer\s+([\w.~+/-]{16,}=*)"),
    "a private key": re.compile(r"-----BEGIN [A-Z ]*PRIVATE KEY-----(?:\\+n|\s)*([\w+/=]{16,})"),
    "an address with a token in it": re.compile(
        r"(?i)https?://[^\s\"'<>]*[?&#](?:[a-z_.-]*token|key|code|otp|ticket|secret|password|assertion|sig)="
        r"([\w.~%+/-]{12,})"
    ),
}


def holds_secret(text: str) -> bool:
    """Whether a text holds a secret, as its form tells."""
    return any(not MADE_UP.search(found[1]) for form in FORMS.values() for found in form.finditer(text))


def proposed_redactions(events: Sequence[Mapping[str, Any]]) -> list[Redaction]:
    """Redactions that take out of events like these what their names call secret, and what is one by its form."""
    found: dict[str, dict[str, str]] = {}
    for event in events:
        for key, value in event.items():
            if found.get(key) == {} or key.startswith("@"):
                continue
            if speaks_of_secret(key) or (isinstance(value, str) and holds_secret(value) and not _inside(value)):
                if _holds(value):
                    found[key] = {}
                continue
            for name in _secrets(value, in_text=True):
                found.setdefault(key, {}).setdefault(name.lower(), name)
    return [
        Redaction.model_validate({"in": escaped_key(key), "keys": [*names.values()]})
        for key, names in found.items()
        if key
    ]


def _secrets(value: Any, *, in_text: bool) -> Iterator[str]:
    """Names of the secrets in a value, in the texts too that a redaction looks into."""
    if isinstance(value, list):
        for one in value:
            yield from _secrets(one, in_text=in_text)
    elif isinstance(value, Mapping):
        for key, inner in value.items():
            if isinstance(inner, str) and holds_secret(inner):
                yield key
            elif not speaks_of_secret(key):
                yield from _secrets(inner, in_text=False)
            elif _holds(inner):
                yield key
    elif isinstance(value, str) and value.lstrip()[:1] in ("{", "["):
        try:
            yield from _secrets(orjson.loads(value), in_text=False)
        except orjson.JSONDecodeError:
            return
    elif isinstance(value, str) and in_text and "=" in value:
        yield from _secrets(parse_keyvalue(value), in_text=False)


def _inside(text: str) -> bool:
    """Whether all that is secret in a text has a name there, by which it is taken out."""
    return any(_secrets(text, in_text=True))


def _holds(value: Any) -> bool:
    """Whether there is anything to hide; yes and no are no secrets."""
    return value is not None and not isinstance(value, bool) and value not in ("", [], {})
