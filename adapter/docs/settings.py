"""``settings.md``: every setting, from the settings' own models."""

from __future__ import annotations

from datetime import timedelta
from importlib import import_module
from ipaddress import IPv4Network, IPv6Network
from pathlib import Path
from typing import Any, get_args, get_origin, get_type_hints

from pydantic import AwareDatetime, BaseModel, SecretStr
from pydantic.fields import FieldInfo
from pydantic_core import PydanticUndefined

from adapter.docs.markdown import code, sentence, table, type_words
from adapter.formats.settings import FormatSettings, format_names, read_format_settings
from adapter.outgoing.settings import TlsSettings
from adapter.section import Section
from adapter.settings import PREFIX, KeepTypes, Settings
from adapter.sinks import credentials, signing
from adapter.sinks import settings as sinks
from adapter.sinks.credentials import Auth
from adapter.sinks.settings import RETRY, SinkSettings
from adapter.sinks.signing import BearerSignature, HmacSignature, StandardSignature, TimedSecret
from adapter.sources import settings as sources
from adapter.sources.settings import SourceSettings

_KNOWN = {
    str: "text",
    int: "whole number",
    float: "number",
    bool: "`true` or `false`",
    Path: "path",
    SecretStr: "secret",
    IPv4Network: "network (CIDR)",
    IPv6Network: "network (CIDR)",
    AwareDatetime: "time",
    FormatSettings: "[format](#formats)",
    TimedSecret: "table with `secret` and `until` (time)",
    StandardSignature: "[signature](#signatures)",
    HmacSignature: "[signature](#signatures)",
    BearerSignature: "[signature](#signatures)",
    Auth: "[authentication](#authentication)",
    TlsSettings: "table with `ca`, `certificate` and `key` (secrets: PEM)",
    KeepTypes: "table with `type` (list: text) and `keep` (text)",
}

_INTRODUCTION = f"""\
# Settings

Settings stand in `adapter.toml`, or in the file that `--config` or the variable `{PREFIX}CONFIG` names. Without any,
the service runs. Every key is also an environment variable, which counts before the file: the key `port` of the section
`[server]` is `{PREFIX}SERVER__PORT`. Lists and tables are written as JSON there:
`{PREFIX}SOURCES='[{{"name": "shop", "provider": "keycloak"}}]'`. What the command line says counts before both.

Each secret may also stand in a file of its own: `token_file = "/run/secrets/token"` in the place of `token`
(`{PREFIX}AUTH__ADMIN_TOKEN_FILE` in the environment). The line break at its end does not count; where several secrets
may stand, each line is one. A wrong or unknown setting ends the start with a message that names its place and what is
right. Settings are read at the start, and again by [`idp-adapter reload`](operate.md#changed-settings), which
closes no port.

"""

#: Repeatable sections: what stands above their tables.
_SEVERAL = {"keys", "oidc", "sources", "sinks"}
#: Of these, those that have kinds with settings of their own.
_OF_KINDS = {"sources", "sinks"}


def settings_page() -> str:
    """The page."""
    parts = [_INTRODUCTION]
    for name, field in Settings.model_fields.items():
        if name in _OF_KINDS:
            parts.append(_several_kinds(name))
            parts += [_formats(), _signatures(), _authentication()] if name == "sinks" else []
            continue
        model = _section(field)
        title = f"[[{name}]]" if name in _SEVERAL else f"[{name}]"
        parts.append(f"## `{title}`\n\n{_told(model)}\n\n{_table(model, model.model_fields)}\n")
    return "".join(parts)


def fields() -> list[tuple[str, str]]:
    """Every setting there is: section (``sinks.webhook`` for the fields of a kind), key."""
    found = []
    for name, field in Settings.model_fields.items():
        if name in _OF_KINDS:
            general, kinds = _kinds_of(name)
            found += [(name, _key(one, info)) for one, info in general.model_fields.items()]
            parts = {name: section for model in (general, *kinds.values()) for name, section in _parts(model).items()}
            found += [(f"{name}.{kind}", key) for kind, model in kinds.items() for key in _own(model, general)]
            found += [
                (f"{name}.{part}", _key(one, info))
                for part, section in parts.items()
                for one, info in section.model_fields.items()
            ]
        if name == "sinks":
            found += [(f"formats.{one}", key) for one in format_names() for key in _own(_format(one), FormatSettings)]
            others: dict[str, type[Section]] = {**signing.MODELS, **credentials.MODELS}
            found += [(kind, key) for kind, model in others.items() for key in model.model_fields]
        elif name not in _OF_KINDS:
            model = _section(field)
            found += [(name, _key(one, info)) for one, info in model.model_fields.items()]
    return found


def _kinds_of(section: str) -> tuple[type[Section], dict[str, type[Section]]]:
    """The model of what every kind of sinks or sources has, and that of each kind."""
    general: type[Section] = SinkSettings if section == "sinks" else SourceSettings
    found = (sinks if section == "sinks" else sources).KINDS.names()
    return general, {kind: import_module(f"adapter.{section}.{kind}").Settings for kind in found}


def _several_kinds(section: str) -> str:
    general, kinds = _kinds_of(section)
    text = f"## `[[{section}]]`\n\n{_told(general)}\n\n{_table(general, general.model_fields)}\n"
    text += _of_parts(section, _parts(general))
    for kind, model in kinds.items():
        text += f'### `kind = "{kind}"`\n\n{_introduced(model)} Besides:\n\n{_table(model, _own(model, general))}\n'
        text += _of_parts(section, {name: own for name, own in _parts(model).items() if name in _own(model, general)})
    return text


def _of_parts(section: str, parts: dict[str, type[Section]]) -> str:
    return "".join(
        f"#### `[{section}.{name}]`\n\n{_told(own)}\n\n{_table(own, _own(own, Section))}\n"
        for name, own in parts.items()
    )


def _parts(model: type[BaseModel]) -> dict[str, type[Section]]:
    """The fields of a kind that are sections themselves."""
    hints = {name: get_args(field.annotation) or (field.annotation,) for name, field in model.model_fields.items()}
    sections = {
        name: [one for one in found if isinstance(one, type) and issubclass(one, Section)]
        for name, found in hints.items()
    }
    return {name: found[0] for name, found in sections.items() if found and found[0] not in _KNOWN}


def _formats() -> str:
    """The formats, and the settings that some have."""
    rows = [
        (code(name), _introduced(_format(name)), ", ".join(map(code, _own(_format(name), FormatSettings))))
        for name in format_names()
    ]
    text = (
        '## Formats\n\nWhat events are written as: `format = "NAME"`, or a table of the name and the settings that '
        f'the format has, `format = {{ name = "NAME", … }}`.\n\n{table(["name", "what", "settings"], rows)}\n'
    )
    for name in format_names():
        model = _format(name)
        if own := _own(model, FormatSettings):
            text += f'### `format = {{ name = "{name}", … }}`\n\n{_table(model, own)}\n'
    return text


def _signatures() -> str:
    """The kinds of signatures."""
    text = (
        "## Signatures\n\nHow posts are signed: the name of one that goes by the sink's `secret`, or a table of its "
        'kind with settings of its own, `signature = ["standard", { kind = "phasetwo-sha256", secret = "…" }]`.\n\n'
    )
    for model in dict.fromkeys(signing.MODELS.values()):
        kinds = " or ".join(f'`kind = "{kind}"`' for kind, one in signing.MODELS.items() if one is model)
        text += f"### {kinds}\n\n{_told(model)}\n\n{_table(model, _without_kind(model))}\n"
    return text


def _authentication() -> str:
    """The kinds of authentication."""
    text = (
        "## Authentication\n\nWho we are to a receiver, beside signatures: a table, "
        '`auth = { kind = "bearer", token = "…" }`. Each kind may have `headers` besides.\n\n'
    )
    for kind, model in credentials.MODELS.items():
        text += f'### `kind = "{kind}"`\n\n{_told(model)}\n\n{_table(model, _without_kind(model))}\n'
    return text


def _without_kind(model: type[BaseModel]) -> dict[str, FieldInfo]:
    return {name: field for name, field in _own(model, Section).items() if name != "kind"}


def _format(name: str) -> type[FormatSettings]:
    return type(read_format_settings(name))


def _introduced(model: type[BaseModel]) -> str:
    """The first sentence of the file in which a model stands."""
    told = import_module(model.__module__).__doc__ or ""
    return sentence(told.partition("\n\n")[0].replace("\n", " ").replace("``", "`").strip())


def _own(model: type[BaseModel], general: type[BaseModel]) -> dict[str, FieldInfo]:
    """The fields of one kind that not every kind has; those first that no other model has either."""
    fields = {name: field for name, field in model.model_fields.items() if name not in general.model_fields}
    return dict(sorted(fields.items(), key=lambda one: one[0] not in model.__annotations__))


def _table(model: type[BaseModel], fields: dict[str, FieldInfo]) -> str:
    hints = get_type_hints(model, include_extras=True)
    rows = [
        (code(_key(name, field)), _type(hints[name], field), _default(field), sentence(field.description or ""))
        for name, field in fields.items()
    ]
    return table(["key", "what", "default", "meaning"], rows)


def _key(name: str, field: FieldInfo) -> str:
    return field.alias or name


def _type(hint: Any, field: FieldInfo) -> str:
    if any(isinstance(one, type) and issubclass(one, Section) and one not in _KNOWN for one in get_args(hint)):
        return "section"
    words = type_words(hint, _KNOWN)
    bounds = {
        name: getattr(one, name)
        for one in field.metadata
        for name in ("ge", "gt", "le")
        if getattr(one, name, None) is not None
    }
    if "ge" in bounds and "le" in bounds:
        return f"{words}, {bounds['ge']} to {bounds['le']}"
    if "ge" in bounds:
        return f"{words}, {bounds['ge']} or more"
    if "le" in bounds:
        return f"{words}, up to {bounds['le']:g}"
    return words


def _default(field: FieldInfo) -> str:
    value = field.get_default(call_default_factory=True, validated_data={})
    if value is PydanticUndefined:
        return "needed"
    if value == RETRY:
        return " ".join(code(_duration(one)) for one in RETRY)
    if value in (None, "", (), {}):
        return ""
    if isinstance(value, bool):
        return code(str(value).lower())
    if isinstance(value, frozenset | tuple):
        return ", ".join(code(one) for one in sorted(value))
    return code(value)


def _duration(seconds: float) -> str:
    whole = timedelta(seconds=seconds)
    hours, rest = divmod(int(whole.total_seconds()), 3600)
    return f"{hours} h" if hours else f"{rest // 60} min" if rest >= 60 else f"{rest} s"


def _told(model: type[BaseModel]) -> str:
    return (model.__doc__ or "").partition("\n\n")[0].replace("\n    ", " ").replace("``", "`")


def _section(field: FieldInfo) -> type[BaseModel]:
    hint = field.annotation
    model = get_args(hint)[0] if get_origin(hint) is tuple else hint
    assert isinstance(model, type) and issubclass(model, BaseModel)
    return model
