"""The mapping language: what may stand in a ``mapping.yaml``. ``schemas/mapping.schema.json`` is generated from it.

A mapping file reads like the vendor's page, one line a row. Nothing in it computes: a table that seems to need a
program needs a better word here, or is two rows.
"""

from __future__ import annotations

import re
from enum import StrEnum
from typing import Annotated, Any, Literal

from pydantic import AfterValidator, BaseModel, BeforeValidator, ConfigDict, Field, WithJsonSchema, model_validator

from adapter.mapping.complaints import nearest, nearest_name
from adapter.mapping.families import REST, check_key, refuse_many
from adapter.mapping.paths import parse_path, parse_steps, plain_keys, scalar_text
from adapter.mapping.pattern import LINE_GROUPS_LIMIT, compile_pattern, template_holes
from adapter.mapping.times import check_format, has_year, read_zone
from adapter.model import Outcome

#: Unified fields a table may fill, and the prefixes under which any name is allowed.
EVENT_FIELDS = (
    "id",
    "time",
    "realmId",
    "realmName",
    "error",
    "resourceType",
    "operationType",
    "resourcePath",
    "representation",
)
AUTH_FIELDS = ("realmId", "clientId", "userId", "ipAddress", "username", "sessionId")


class _Word(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


def _is_path(text: str) -> str:
    parse_path(text)
    return text


def _is_condition_path(text: str) -> str:
    parse_steps(text)
    return text


def _is_keys(text: str) -> str:
    plain_keys(text)
    return text


def _is_pattern(text: str) -> str:
    compile_pattern(text)
    return text


def _is_line_pattern(text: str) -> str:
    if not compile_pattern(text, groups=LINE_GROUPS_LIMIT).names:
        raise ValueError("gives no part of the line a name; write (?P<user>...) around what is to be read as `user`")
    return text


def _is_time_format(text: str) -> str:
    if "%" not in text:
        known = [one.value for one in Conversion]
        if text in known:
            raise ValueError(f"{text!r} is a conversion")  # never told: whatever takes a format takes these, too
        if (near := nearest(text, known)) is not None:
            raise ValueError(f"{text!r} is no conversion; did you mean {near}?")
        told = ", ".join(known)
        raise ValueError(f"{text!r} is no conversion; there are {told}, or a format of times such as '%Y-%m-%d %H:%M'")
    check_format(text)
    return text


def _is_zone(text: str) -> str:
    read_zone(text)
    return text


def _is_template(text: str) -> str:
    for hole in template_holes(text):
        parse_path(hole)
    return text


def _is_provider(text: str) -> str:
    check_name(text)
    return text


def _is_native_type(text: str) -> str:
    if text != text.strip():
        raise ValueError(f"stray blank in the native type {text!r}")
    if text == REST:
        raise ValueError("'*' alone is every type that has no row; that is what `unknown` is for")
    check_key(text)
    return text


def _is_table_key(text: str) -> str:
    if text == REST:
        raise ValueError("'*' alone is every value that is not in the table; that is what `default` is for")
    check_key(text)
    return text


def _is_table(table: dict[str, Any]) -> dict[str, Any]:
    refuse_many(table)
    return table


def _is_field(text: str) -> str:
    check_field(text)
    return text


def _is_also_name(text: str) -> str:
    if re.fullmatch(ALSO_NAME, text) is None:
        raise ValueError(
            f"{text[:100]!r} is no name here; begin with a small letter, then use those, digits, - and _; at most 40 "
            "characters"
        )
    return text


def _is_secret_key(text: str) -> str:
    plain = text.removeprefix(ANY) if text.startswith(ANY) else text.removesuffix(ANY)
    if not plain:
        raise ValueError(
            f"{ANY!r} alone would be every key; write what the keys begin or end with, or no keys: the whole part goes"
        )
    if ANY in plain:
        raise ValueError(f"{ANY!r} stands at the beginning or at the end of a key, not at both, and not within")
    return text


def _written(value: Any) -> Any:
    text = scalar_text(value)
    return value if text is None else text


#: What a provider may be called; it names a folder, too.
PROVIDER_NAME = "[a-z][a-z0-9-]{0,99}"
#: What one more event of a row may be called, and how many there may be: each is stored with the whole record.
ALSO_NAME = "[a-z][a-z0-9_-]{0,39}"
ALSO_LIMIT = 8

Path = Annotated[
    str, AfterValidator(_is_path), Field(description="Path into the raw event: a.b, a[0], a[k=v].b, a\\.b")
]
ConditionPath = Annotated[
    str,
    AfterValidator(_is_condition_path),
    Field(description="Path into the raw event; a[*].b stands for the b of every element"),
]
Keys = Annotated[str, AfterValidator(_is_keys), Field(description="Path into the raw event of keys alone: a.b, a\\.b")]
Pattern = Annotated[str, AfterValidator(_is_pattern), Field(description="Regular expression of linear time")]
Template = Annotated[str, AfterValidator(_is_template), Field(description="Text with {paths} in it")]
TableKey = Annotated[str, AfterValidator(_is_table_key)]
#: Before a key of a redaction: all keys that end so; after it: all that begin so.
ANY = "*"
#: A text that may be written as a number.
Text = Annotated[str, BeforeValidator(_written), WithJsonSchema({"type": ["string", "number", "boolean"]})]
Scalar = str | bool | int | float


class Conversion(StrEnum):
    """How a value becomes what the unified event wants."""

    #: Any scalar as text. The default.
    TEXT = "text"
    #: Text in lower or upper case.
    LOWER = "lower"
    UPPER = "upper"
    #: An address, a port or zone taken off.
    IP = "ip"
    #: Anything, an object or list too, as JSON text; text stays as it is.
    JSON = "json"
    #: The elements of a list with a comma and a blank between; of an object among them its `name`.
    LIST = "list"
    #: The code of two letters of a country, from that, from its code of three letters, or from its name in English.
    COUNTRY = "country"
    #: Moments. `epoch` tells seconds, milliseconds, microseconds and nanoseconds apart by size.
    RFC3339 = "rfc3339"
    RFC2822 = "rfc2822"
    SYSLOG = "syslog"
    SECONDS = "seconds"
    MILLISECONDS = "milliseconds"
    EPOCH = "epoch"


#: Conversions that give times, and those of them in whose texts the zone may be missing.
TIMES = frozenset(
    {
        Conversion.RFC3339,
        Conversion.RFC2822,
        Conversion.SYSLOG,
        Conversion.SECONDS,
        Conversion.MILLISECONDS,
        Conversion.EPOCH,
    }
)
_ZONED = frozenset({Conversion.RFC3339, Conversion.SYSLOG})

TimeFormat = Annotated[
    str, AfterValidator(_is_time_format), Field(description="How a time is written: %d/%b/%Y:%H:%M:%S %z")
]


class Lookup(_Word):
    """A value with more to say about it than its path."""

    path: Path | list[Path] | None = Field(None, description="Where it stands; of several paths the first present one")
    template: Template | None = Field(
        None, description="Instead of a path: text with {paths} in it; absent if one of them is"
    )
    with_: dict[str, Value] = Field(
        default_factory=dict,
        alias="with",
        description="Of a template: names in it that stand for values, not for paths",
    )
    value: Scalar | None = Field(None, description="Instead of a path: a constant")
    json_path: Path | None = Field(None, alias="json", description="The text at the path is JSON: a path inside it")
    after: Text | None = Field(None, description="Only what follows this text; absent if it does not begin so")
    capture: Pattern | None = Field(None, description="Only the first group of this pattern (or what it matches)")
    as_: Conversion | TimeFormat | list[Conversion | TimeFormat] = Field(
        Conversion.TEXT,
        alias="as",
        description="How it is converted, or how a time is written; of several such the first one that fits",
    )
    zone: Annotated[str, AfterValidator(_is_zone)] | None = Field(
        None, description="Of times: the zone where the text has none, as Europe/Berlin or +02:00; default: UTC"
    )
    table: Annotated[dict[TableKey, Text], AfterValidator(_is_table)] | None = Field(
        None,
        description="Translation; a value that is not in it is `default`, or absent. A key that ends in `*` is all "
        "that begin so, one that begins with `~` all in which this pattern is found",
    )
    default: Text | None = Field(None, description="What it is when absent (or not in the table)")

    @model_validator(mode="after")
    def _one_origin(self) -> Lookup:
        given = [name for name in ("path", "template", "value") if getattr(self, name) is not None]
        if len(given) != 1:
            raise ValueError(f"needs exactly one of path, template, value; has {', '.join(given) or 'none'}")
        for name in self.with_:
            if name not in template_holes(self.template or ""):
                raise ValueError(f"`with` has {name!r}, and {{{name}}} stands in no template beside it")
        return self

    @model_validator(mode="after")
    def _of_times(self) -> Lookup:
        if isinstance(self.as_, list) and not self.times:
            raise ValueError("`as` may have several words where all of them are times; text has one")
        if self.zone is not None and not any(
            one in _ZONED if isinstance(one, Conversion) else "%z" not in one for one in self.times
        ):
            raise ValueError("`zone` is for times that are written without one: `as` names no such form")
        return self

    @property
    def times(self) -> list[Conversion | str]:
        """The forms that a time may be written in; none: it is no time."""
        forms = self.as_ if isinstance(self.as_, list) else [self.as_]
        return forms if all(not isinstance(one, Conversion) or one in TIMES for one in forms) else []

    @property
    def needs_arrival(self) -> bool:
        """Whether one of these forms has no year."""
        return any(one is Conversion.SYSLOG if isinstance(one, Conversion) else not has_year(one) for one in self.times)


Value = Annotated[
    Path | list[Path | Lookup] | Lookup,
    Field(description="A path; or a list of values, the first present one counts; or a lookup"),
]
Lookup.model_rebuild()


Reason = Annotated[
    str | Lookup | list[str | Lookup],
    Field(
        description="A word of the reason list; or a lookup that gives one; or a list of these, the first one counts"
    ),
]


def value_paths(value: Any) -> set[str]:
    """All paths that a value may be read from."""
    if isinstance(value, str):
        return {value}
    if isinstance(value, list):
        return {path for one in value for path in value_paths(one)}
    if isinstance(value, Lookup):
        if value.template is None:
            return value_paths(value.path)
        return {path for hole in template_holes(value.template) for path in value_paths(value.with_.get(hole, hole))}
    return set()


class Requirement(_Word):
    """What a value must be, where equality is not enough; of several words all must hold."""

    present: bool | None = Field(None, description="There at all (true), or not (false)")
    contains: Text | list[Text] | None = Field(None, description="Holds this text, in whatever case")
    starts: Text | list[Text] | None = Field(None, description="Begins with this text")
    matches: Pattern | None = Field(None, description="Matches this pattern somewhere")
    not_: Scalar | list[Scalar] | None = Field(None, alias="not", description="Is none of these (or absent)")

    @model_validator(mode="after")
    def _one(self) -> Requirement:
        given = [
            name for name in ("present", "contains", "starts", "matches", "not_") if getattr(self, name) is not None
        ]
        if not given:
            raise ValueError("needs present, contains, starts, matches or not")
        return self


class Actor(StrEnum):
    """Who did it, in a condition."""

    #: The user himself, or nobody else was named.
    SELF = "self"
    #: A technical account on the table's list.
    TECHNICAL = "technical"
    #: Another person.
    HUMAN = "human"


class Condition(BaseModel):
    """Paths, and what stands there: a value, a list of values, or a requirement. All must hold. Values are compared
    as text, so 101 and "101" are equal and true is not 1. Of a path with `[*]` one of the elements must be so."""

    model_config = ConfigDict(extra="allow", frozen=True)
    __pydantic_extra__: dict[str, Scalar | list[Scalar] | Requirement] = Field(init=False)

    has: list[ConditionPath] | None = Field(None, description="All these paths are present")
    lacks: list[ConditionPath] | None = Field(None, description="None of these paths is present")
    any_: list[Condition] | None = Field(None, alias="any", description="At least one of these conditions holds")
    actor: Actor | list[Actor] | None = Field(None, description="Who did it: self, technical or human")

    @model_validator(mode="after")
    def _paths(self) -> Condition:
        for path, wanted in self.requirements.items():
            parse_steps(path)
            for one in wanted if isinstance(wanted, list) else [wanted]:
                if isinstance(one, str) and one != one.strip():
                    raise ValueError(f"stray blank in {one!r} (for {path})")
        return self

    @property
    def requirements(self) -> dict[str, Scalar | list[Scalar] | Requirement]:
        """Path: what must stand there."""
        return self.__pydantic_extra__ or {}


def _or_null(schema: dict[str, Any]) -> None:
    """In the schema a word may be null, and so may what it names: so a table that extends another takes it away."""
    schema["type"] = [schema["type"], "null"]
    if "additionalProperties" in schema:
        schema["additionalProperties"] = {"anyOf": [schema["additionalProperties"], {"type": "null"}]}


EventField = Annotated[str, AfterValidator(_is_field)]
NativeType = Annotated[str, AfterValidator(_is_native_type)]


class RowWords(_Word):
    """What a row says about the events that it makes."""

    when: Condition | None = Field(None, description="Only if this holds; rows of one type are tried from the top")
    type: str | None = Field(None, description="Unified type; 'access.' is understood when there is no dot")
    reason: Reason | None = Field(
        None, description="Of a failure: a word of the reason list, or a lookup that gives one"
    )
    error: str | None = Field(None, description="Of a failure: Keycloak's error code, if not the reason's usual one")
    outcome: Outcome | None = Field(None, description="Where it differs from the type's own")
    details: dict[str, Text] = Field(default_factory=dict, description="Constant details")
    fields: dict[EventField, Value] = Field(default_factory=dict, description="Unified fields that differ for this row")
    failable: bool = Field(True, description="False: the table's `failed` condition does not turn this into a failure")
    note: str | None = Field(None, description="For readers of the file: what is odd, and why it was decided so")


class AlsoRow(RowWords):
    """One more event that a row makes of each record. It is read as the row's first one is, with the table's fields and
    conditions, and where its `when` does not hold there is none. It is known by the keys of the record and its name."""

    when: Condition | None = Field(None, description="Only if this holds")
    type: str = Field(description="Unified type; 'access.' is understood when there is no dot")
    name: Annotated[str, AfterValidator(_is_also_name)] = Field(
        description="A short word of its own within the row, by which the event is known: once events are stored, "
        "another name makes other events",
        json_schema_extra={"pattern": f"^{ALSO_NAME}$"},
    )


class Row(RowWords):
    """What one native type means."""

    ignore: bool = Field(False, description="Counted, but not stored as an event")
    also: list[AlsoRow] = Field(
        default_factory=list,
        max_length=ALSO_LIMIT,
        description=f"More events that the row makes of each record, up to {ALSO_LIMIT}",
    )

    @model_validator(mode="after")
    def _type_or_ignore(self) -> Row:
        if self.type is None and not self.ignore:
            raise ValueError("needs a type, or `ignore: true`")
        if self.type is not None and self.ignore:
            raise ValueError("has a type, and `ignore: true`; one of them is enough")
        if self.also and self.ignore:
            raise ValueError("has `also`, and `ignore: true`; a row that makes one event alone gives it as its `type`")
        names = [one.name for one in self.also]
        for name in names:
            if names.count(name) > 1:
                raise ValueError(f"has two `also` that are called {name!r}; give each a name of its own")
        return self


Rows = Row | list[Row]


class PassThrough(_Word):
    """A native type that no row names becomes a unified type of its own."""

    type: Template = Field(description="Unified type, with {native} where the native type goes")
    outcome: Outcome | None = Field(
        None, description="Of those that are no failures; default: the catalogue's, or unknown"
    )
    pattern: Pattern | None = Field(None, description="Only native types that match this whole; others are quarantined")


Unknown = Literal["quarantine", "ignore"] | PassThrough


class Identity(_Word):
    """The keys by which native events are deduplicated."""

    strong: Value | None = Field(None, description="The provider's own id of the event")
    weak: list[Value | Literal["@native"]] | None = Field(
        None,
        description="Where it does not always send one: values that together name the event, none of which only one "
        "way of delivery adds; @native is the native type. An event without the time that stands among them is new",
    )
    time: Literal["varies"] | None = Field(
        None,
        description="An event is known by its keys and its time (in whole seconds) together; `varies`: the provider "
        "sends one event with different times, so it is known by its keys alone",
    )


class ActorRule(_Word):
    """How `actor` in conditions is decided."""

    id: Value = Field(description="Who did it")
    self_: Value = Field(alias="self", description="Whom it is about; the same, or nobody named, is `self`")
    technical: list[Text] = Field(default_factory=list, description="Ids of technical accounts")


class Reading(_Word):
    """How events are read; stands at the top of the file for all shapes, and in a shape for what differs there."""

    type: Value | None = Field(None, description="The native type")
    error_suffix: str | None = Field(None, description="Native types that end so are failures of the type before it")
    each: Keys | None = Field(
        None,
        description="A list in the raw event whose elements are events of their own; each is read as if it stood in "
        "the list's place",
    )
    fields: dict[EventField, Value] = Field(
        default_factory=dict,
        description="Unified field: where to find it. `details` takes all entries of an object (or of a text that is "
        "JSON or pairs), `details.x` one",
        json_schema_extra=_or_null,
    )
    identity: Identity | Literal["none"] | None = Field(None, description="Keys by which events are deduplicated")
    actor: ActorRule | None = Field(None, description="How `actor` in conditions is decided")
    failed: Condition | None = Field(
        None, description="A status that makes an event a failure of its type, whatever the type"
    )
    inconclusive: Condition | None = Field(
        None, description="A status that says neither success nor failure: then the outcome of a success is unknown"
    )
    reason: Reason | None = Field(
        None,
        description="Of a failure whose row gives no reason: a word of the reason list, or a lookup that gives one",
    )
    types: Annotated[dict[NativeType, Rows], AfterValidator(_is_table)] = Field(
        default_factory=dict,
        description="Native type: its row, or rows with conditions. One that ends in `*` is a family, all types that "
        "begin so; one that begins with `~` is all types in which this pattern is found. A type's own row counts "
        "first, then the first pattern, then the longest beginning",
        json_schema_extra=_or_null,
    )
    unknown: Unknown | None = Field(None, description="Native types that no row names; default: quarantine")


class Shape(Reading):
    """One form an event comes in; the first shape whose `when` holds reads it."""

    when: Condition | None = Field(None, description="How the shape is recognized; none: always")
    beside: list[Path] = Field(
        default_factory=list,
        description="Objects in the event, or texts of key=value pairs or of JSON, whose entries are read as if they "
        "stood beside them",
    )


class PassedOver(_Word):
    """Lines of text that are known by something in them, such as the name of a logger."""

    capture: Pattern = Field(description="Where it stands: the first group of this pattern (or what it matches)")
    not_: list[Text] = Field(default_factory=list, alias="not", description="Not the lines in which it is one of these")


class LinePattern(_Word):
    """A line of text that a pattern reads, whatever a forwarder wrote before it: the names of its groups are the paths
    at which their texts stand. A group that takes no part in the match, or is empty, gives nothing."""

    pattern: Annotated[str, AfterValidator(_is_line_pattern)] = Field(
        description="Regular expression of linear time with named groups: ^(?P<time>\\S+) (?P<user>\\S+)"
    )


class Framing(_Word):
    """How a request body holds events. Without any framing a body is one event, a list, or events one after another
    (NDJSON, or without any line ends)."""

    when: Condition | None = Field(None, description="Of JSON objects: how the envelope is recognized")
    events: Keys | None = Field(None, description="Of JSON objects: where in the envelope the list of events stands")
    answer: dict[str, Path] = Field(
        default_factory=dict,
        description="Of an envelope: the JSON object that its sender wants to be told with status 200, each key with "
        "a path into the envelope; @now is the time of the answer, epoch milliseconds",
    )
    media: str | None = Field(None, description="Media type of bodies that are not JSON, such as text/plain")
    form: str | None = Field(None, description="Of application/x-www-form-urlencoded: the field that holds the event")
    lines: (
        Literal["keyvalue", "logfmt", "json"]
        | LinePattern
        | Annotated[list[LinePattern], Field(min_length=1, max_length=50)]
        | (None)
    ) = Field(
        None,
        description="Of text: one event a line, and its form: pairs with commas (`keyvalue`) or blanks (`logfmt`) "
        "between them, JSON, or what a pattern matches; of several patterns the first that does",
    )
    find: Pattern | None = Field(
        None,
        description="Of lines: where the event begins in the line (the first group, or what matches); of several forms "
        "with one media type the first that finds something reads the line",
    )
    ignore: dict[str, Pattern | PassedOver] = Field(
        default_factory=dict,
        description="Of lines in which nothing is found: those that surely hold no event, each kind by a name under "
        "which it is counted. All others are quarantined",
    )

    @model_validator(mode="after")
    def _whole(self) -> Framing:
        if (self.events is None) == (self.media is None):
            raise ValueError("needs `events` (an envelope of JSON), or `media` (a body that is not JSON)")
        if self.answer and self.events is None:
            raise ValueError("`answer` belongs to an envelope: it needs `events`")
        if self.media is not None and (self.form is None) == (self.lines is None):
            raise ValueError("a body that is not JSON needs `lines` or `form`")
        if self.find is not None and isinstance(self.lines, LinePattern | list):
            raise ValueError("`find` is for other forms of lines; a pattern says itself where it begins")
        if self.ignore and self.find is None and self.lines in ("keyvalue", "json", None):
            raise ValueError("`ignore` is about lines in which nothing is found: it needs `find`")
        return self


class Hmac(_Word):
    """A signature over the body."""

    header: str = Field(description="Header of the signature")
    digest: list[Literal["sha1", "sha256", "sha512"]] = Field(min_length=1, description="Digests that are taken")
    encoding: Literal["hex", "base64"] = Field("hex", description="How it is written")
    prefix: str = Field("", description="What stands before the signature, such as 'sha256='")
    bare: bool = Field(False, description="Signatures without the prefix are taken too")
    part: str | None = Field(None, description="Of a header like t=1,v1=ab: the name of the part that is the signature")
    signs: str = Field("{body}", description="What is signed: text with {body} and {timestamp} in it")
    timestamp: Timestamp | None = Field(None, description="Where the time of signing stands; old ones are refused")

    @model_validator(mode="after")
    def _whole(self) -> Hmac:
        if not {*template_holes(self.signs)} <= {"body", "timestamp"}:
            raise ValueError("`signs` knows {body} and {timestamp} alone")
        if "{body}" not in self.signs:
            raise ValueError("`signs` needs {body}: a signature that does not cover the body proves nothing about it")
        if ("{timestamp}" in self.signs) != (self.timestamp is not None):
            raise ValueError("`timestamp` and {timestamp} in `signs` need each other")
        if self.bare and not self.prefix:
            raise ValueError("`bare` says that `prefix` may be left out: it needs one")
        return self


class Timestamp(_Word):
    """the time of signing, in epoch seconds or milliseconds."""

    header: str | None = Field(None, description="A header of its own")
    part: str | None = Field(None, description="Or a part of the signature's header, such as t")
    tolerance: float = Field(300, gt=0, description="Seconds that it may lie before or after the arrival")

    @model_validator(mode="after")
    def _one(self) -> Timestamp:
        if (self.header is None) == (self.part is None):
            raise ValueError("needs either header or part")
        return self


class HmacCredential(_Word):
    """See `Hmac`."""

    hmac: Hmac = Field(description="A signature over the body")


class BodyHash(_Word):
    """The hash of the body, in a claim of a signed token."""

    claim: str = Field(description="Name of the claim")
    digest: Literal["sha256", "sha384", "sha512"] = Field("sha256", description="How the body is hashed, as it is sent")
    encoding: Literal["base64", "base64url", "hex"] = Field("base64", description="How the hash is written")


#: How a token may be signed: with a shared secret (``HS``), or with a private key.
Algorithm = Literal[
    "HS256",
    "HS384",
    "HS512",
    "RS256",
    "RS384",
    "RS512",
    "PS256",
    "PS384",
    "PS512",
    "ES256",
    "ES384",
    "ES512",
    "EdDSA",
]


class Jwt(_Word):
    """A JSON Web Token. Those of HMAC (`HS…`) are signed with the source's token, all others with a private key: the
    public one stands under `public_keys` of the source. A token without `body_hash` proves every body that comes with
    it."""

    header: str = Field(description="Header of the token; of `Authorization`, what stands behind `Bearer`")
    algorithms: list[Algorithm] = Field(["HS256"], min_length=1, description="Algorithms that are taken")
    body_hash: BodyHash | None = Field(None, description="The claim that holds the hash of the body")
    audience: str | list[str] | None = Field(None, description="For whom it must be meant: its `aud` names one of them")
    issuer: str | list[str] | None = Field(None, description="Who must have made it: its `iss` is one of them")
    tolerance: float = Field(
        60, ge=0, le=3600, description="Seconds that clocks may differ, for its `exp`, `nbf` and `iat`"
    )


#: What is wrong with a signed token that has no ``body_hash``.
UNBOUND = "does not cover the body: whoever has recorded such a token may post anything with it until it runs out"


class JwtCredential(_Word):
    """See `Jwt`."""

    jwt: Jwt = Field(description="A signed token")


class HeaderCredential(_Word):
    """A fixed secret in a header of its own."""

    header: str = Field(description="Header whose whole value is the source's token")


Credential = Literal["bearer", "basic"] | HmacCredential | JwtCredential | HeaderCredential


class Challenge(_Word):
    """What a provider asks by GET when a hook is registered, and wants to be told back."""

    header: str = Field(description="Header of the question")
    answer: str = Field(description="Key of the JSON object in which its value is told back")


class Redaction(_Word):
    """Values that are replaced by ``[redacted]`` before anything is stored, raw event included."""

    in_: Path = Field(
        alias="in", description="The part of the raw event to look in; JSON and pairs inside text are looked into"
    )
    keys: list[Annotated[Text, AfterValidator(_is_secret_key)]] = Field(
        default_factory=list,
        description="Keys whose values go, at any depth, in whatever case; 'credentials.value' means a `value` "
        "somewhere below `credentials`, '*.key' every key that ends in `.key`, 'config.*' every key that begins with "
        "`config.`; none: the whole part goes",
        json_schema_extra=_or_null,
    )


class VendorCatalogue(_Word):
    """The vendor's own list of types, for coverage."""

    page: str = Field(description="Where the vendor documents them")
    types: list[str | int] = Field(description="All native types of that page")
    unmapped: dict[str, str] = Field(default_factory=dict, description="Native type: why it has no row on purpose")


class Mapping(Reading):
    """A whole mapping file."""

    provider: Annotated[str, AfterValidator(_is_provider)] = Field(
        description="Its name, as sources say it; the same as the folder's",
        json_schema_extra={"pattern": f"^{PROVIDER_NAME}$"},
    )
    title: Text = Field(description="Its name for people")
    extends: str | None = Field(
        None,
        description="Another table: what this file does not say is taken from there, row by row, field by field, and "
        "redaction by redaction (those of one `in` together); what stands here as null is not taken",
    )
    note: str | None = Field(None, description="For readers of the file: what holds for all of it")
    auth: list[Credential] = Field(
        ["bearer", "basic"], description="How a source may prove itself", json_schema_extra=_or_null
    )
    challenge: Challenge | None = Field(
        None, description="What the provider asks by GET when a hook is registered, and wants to be told back"
    )
    body: list[Framing] = Field(
        default_factory=list,
        description="How a body holds events; the first that fits",
        json_schema_extra=_or_null,
    )
    base64: list[Path] = Field(
        default_factory=list,
        description="Texts that are JSON in base64: read, and kept, as the JSON that they hold; several "
        "objects one after another as a list",
        json_schema_extra=_or_null,
    )
    redact: list[Redaction] = Field(
        default_factory=list, description="Secrets that must not be stored", json_schema_extra=_or_null
    )
    absent: list[Text] = Field(
        default_factory=lambda: ["null"],
        description="Texts that mean that there is no value",
        json_schema_extra=_or_null,
    )
    shapes: dict[str, Shape] = Field(
        default_factory=dict, description="Forms an event comes in, the first that fits", json_schema_extra=_or_null
    )
    aliases: dict[str, Path | list[Path]] = Field(
        default_factory=dict,
        description="Key of a JSON event: where the same stands in other forms of it; read as if it stood there",
        json_schema_extra=_or_null,
    )
    catalogue: VendorCatalogue | None = Field(None, description="The vendor's own list of types, for coverage")
    definitions: Any = Field(None, description="Room for YAML anchors; not read")


def check_name(provider: str) -> None:
    """Refuse what no provider can be called.

    Raises:
        ValueError: the name is none.
    """
    if re.fullmatch(PROVIDER_NAME, provider) is None:
        raise ValueError(
            f"{provider[:100]!r} is no name for a provider; begin with a small letter, then use those, digits and -; "
            "at most 100 characters"
        )


def check_field(name: str) -> None:
    """Refuse a unified field that does not exist.

    Raises:
        ValueError: it does not; the message lists those that do.
    """
    if name in EVENT_FIELDS or name == "details" or (name.startswith("details.") and len(name) > len("details.")):
        return
    if name.startswith("authDetails.") and name.removeprefix("authDetails.") in AUTH_FIELDS:
        return
    known = [*EVENT_FIELDS, *(f"authDetails.{one}" for one in AUTH_FIELDS)]
    if (near := nearest_name(name, known)) is not None:
        raise ValueError(f"{name!r} is no field of the unified event; did you mean {near}?")
    known += ["details", "details.…"]
    raise ValueError(f"{name!r} is no field of the unified event; there are {', '.join(known)}")
