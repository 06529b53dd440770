"""``mapping-language.md``: the words of a mapping file, from the models that read it, with an example for each part."""

from __future__ import annotations

import inspect
from typing import Any, get_type_hints

from pydantic import BaseModel
from pydantic.fields import FieldInfo

from adapter.docs.markdown import code, sentence, table, type_words
from adapter.mapping import language, pattern
from adapter.mapping.families import PATTERNS_LIMIT
from adapter.mapping.language import (
    AUTH_FIELDS,
    EVENT_FIELDS,
    ActorRule,
    AlsoRow,
    BodyHash,
    Challenge,
    Condition,
    Conversion,
    Framing,
    HeaderCredential,
    Hmac,
    HmacCredential,
    Identity,
    Jwt,
    JwtCredential,
    LinePattern,
    Lookup,
    Mapping,
    PassedOver,
    PassThrough,
    Reading,
    Redaction,
    Requirement,
    Row,
    Shape,
    Timestamp,
    VendorCatalogue,
)
from adapter.mapping.paths import ELEMENTS_LIMIT

_INTRODUCTION = """\
# The mapping language

A table is one folder: `mappings/NAME/mapping.yaml`, and `examples/*.yaml` beside it. It says how a provider's events
are recognized, where each field stands, and what each native type means. Nothing in it computes. How to write one:
[write-a-mapping.md](write-a-mapping.md). For completion in an editor, the first line of the file names the schema:
`# yaml-language-server: $schema=PATH`; `idp-adapter mapping schema` prints its path. It also offers the types and
reasons of the catalogue.

The text is YAML, and a value is what is written: `0010`, `1.10`, `12:30`, `yes`, `1e3` and dates are text. Only `true`
and `false` are true and false, only `null`, `~` and nothing at all are null, and only what would be written again as it
stands (`10`, `-3`, `1.5`) is a number; every key is text. So it is in examples and in `types.yaml`, too. A key that
stands twice is an error. Anchors and `<<` work; `definitions` is room for them. In the tables below `list: x` is a list
of x, and `table: x` holds names of your choice, each with an x.

## Paths

`actor.id` follows keys. `results[0]` (or `results.0`) takes an element of a list by its number, `target[type=User].id`
the first element whose `type` is `User`. `\\.` stands for a dot in a key, `\\[` for a bracket. A path that leads
nowhere gives no value; so do null and the texts under `absent`. In a condition `threats[*].kind` stands for the `kind`
of every element of `threats`: one of them must be what is asked for, all of it at once, and `not` and `present: false`
hold if none of them is. A single value in the list's place is one element, and the first ELEMENTS_LIMIT elements are
looked at. `@line` is the whole line, where a body is lines, without what a forwarder wrote before it;
`@element` stands for all that an element of `each` holds.

## Patterns

Patterns are of [RE2 syntax](https://github.com/google/re2/wiki/Syntax), whose time is linear in the text: there is no
look-around, and there are no back references. What each may cost is bounded: a pattern has at most
PATTERN_LENGTH characters, GROUPS_LIMIT groups (`(?:...)` is none; one that reads a line has up to LINE_GROUPS), and
PROGRAM_LIMIT instructions once it is compiled; `[0-9]{3}-[a-z]+` has about ten. Of a long text a pattern sees only the
beginning: MATCH_LIMIT characters, divided by its instructions. That is 50,000 characters for one of 20 instructions,
and 550 for one of 1,800, such as `.{0,100}x.{0,100}`; with 16 groups it is half as much. Of the elements of a list
(`[*]`) it sees as many characters in all. A native type that is longer than that does not match the `pattern` of
`unknown`.

Within quotes of YAML, a pattern stands in single ones, in which a backslash is itself.

## Keys that stand for many

Under `types` and in a `table` a key is a text, or names many at once: `role.*` is all that begin so, and `~^role\\.`
all in which this pattern is found. A text's own key counts first, then the first of the file's patterns, then the
longest beginning. All patterns of one table together look at a text for no longer than one large pattern may, and see
less of a long one for that; a table has at most PATTERNS_LIMIT of them.

## Unified fields

FIELDS, `details` (all entries of an object, or of a text that is JSON or holds key=value pairs) and `details.NAME`.

The service itself adds `uid`, `type`, `outcome`, `reason` and `source`. The `resourceType` and `operationType` of an
`admin.` type come from its name.

"""

#: A record of several events, and the table that reads it.
EACH_RECORD = """\
{"id": "b-7", "at": "2026-05-04T08:00:12Z", "admin": 1, "results": [
  {"kind": "unlocked", "person": 4711},
  {"kind": "removed", "person": 4712},
  {"kind": "removed", "person": 4713}
]}
"""
EACH_TABLE = """\
provider: shop
title: The shop's batches
type: results.kind
each: results
identity: {strong: {template: "{id}/{@element}"}}
fields:
  id: id
  time: {path: at, as: rfc3339}
  authDetails.userId: admin
  details.userId: results.person
  resourcePath: {template: "users/{results.person}"}
types:
  unlocked: {type: admin.USER-UPDATE}
  removed: {type: admin.USER-DELETE}
"""

_EACH = f"""\
### One record, many events

A record that holds a list of results is one event for each of them under `each`. The list's place is taken by the
element, so that `results.kind` is its kind, and everything around it is read as always:

```json
{EACH_RECORD}```

```yaml
{EACH_TABLE}```

The whole record is kept with each of its events. Each needs a key of its own: an id in the element, or `@element`,
which stands for all that the element holds (equal ones in one record are numbered). So a record that comes again, with
its results in another order, grouped with others or one by one, makes no second event of any; a result that was changed
in between is a new one. A table whose keys are the same for all elements is refused. An empty list is one event without
an element; a single object in the list's place is one element.

"""

_ALSO = """\
Besides, the words of a row but `ignore` and `also`; `type` is needed.

A record of several events is one record to whoever sent it: it counts once in the answer, with the uid of its first
event. Each of its events is an entry of its own, with a uid of its own, and `source.also` says which one it is; sent
again, all of them are duplicates. What cannot be read is quarantined as a whole, and has further events once it can be.
The record is stored with each of its events, next to each other, where the copies are compressed together.

When the rows under `also` change, `events renormalize` makes what is missing: a row that is new makes its event of
records that were stored before (*added*). What a row made that is gone, or whose `when` does not hold any more, stays
(*kept*), so a row that gets another name leaves the events of its former name, and makes others beside them.

"""

#: Part of the language: its title, and a fragment of a mapping file that uses its words.
PARTS: dict[type[BaseModel], tuple[str, str]] = {
    Mapping: (
        "The file",
        """\
provider: shop
title: The shop's accounts
note: Ids of people are numbers.
auth: [bearer, {header: X-Shop-Token}]
challenge: {header: X-Shop-Challenge, answer: challenge}
body: [{when: {has: [batch]}, events: batch}]
base64: [payload]
aliases: {kind: [event.kind, event_kind]}
redact: [{in: payload, keys: [password]}]
absent: ["null", "-"]
type: kind
identity: {strong: id}
fields: {time: {path: at, as: rfc3339}}
shapes:
  event: {}
types:
  signed_in: {type: LOGIN}
catalogue: {page: "Shop handbook, Events", types: [signed_in]}
definitions:
  user: &user {details.userId: user.id}
---
provider: our-onewelcome
title: OneWelcome, with a type of our own
extends: onewelcome
types:
  10001: {type: UPDATE_CREDENTIAL, details: {credential_type: badge}}
  1050: null
fields: {details.user_agent: null}
---
provider: our-keycloak
title: Keycloak, whose representations may be stored
extends: keycloak
redact: [{in: representation, keys: null}, {in: details, keys: [badge]}]
""",
    ),
    Reading: (
        "How events are read",
        """\
type: kind
error_suffix: _failed
each: results
fields:
  time: {path: at, as: rfc3339}
  authDetails.userId: [user.id, userId]
  details: attributes
identity: {strong: {template: "{id}/{@element}"}}
actor: {id: by.id, self: user.id}
failed: {status: [error, refused]}
inconclusive: {status: pending}
reason: {path: why, table: {WRONG_PASSWORD: bad_credentials}, default: unspecified}
types:
  signed_in: {type: LOGIN}
unknown: quarantine
""",
    ),
    Shape: (
        "A shape: one of several forms",
        """\
shapes:
  wrapped:
    when: {has: [payload]}
    beside: [payload]
  event: {}
""",
    ),
    Lookup: (
        "A value",
        """\
fields:
  time:
    - {path: at, as: [rfc3339, "%d/%b/%Y:%H:%M:%S"], zone: Europe/Berlin}
    - {path: [createdAt, ts], as: milliseconds}
  authDetails.username: {path: attributes, json: user.name}
  realmId: {path: topic, after: "tenant/"}
  resourcePath: {template: "users/{user.id}"}
  details.place: {template: "{kind}/{name}", with: {kind: {path: room, table: {"1": hall}, default: other}}}
  authDetails.userId: {path: link, capture: "/users/([0-9]+)"}
  details.medium: {path: channel, table: {"1": email, "2": sms, "app-*": push, "~^tel:[+]?49": call}, default: other}
  details.by: {value: admin}
""",
    ),
    Condition: (
        "A condition",
        """\
shapes:
  refusal:
    when:
      has: [user.id, error]
      lacks: [result]
      any: [{status: [401, 403]}, {error: {contains: denied}}]
      actor: [self, technical]
  event: {}
actor: {id: by.id, self: user.id}
""",
    ),
    Requirement: (
        "A requirement",
        """\
types:
  signed_in:
    - {when: {error: {present: true}}, type: LOGIN_ERROR, reason: unspecified}
    - {when: {text: {contains: expired}}, type: LOGIN_ERROR, reason: code_expired}
    - {when: {link: {starts: "https://"}}, type: EXECUTE_ACTION_TOKEN}
    - {when: {text: {matches: "code [0-9]+"}}, type: VALIDATE_OTP}
    - {when: {channel: {not: [web, app]}}, type: CLIENT_LOGIN}
    - {when: {"threats[*].kind": phishing}, type: LOGIN_ERROR, reason: policy_denied}
    - {type: LOGIN}
""",
    ),
    Row: (
        "A row",
        """\
types:
  signed_in: {type: LOGIN}
  refused: {type: LOGIN_ERROR, reason: policy_denied, error: access_denied}
  wrong: {type: LOGIN_ERROR, reason: [{path: why, table: {PIN: bad_credentials}}, {path: code, table: {7: locked}}]}
  code_checked: {type: VALIDATE_OTP, outcome: success, details: {factor: sms}}
  removed:
    - when: {actor: human}
      type: admin.USER-DELETE
      fields: {resourcePath: {template: "users/{user.id}"}}
    - {type: DELETE_ACCOUNT, note: nobody else was named}
  locked: {type: USER_DISABLED_BY_TEMPORARY_LOCKOUT, failable: false}
  heartbeat: {ignore: true}
  role.*: {type: admin.REALM_ROLE-UPDATE}
  role.deleted.*: {type: admin.REALM_ROLE-DELETE}
  ~^login (failed|refused) for: {type: LOGIN_ERROR, reason: unspecified}
  reported:
    type: LOGIN_ERROR
    reason: challenge_denied
    also: [{name: report, type: REPORT_SUSPICIOUS_ACTIVITY}]
actor: {id: by.id, self: user.id}
""",
    ),
    AlsoRow: (
        "One more event of a record",
        """\
types:
  reported:
    type: LOGIN_ERROR
    reason: challenge_denied
    also:
      - {name: report, type: REPORT_SUSPICIOUS_ACTIVITY, details: {context: login}}
      - {name: lock, when: {locked: true}, type: USER_DISABLED_BY_TEMPORARY_LOCKOUT, failable: false}
""",
    ),
    PassThrough: (
        "Types that no row names",
        """\
unknown: {type: "access.{native}", outcome: success, pattern: "[A-Z_]+"}
""",
    ),
    Identity: (
        "Identity",
        """\
identity:
  strong: id
  weak: [at, "@native", user.id, ip]
  time: varies
""",
    ),
    ActorRule: (
        "The actor",
        """\
actor: {id: by.id, self: user.id, technical: [import-job]}
""",
    ),
    Framing: (
        "Bodies",
        """\
body:
  - {when: {has: [batch]}, events: batch, answer: {batchId: id, receivedAt: "@now"}}
  - media: text/plain
    lines: keyvalue
    find: "event="
    ignore:
      another logger: {capture: '^\\S+ [A-Z]+ \\[([^]]+)\\]', not: [shop.events]}
      a stack trace: '^(?:at |Caused by: )'
  - media: text/plain
    lines: logfmt
    find: '(time=).* logger=shop\\.events '
  - {media: application/x-www-form-urlencoded, form: payload}
""",
    ),
    LinePattern: (
        "Lines that a pattern reads",
        """\
body:
  - media: text/plain
    lines:
      - pattern: '^(?P<time>\\S+) (?P<kind>login) (?P<result>ok|failed) user=(?P<user>\\S+) from (?P<ip>\\S+)'
      - {pattern: '^(?P<time>\\S+) (?P<kind>logout) user=(?P<user>\\S+)'}
    ignore: {a start: 'started$'}
""",
    ),
    PassedOver: (
        "Lines that are passed over",
        """\
body:
  - media: text/plain
    lines: json
    find: '[{]"'
    ignore:
      another logger: {capture: 'logger=([a-z.]+)', not: [shop.events]}
""",
    ),
    HeaderCredential: ("Credential: a header", "auth: [bearer, {header: X-Shop-Token}]\n"),
    HmacCredential: ("Credential: a signature", "auth: [{hmac: {header: X-Shop-Signature, digest: [sha256]}}]\n"),
    Hmac: (
        "A signature",
        """\
auth:
  - hmac:
      header: X-Shop-Signature
      digest: [sha256]
      encoding: base64
      part: v1
      signs: "{timestamp}.{body}"
      timestamp: {part: t}
  - hmac: {header: X-Shop-Digest, digest: [sha256], prefix: "sha256=", bare: true}
""",
    ),
    Timestamp: (
        "the time of signing",
        """\
auth:
  - hmac:
      header: X-Shop-Signature
      digest: [sha256]
      signs: "{timestamp}.{body}"
      timestamp: {header: X-Shop-Time, tolerance: 120}
  - hmac:
      header: X-Shop-Signature-2
      digest: [sha512]
      part: v1
      signs: "{timestamp}.{body}"
      timestamp: {part: t}
""",
    ),
    JwtCredential: (
        "Credential: a signed token",
        "auth: [{jwt: {header: X-Shop-Jwt, body_hash: {claim: body_sha256}}}]\n",
    ),
    Jwt: (
        "A signed token",
        """\
auth:
  - jwt:
      header: X-Shop-Jwt
      algorithms: [HS256, RS256, EdDSA]
      body_hash: {claim: body_sha256}
      audience: [shop-events, "https://events.example"]
      issuer: https://shop.example
      tolerance: 30
""",
    ),
    BodyHash: (
        "The hash of the body",
        """\
auth:
  - jwt:
      header: Authorization
      algorithms: [ES256]
      body_hash: {claim: digest, digest: sha512, encoding: hex}
""",
    ),
    Challenge: ("A challenge", "challenge: {header: X-Shop-Challenge, answer: challenge}\n"),
    Redaction: ("Redaction", "redact: [{in: payload, keys: [password, card.number, '*.private.key', 'config.*']}]\n"),
    VendorCatalogue: (
        "The vendor's catalogue",
        """\
catalogue:
  page: Shop handbook, Events
  types: [signed_in, newsletter_opened]
  unmapped: {newsletter_opened: says nothing about an identity}
""",
    ),
}

_KNOWN = {
    str: "text",
    bool: "`true` or `false`",
    int: "whole number",
    float: "number",
    Any: "anything",
    language.Path: "path",
    language.ConditionPath: "path",
    language.Keys: "path of keys",
    language.Pattern: "pattern",
    language.Template: "text",
    language.Text: "text",
    language.Value: "value",
    language.Reason: "word, `{path: …}`, or list of these",
    language.Scalar: "text, number, `true` or `false`",
    language.Rows: "row, or list of rows",
    language.AlsoRow: "row of one more event",
    language.Condition: "condition",
    language.Lookup: "value",
    language.Conversion: "conversion",
    language.TimeFormat: "format",
    language.Identity: "identity",
    language.ActorRule: "rule",
    language.PassThrough: "rule",
    language.Shape: "shape",
    language.Framing: "form of a body",
    language.LinePattern: "`{pattern: …}`",
    language.PassedOver: "lines",
    language.Challenge: "challenge",
    language.Redaction: "redaction",
    language.VendorCatalogue: "catalogue",
    language.HmacCredential: "credential",
    language.JwtCredential: "credential",
    language.HeaderCredential: "credential",
    language.Hmac: "signature",
    language.Timestamp: "timestamp",
    language.Jwt: "signed token",
    language.BodyHash: "hash of the body",
    language.Algorithm: "algorithm (`HS256`, `HS384`, `HS512`; `RS…`, `PS…`, `ES256`, `ES384`, `ES512`; `EdDSA`)",
}


def language_page() -> str:
    """The page."""
    known = ", ".join(code(one) for one in (*EVENT_FIELDS, *(f"authDetails.{one}" for one in AUTH_FIELDS)))
    introduction = _INTRODUCTION.replace("FIELDS", known)
    introduction = introduction.replace("ELEMENTS_LIMIT", f"{ELEMENTS_LIMIT:,}")
    introduction = introduction.replace("PATTERNS_LIMIT", str(PATTERNS_LIMIT))
    introduction = introduction.replace("LINE_GROUPS", str(pattern.LINE_GROUPS_LIMIT))
    for name in ("PATTERN_LENGTH", "GROUPS_LIMIT", "PROGRAM_LIMIT", "MATCH_LIMIT"):
        introduction = introduction.replace(name, f"{getattr(pattern, name):,}")
    parts = [introduction]
    for model, (title, example) in PARTS.items():
        told = inspect.cleandoc(model.__doc__ or "").replace("``", "`")
        parts.append(f"## {title}\n\n{sentence(told)}\n\n{_table(model)}\n```yaml\n{example}```\n\n")
        if model is Mapping:
            parts.append("Besides, at the top of the file, everything of the next part.\n\n")
        if model is Reading:
            parts.append(_EACH)
        if model is AlsoRow:
            parts.append(_ALSO)
        if model is Lookup:
            parts.append(_conversions())
    return "".join(parts)


def words(model: type[BaseModel]) -> dict[str, FieldInfo]:
    """The words of one part, as they are written; those it shares with `Reading`, or with `Row`, stand there alone."""
    shared = Reading.model_fields if issubclass(model, Reading) and model is not Reading else {}
    if model is AlsoRow:
        shared = Row.model_fields
    return {field.alias or name: field for name, field in model.model_fields.items() if name not in shared}


def _table(model: type[BaseModel]) -> str:
    hints = get_type_hints(model, include_extras=True)
    names = {field.alias or name: name for name, field in model.model_fields.items()}
    rows = [
        (code(word), type_words(hints[names[word]], _KNOWN), _default(field), sentence(field.description or ""))
        for word, field in words(model).items()
    ]
    return table(["word", "what", "default", "meaning"], rows)


def _default(field: FieldInfo) -> str:
    if field.is_required():
        return "needed"
    value = field.get_default(call_default_factory=True, validated_data={})
    if value is None or value == "" or value == [] or value == {}:
        return ""
    if isinstance(value, bool):
        return code(str(value).lower())
    if isinstance(value, list):
        return ", ".join(code(one) for one in value)
    return code(value)


_CONVERSIONS = {
    Conversion.TEXT: "Any scalar as text.",
    Conversion.LOWER: "Text in lower case.",
    Conversion.UPPER: "Text in upper case.",
    Conversion.IP: "An address; a port or zone is taken off.",
    Conversion.JSON: "Anything, an object or list too, as JSON text; text stays as it is.",
    Conversion.LIST: "The elements of a list with `, ` between; of an object among them its `name`. Text that is a "
    "list in JSON is read as one; other text stays as it is.",
    Conversion.COUNTRY: "The code of two letters of a country (ISO 3166-1), from that code, from its code of three "
    "letters, or from its name in English; absent if it is none.",
    Conversion.RFC3339: "A timestamp like `2026-05-01T08:30:00Z`.",
    Conversion.RFC2822: "A timestamp like `Fri, 01 May 2026 08:30:00 +0000`; the weekday may be missing.",
    Conversion.SYSLOG: "A timestamp like `May  1 08:30:00`, without a year.",
    Conversion.SECONDS: "A timestamp in epoch seconds.",
    Conversion.MILLISECONDS: "A timestamp in epoch milliseconds.",
    Conversion.EPOCH: "A timestamp in epoch seconds, milliseconds, microseconds or nanoseconds, told apart by size.",
}


def _conversions() -> str:
    rows = [(code(one.value), _CONVERSIONS[one]) for one in Conversion]
    return (
        f"Conversions:\n\n{table(['as', 'what it makes'], rows)}\nOther times are written as a format: "
        "`as: '%d/%b/%Y:%H:%M:%S %z'` reads `01/May/2026:08:30:00 +0000`. The whole text must fit, small and capital "
        "letters and the number of blanks aside. `as` may be a list of such words and formats; the first that fits "
        f"reads the time.\n\n{table(['directive', 'what it reads'], _DIRECTIVES)}\n"
        "Where a text has no zone, `zone` says which it is of (an IANA name such as `Europe/Berlin`, or an offset such "
        "as `+02:00`), and without that it is UTC. Of a local time that comes twice when clocks are set back the "
        "earlier one counts. Without a year, it is the latest such time that is not more than a day after the arrival; "
        "that is for the field `time` alone. A timestamp that none of its forms fits, or before 2000 or after 2100, "
        "counts as absent. An event whose time is absent gets the time of its arrival, and `details.time_problem` says "
        "so.\n\n"
    )


_DIRECTIVES = [
    ("`%Y`, `%y`", "Year of four digits; of two: 69 to 99 are of the last century."),
    ("`%m`, `%b`", "Month as a number; as its English name, short or long (`%B` and `%h` are the same)."),
    ("`%d`", "Day of the month (`%e` is the same)."),
    ("`%a`", "English weekday, short or long (`%A` is the same); it may be wrong."),
    ("`%H`, `%I` with `%p`", "Hour; of the half day, with AM or PM."),
    ("`%M`, `%S`, `%f`", "Minute; second; fraction of a second, one to nine digits."),
    (
        "`%z`",
        "Offset such as `+0200`, `+02:00` or `-05`; or Z, UTC, GMT, and the American zones of RFC 2822 (EST, PDT).",
    ),
    ("`%F`, `%D`, `%T`, `%R`", "`%Y-%m-%d`, `%m/%d/%y`, `%H:%M:%S`, `%H:%M`."),
    ("`%%`", "A percent sign."),
]
