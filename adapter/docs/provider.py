"""``providers/NAME.md``: how to connect a provider and what becomes of its events, from its table."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from typing import Any

import orjson

from adapter.docs.markdown import code, either, plain, sentence, table
from adapter.mapping.body import JSON
from adapter.mapping.catalogue import ERROR, Catalogue
from adapter.mapping.families import PATTERN, is_family
from adapter.mapping.language import (
    UNBOUND,
    Condition,
    Credential,
    Framing,
    HeaderCredential,
    HmacCredential,
    Jwt,
    JwtCredential,
    PassThrough,
    Requirement,
    RowWords,
    Shape,
)
from adapter.mapping.rows import outcome_of_row, type_of_row
from adapter.mapping.shapes import merged_shapes
from adapter.mapping.table import Table
from adapter.workbench.examples import Example, outcome_of, read_examples

_URL = "http://127.0.0.1:8282"


def providers_page(tables: Iterable[Table]) -> str:
    """The page that leads to those of all providers."""
    lines = [f"- [{plain(one.mapping.title)}]({one.provider}.md)" for one in tables]
    return (
        "# Providers\n\nWhat there is a table for. Each page says how to connect the provider and what becomes of its "
        f"events.\n\n{chr(10).join(lines)}\n\nAnother one: [write-a-mapping.md](../write-a-mapping.md).\n"
    )


def provider_page(table: Table) -> str:
    """The page."""
    mapping = table.mapping
    shapes = merged_shapes(mapping)
    parts = [f"# {plain(mapping.title)}\n\n"]
    if mapping.note:
        parts.append(f"{sentence(plain(mapping.note.strip()))}\n\n")
    parts += [
        f"Table: [`mappings/{table.provider}/mapping.yaml`](../../mappings/{table.provider}/mapping.yaml), with an "
        f"example for every row in [`examples/`](../../mappings/{table.provider}/examples). The words it uses: "
        "[mapping-language.md](../mapping-language.md). What the unified types mean: "
        "[event-types.md](../event-types.md).\n\n",
        _connection(table),
        _bodies(mapping.body),
        _aliases(mapping.aliases),
        _example(table),
        _shapes(shapes),
        _identity(shapes),
        _redactions(table),
        _rows(table, shapes),
    ]
    return "".join(parts)


def curl_line(table: Table) -> str:
    """The command that posts the file ``event.json`` to a source that is named like the provider."""
    first = table.mapping.auth[0]
    credential = "--user any:TOKEN" if first == "basic" else "--header 'Authorization: Bearer TOKEN'"
    headers = f"{credential} --header 'Content-Type: {JSON}'"
    return f"curl {headers} \\\n  --data-binary @event.json {_URL}/ingest/{table.provider}"


def _connection(table: Table) -> str:
    text = (
        "## Connect it\n\n"
        f"Without any `[[sources]]` in the settings there is a source `{table.provider}`, and `idp-adapter serve` "
        f"prints its token. Post to `/ingest/{table.provider}`, or to the name of the source that you configure:\n\n"
        f'```toml\n[[sources]]\nname = "{table.provider}-prod"\nprovider = "{table.provider}"\ntoken = "TOKEN"\n```\n\n'
        f"```sh\n{curl_line(table)}\n```\n\nThe token proves the source in each of these ways; every credential that a "
        "request presents must hold:\n\n"
    )
    text += "".join(f"- {_credential(one)}\n" for one in table.mapping.auth)
    challenge = table.mapping.challenge
    if challenge is not None:
        text += (
            f"\nWhen the hook is registered, the provider asks by GET with the header `{challenge.header}`; the answer "
            f'is `{{"{challenge.answer}": "…"}}` with its value.\n'
        )
    return text + "\n"


def _credential(credential: Credential) -> str:
    match credential:
        case "bearer":
            return "bearer token: `Authorization: Bearer TOKEN`"
        case "basic":
            return "basic: any user name, the token as password"
        case HeaderCredential():
            return f"the token as the whole value of the header `{credential.header}`"
        case JwtCredential():
            return _signed_token(credential.jwt)
        case HmacCredential():
            rule = credential.hmac
            words = (
                f"HMAC with the token as key in the header `{rule.header}`: {either(rule.digest)}, {rule.encoding}, "
                f"over {'the body as it is sent' if rule.signs == '{body}' else code(rule.signs)}"
            )
            if rule.part is not None:
                words += f"; the part `{rule.part}=` of the header is the signature"
            if rule.prefix:
                words += f"; `{rule.prefix}` {'may stand' if rule.bare else 'stands'} before the signature"
            if rule.timestamp is not None:
                words += f"; signed at most {rule.timestamp.tolerance:g} seconds before or after the arrival"
            return words


def _signed_token(rule: Jwt) -> str:
    shared = [one for one in rule.algorithms if one.startswith("HS")]
    public = [one for one in rule.algorithms if one not in shared]
    keys = [f"the token ({either(shared)})"] if shared else []
    keys += [f"a private key, its public one under `public_keys` ({either(public)})"] if public else []
    bound = rule.body_hash
    return (
        f"a JSON Web Token in the header `{rule.header}`, signed with {' or '.join(keys)}, that has not run out"
        + (f", with the {bound.digest} of the body in its claim `{bound.claim}` ({bound.encoding})" if bound else "")
        + "".join(
            f", {word} {either(code(one) for one in ([allowed] if isinstance(allowed, str) else allowed))}"
            for word, allowed in (("for", rule.audience), ("from", rule.issuer))
            if allowed is not None
        )
        + ("" if bound else f". It {UNBOUND}")
    )


def _aliases(aliases: Mapping[str, str | list[str]]) -> str:
    if not aliases:
        return ""
    lines = "".join(f"- {code(key)} in {_path(paths)}\n" for key, paths in aliases.items())
    return f"An event that has one of these keys elsewhere is read as if it stood under the key:\n\n{lines}\n"


def _bodies(framings: Iterable[Framing]) -> str:
    text = (
        "### What a body may be\n\nOne event as a JSON object, a JSON list of events, or events one after another, "
        "with line ends (`application/x-ndjson`) or without; plain, or packed with gzip. They may come in what a "
        "[forwarder](../forwarders.md) wraps them in. Besides:\n\n"
    )
    rows = []
    for one in framings:
        if one.events is not None:
            condition = "" if one.when is None else f", known by {_condition(one.when)}"
            told = ", ".join(code(key) for key in one.answer)
            answer = f"; it is answered with 200 and {told}" if told else ""
            rows.append(f"- an envelope whose events stand in `{one.events}`{condition}{answer}")
        elif one.form is not None:
            rows.append(f"- `{one.media}`, the event in the field `{one.form}`")
        else:
            form = _LINES[one.lines] if isinstance(one.lines, str) else "its patterns say"
            rows.append(f"- `{one.media}`, one event a line as {form}{_passed_over(one.ignore)}")
    return text + "\n".join(rows) + "\n\n" if rows else text.replace("; plain", ": plain").replace(" Besides:", "")


_LINES = {"keyvalue": "`key=value` pairs", "logfmt": "`key=value` pairs (logfmt)", "json": "JSON"}


def _passed_over(ignored: Mapping[str, object]) -> str:
    """What is said of lines without an event, if this form says it of its media type."""
    if not ignored:
        return ""
    return f"; passed over and counted: {', '.join(plain(name) for name in ignored)}; all other lines are quarantined"


def _example(table: Table) -> str:
    plain_ones = [one.example for one in read_examples(table.folder) if _plain_event(one.example)]
    if not plain_ones:
        return ""
    logins = [one for one in plain_ones if one.expect[0].get("type") == "access.LOGIN"]
    example = (logins or plain_ones)[0]
    (event,) = outcome_of(table, example)
    return (
        f"### An event\n\nSave it as `event.json` for the command above ({plain(example.name)}):\n\n"
        f"```json\n{_json(example.raw)}\n```\n\nIt becomes, besides `uid` and the time of arrival:\n\n"
        f"```json\n{_json(event)}\n```\n\n"
    )


def _plain_event(example: Example) -> bool:
    return example.media == JSON and isinstance(example.raw, dict) and len(example.expect) == 1


def _shapes(shapes: dict[str, Shape]) -> str:
    text = "## How events are read\n\n"
    named = {name: shape for name, shape in shapes.items() if name}
    if len(named) > 1:
        rows = [(code(name), _condition(one.when) or "all others") for name, one in named.items()]
        text += f"The first form that fits reads the event.\n\n{table(['form', 'known by'], rows)}\n"
    for name, shape in named.items():
        if shape.each is not None:
            which = f"The form {code(name)}" if len(named) > 1 else "A record"
            text += f"{which} is one event for each element of `{shape.each}`.\n\n"
    fields: dict[str, dict[str, list[str]]] = {}
    for name, shape in shapes.items():
        for field, value in shape.fields.items():
            fields.setdefault(field, {}).setdefault(_value(value), []).append(name)
    if len(shapes) <= 4:
        rows = [
            (code(field), "; ".join(_for(words, names, len(shapes)) for words, names in values.items()))
            for field, values in fields.items()
        ]
        text += f"{table(['field', 'where it stands'], rows)}\n"
    else:
        text += "The table's file says where each field stands in each form.\n\n"
    return text


def _for(words: str, names: list[str], all: int) -> str:
    return words if len(names) == all else f"{words} ({either(code(name) for name in names)})"


def _identity(shapes: dict[str, Shape]) -> str:
    found: dict[str, list[str]] = {}
    for name, shape in shapes.items():
        identity = shape.identity
        if identity is None or identity == "none":
            words = "by nothing: each is new"
        else:
            keys = []
            if identity.strong is not None:
                keys.append(f"by {_value(identity.strong)}")
            if identity.weak is not None:
                together = [("the native type" if one == "@native" else _value(one)) for one in identity.weak]
                *others, last = together
                keys.append(f"by {', '.join(others)} and {last} together" if others else f"by {last}")
            words = ", or else ".join(keys) + (", whatever their time" if identity.time == "varies" else "")
        found.setdefault(words, []).append(name)
    lines = [f"- {words}{_of(names, len(shapes))}" for words, names in found.items()]
    said = "Events are deduplicated by their time, in whole seconds, and:"
    return f"{said}\n\n{chr(10).join(lines)}\n\n"


def _of(names: list[str], all: int) -> str:
    return "" if len(names) == all else f" ({', '.join(code(name) for name in names)})"


def _redactions(table: Table) -> str:
    redactions = table.mapping.redact
    if not redactions:
        return ""
    places: dict[str, list[str]] = {}
    for one in redactions:
        keys = ", ".join(code(key) for key in one.keys) if one.keys else "everything"
        places.setdefault(keys, []).append(one.in_)
    lines = [f"- in {', '.join(code(place) for place in found)}: {keys}" for keys, found in places.items()]
    return (
        "Before anything is stored, the raw event included, these values are replaced by `[redacted]`; in text that "
        f"is JSON, too:\n\n{chr(10).join(lines)}\n\n"
    )


def _rows(table_: Table, shapes: dict[str, Shape]) -> str:
    groups: list[tuple[Shape, list[str]]] = []
    for name, shape in shapes.items():
        for first, names in groups:
            if (first.types, first.unknown, first.error_suffix) == (shape.types, shape.unknown, shape.error_suffix):
                names.append(name)
                break
        else:
            groups.append((shape, [name]))
    text = "## What becomes of each type\n\n"
    header = ["native type", "when", "unified type", "outcome", "reason", "details", "note"]
    for shape, names in groups:
        if len(groups) > 1:
            text += f"### {', '.join(code(name) for name in names)}\n\n"
        rows = list(_row_cells(table_, shape))
        if rows:
            text += f"{table(header, rows)}\n"
        if shape.error_suffix and rows:
            text += (
                f"A native type that ends in `{shape.error_suffix}` is the failure of the type before it: "
                f"`TYPE{ERROR}`, with the reason that its error code gives.\n\n"
            )
        if any(map(is_family, shape.types)):
            text += (
                "A native type that ends in `*` stands for all that begin so and have no row of their own; of several "
                "beginnings the longest counts. One that begins with `~` is a pattern, which counts before those.\n\n"
                if any(native.startswith(PATTERN) for native in shape.types)
                else "A native type that ends in `*` stands for all that begin so and have no row of their own; of "
                "several beginnings the longest counts.\n\n"
            )
        text += f"{_unknown(shape)}\n\n"
    mapping = table_.mapping
    if mapping.failed is not None:
        text += (
            f"Whatever the type, an event is its failure when {_condition(mapping.failed)}, unless the note says "
            "otherwise.\n"
        )
    if mapping.inconclusive is not None:
        text += f"The outcome of a success is unknown when {_condition(mapping.inconclusive)}.\n"
    if mapping.reason is not None:
        text += f"The reason of a failure, where the row has none: {_reason(mapping.reason)}.\n"
    return text


def _row_cells(table_: Table, shape: Shape) -> Iterator[tuple[str, ...]]:
    catalogue = table_.catalogue
    for native, rows in shape.types.items():
        for number, row in enumerate(rows if isinstance(rows, list) else [rows]):
            when = _condition(row.when) if row.when is not None else "otherwise" if number else ""
            name = code(native) if number == 0 else ""
            if row.type is None:
                yield name, when, "ignored", "", "", "", _note(row)
                continue
            yield name, when, *_event_cells(catalogue, row)
            for one in row.also:
                when = "" if one.when is None else _condition(one.when)
                yield f"also {code(one.name)}", when, *_event_cells(catalogue, one)


def _event_cells(catalogue: Catalogue, row: RowWords) -> tuple[str, ...]:
    """What a row makes of a record."""
    type, outcome = type_of_row(row, catalogue), outcome_of_row(row, catalogue)
    reason = "" if row.reason is None else _reason(row.reason)
    details = ", ".join(code(f"{key}={value}") for key, value in row.details.items())
    return code(type), str(outcome), reason, details, _note(row)


def _note(row: RowWords) -> str:
    if row.note is None:
        return ""
    first, blank, rest = row.note.strip().partition(" ")
    return sentence(plain((first.capitalize() if first.islower() and first.isalpha() else first) + blank + rest))


def _reason(reason: Any) -> str:
    if isinstance(reason, str):
        return code(reason)
    if isinstance(reason, list):
        return "; or else ".join(_reason(one) for one in reason)
    words = "; ".join(f"{code(key)}: {code(value)}" for key, value in (reason.table or {}).items())
    otherwise = f"; otherwise {code(reason.default)}" if reason.default else ""
    return f"by {_path(reason.path)}: {words}{otherwise}" if words else _value(reason)


def _unknown(shape: Shape) -> str:
    rule = shape.unknown or "quarantine"
    which = "Other types" if shape.types else "All types"
    if isinstance(rule, PassThrough):
        form = f" if they match `{rule.pattern}`; others are quarantined" if rule.pattern else ""
        return f"{which} pass through as `{rule.type.replace('{native}', 'TYPE')}`{form}."
    if rule == "ignore":
        return f"{which} are counted as ignored, and not stored."
    return f"{which} are quarantined: kept, counted, and never guessed."


# Conditions and values in words


def _condition(condition: Condition | None) -> str:
    if condition is None:
        return ""
    parts = [f"{code(path)} present" for path in condition.has or []]
    parts += [f"no {code(path)}" for path in condition.lacks or []]
    if condition.actor is not None:
        actors = condition.actor if isinstance(condition.actor, list) else [condition.actor]
        parts.append(f"the actor {either(actors)}")
    parts += [f"{code(path)} {_wanted(wanted)}" for path, wanted in condition.requirements.items()]
    if condition.any_:
        parts.append(" or ".join(_condition(one) for one in condition.any_))
    return ", ".join(parts)


def _wanted(wanted: Any) -> str:
    if isinstance(wanted, Requirement):
        verbs = {"contains": "contains", "starts": "begins with", "matches": "matches", "not": "is not"}
        return " and ".join(
            ("present" if value else "absent") if word == "present" else f"{verbs[word]} {_scalars(value)}"
            for word, value in wanted.model_dump(by_alias=True, exclude_none=True).items()
        )
    return f"is {_scalars(wanted)}"


def _scalars(value: Any) -> str:
    values = value if isinstance(value, list) else [value]
    return either(code(str(one).lower() if isinstance(one, bool) else one) for one in values)


def _value(value: Any) -> str:
    if value == "@line":
        return "the whole line"
    if isinstance(value, str):
        return code(value)
    if isinstance(value, list):
        return " or ".join(_value(one) for one in value)
    if value.value is not None:
        return f"always {code(value.value)}"
    if value.template is not None:
        named = [f"{code(name)} is {_value(one)}" for name, one in value.with_.items()]
        return code(value.template) + (f" (where {', '.join(named)})" if named else "")
    words = _path(value.path)
    if value.json_path is not None:
        words = f"{code(value.json_path)} in the JSON of {words}"
    extra = []
    if value.after is not None:
        extra.append(f"after {code(value.after)}")
    if value.capture is not None:
        extra.append(f"by {code(value.capture)}")
    if value.as_ != "text":
        forms = value.as_ if isinstance(value.as_, list) else [value.as_]
        extra.append("as " + either(code(one) if "%" in one else str(one) for one in forms))
    if value.zone is not None:
        extra.append(f"of {value.zone}")
    if value.table:
        extra.append("translated")
    return f"{words} ({', '.join(extra)})" if extra else words


def _path(path: str | list[str] | None) -> str:
    return " or ".join(code(one) for one in (path if isinstance(path, list) else [path or ""]))


def _json(value: Any) -> str:
    return orjson.dumps(value, option=orjson.OPT_INDENT_2).decode()
