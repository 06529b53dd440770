"""What the check of a table may have to say: each kind of finding by its code, which stays the same."""

from __future__ import annotations

from enum import StrEnum
from typing import Self


class Weight(StrEnum):
    """What follows from a finding."""

    REFUSED = "refused"
    ERROR = "error"
    FAULT = "fault"
    WARNING = "warning"


class Code(StrEnum):
    """Names a kind of finding. Codes may be added; one that is there keeps its meaning."""

    weight: Weight
    #: One sentence, for people.
    meaning: str

    def __new__(cls, code: str, weight: Weight, meaning: str) -> Self:
        self = str.__new__(cls, code)
        self._value_ = code
        self.weight = weight
        self.meaning = meaning
        return self

    NOT_READABLE = "not-readable", Weight.REFUSED, "The file is not there, cannot be read, or is not UTF-8."
    YAML = "yaml", Weight.REFUSED, "The text is no YAML."
    TOO_LARGE = "too-large", Weight.REFUSED, "It is nested too deeply, has too many parts, or holds itself."
    DUPLICATE_KEY = "duplicate-key", Weight.REFUSED, "A key stands twice in one object."
    UNKNOWN_KEY = "unknown-key", Weight.REFUSED, "The language has no such key there."
    MISSING_KEY = "missing-key", Weight.REFUSED, "A key is missing that must be there, or that another part needs."
    WRONG_KIND = "wrong-kind", Weight.REFUSED, "A value is of another kind, such as a text where a list should be."
    WRONG_VALUE = "wrong-value", Weight.REFUSED, "A value is none of those that may stand there, or is misspelt."
    WRONG_FOLDER = "wrong-folder", Weight.REFUSED, "`provider` is not the name of the folder."
    UNKNOWN_TABLE = "unknown-table", Weight.REFUSED, "There is no table to extend, or it extends itself."
    IDLE_NULL = "idle-null", Weight.REFUSED, "A null takes away what the extended table does not have."
    SHARED_KEY = "shared-key", Weight.REFUSED, "A key is the same for all elements of a record that `each` divides."
    UNKNOWN_REASON = "unknown-reason", Weight.REFUSED, "The catalogue has no such reason."
    OUTCOME_DISAGREES = "outcome-disagrees", Weight.REFUSED, "A row's outcome does not agree with its type."

    UNDECIDED = "undecided", Weight.ERROR, "Nobody has decided yet what a row of a draft is."
    UNKNOWN_TYPE = "unknown-type", Weight.ERROR, "The catalogue has no such type."
    UNREACHABLE = "unreachable", Weight.ERROR, "A row or shape is hidden by one before it."
    NOT_LISTED = "not-listed", Weight.ERROR, "A type of the vendor's list has no row, and is not under `unmapped`."
    LISTED_UNMAPPED = "listed-unmapped", Weight.ERROR, "A type is under `unmapped`, and a row reads it."
    EXAMPLE_NOT_TAKEN = "example-not-taken", Weight.ERROR, "The table does not take an example's body at all."
    EXAMPLE_EMPTY = "example-empty", Weight.ERROR, "An example expects nothing yet."
    EXAMPLE_DIFFERS = "example-differs", Weight.ERROR, "An example becomes something else than it expects."

    PATH_FINDS_NOTHING = (
        "path-finds-nothing",
        Weight.FAULT,
        "No example has a path of a field, a condition, an identity, an actor: it may be mistyped.",
    )
    JSONPATH = "jsonpath", Weight.FAULT, "A path begins with `$.`, as in JSONPath; here it begins with its first key."
    REDACTION_FINDS_NOTHING = (
        "redaction-finds-nothing",
        Weight.FAULT,
        "No example has a part or a key of `redact`, so that nothing shows that it hides anything.",
    )
    TIME_MISSED = (
        "time-missed",
        Weight.FAULT,
        "A time can be read in no example, so that every event would have that of its arrival.",
    )
    NO_ADDRESS = "no-address", Weight.FAULT, "`as: ip` stands on what is no address in any example."
    REASON_ON_SUCCESS = "reason-on-success", Weight.FAULT, "A row whose events never fail has a reason, or an error."
    VALUE_NOT_IN_TABLE = (
        "value-not-in-table",
        Weight.FAULT,
        "A value of an example fell to its lookup's `default`; if that is meant, the example names it: "
        "`unknown: [VALUE]`.",
    )
    DETAIL_FORM = (
        "detail-form",
        Weight.FAULT,
        "An agreed detail is not of its form: a word that its list does not have, a country that is no code, …",
    )
    SECRET_IN_EXAMPLE = (
        "secret-in-example",
        Weight.FAULT,
        "An example still holds a password, token, key or link with a token; write `hidden-1` or the like.",
    )

    NO_EXAMPLE = (
        "no-example",
        Weight.WARNING,
        "No example reaches a row; with `--strict`, and in built-in tables, an error.",
    )
    NO_KEY = "no-key", Weight.WARNING, "`identity` names no event in any example."
    MERGING_IDENTITY = (
        "merging-identity",
        Weight.WARNING,
        "By `identity`, two events of one second would be one.",
    )
    UNBOUND_TOKEN = "unbound-token", Weight.WARNING, "A signed token does not cover the body."
    IDLE_FAMILY = "idle-family", Weight.WARNING, "No type of the vendor's list falls to a family."
    RAW_SCHEMA = "raw-schema", Weight.WARNING, "An example does not fit the JSON Schema of the provider's raw events."
    DUPLICATE_NAME = "duplicate-name", Weight.WARNING, "Two examples have one name."
    NOT_READ = "not-read", Weight.WARNING, "A file or folder looks like examples, and is not read."
