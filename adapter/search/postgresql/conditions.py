"""A filter in SQL: a test of the row ``e`` of a part.

Which of the part's indexes are used is left to the planner: what a wrong choice costs is bounded by the size of a part.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import NamedTuple

from adapter.filter import (
    WORDED,
    Filter,
    Term,
    Word,
    address_range,
    glob_range,
    split_globs,
    wanted_words,
)
from adapter.search.index import LATEST, ByLog, ByTime, Question
from adapter.search.keys import REALM, ROLES, TYPE, QuestionKeys
from adapter.search.linking import Scoped
from adapter.search.symbols import Wanted, named_types

#: Ranges of addresses that are named one by one, each of which an index can find.
_RANGES = 16


class Statement(NamedTuple):
    """The rows of a part that are asked for, and the values of the parameters; ``{}`` stands for the part's table."""

    text: str
    values: list[object]


class _Values(list[object]):
    def place(self, value: object, type: str) -> str:
        """Where a value stands in the statement."""
        self.append(value)
        return f"${len(self)}::{type}"


#: What else the terms of a question mean, by what is known of ids and names.
Links = Mapping[Term, Sequence[Scoped]]


def compile_question(question: Question, keys: QuestionKeys, kinds: Wanted, origins: Wanted, links: Links) -> Statement:
    """The statement that asks one part for the rows of a page: time, position, kind and type of each, in its order."""
    values = _Values()
    tests = _tests(question, keys, kinds, origins, links, values)
    if isinstance(question, ByLog):
        order = "e.position"
    else:
        order = "e.time, e.position" if question.ascending else "e.time DESC, e.position DESC"
    limit = values.place(question.limit, "bigint")
    text = f"(SELECT e.time, e.position, e.kind, e.type FROM {{}} AS e WHERE {tests} ORDER BY {order} LIMIT {limit})"
    return Statement(text, values)


def compile_count(
    question: ByTime, column: str, bucket: str, keys: QuestionKeys, kinds: Wanted, origins: Wanted, links: Links
) -> Statement:
    """The statement that counts one part's rows of a question, by a column and a bucket (SQL of ``e.time``): value,
    kind and type of general ones, bucket, rows, and the position of one; one group more than the question's limit at
    most."""
    values = _Values()
    tests = _tests(question, keys, kinds, origins, links, values)
    general = "CASE WHEN e.kind < 0 THEN e.kind ELSE 1 END"
    limit = values.place(question.limit + 1, "bigint")
    text = (
        f"(SELECT e.{column}, {general}, e.type, {bucket}, count(*), max(e.position) FROM {{}} AS e WHERE {tests} "
        f"GROUP BY 1, 2, 3, 4 LIMIT {limit})"
    )
    return Statement(text, values)


def _tests(
    question: Question, keys: QuestionKeys, kinds: Wanted, origins: Wanted, links: Links, values: _Values
) -> str:
    """What a row must meet."""
    filter = question.filter
    tests = _symbolic(filter, keys, kinds, origins, values)
    for term in filter.terms:
        test = _term(term, keys, links, values)
        if test is not None:
            tests.append(f"NOT {test}" if term.negated else test)
    for column, low, high in (
        ("time", filter.time_from, filter.time_to),
        ("received_at", filter.received_from, filter.received_to),
    ):
        if low is not None:
            tests.append(f"e.{column} >= {values.place(low, 'bigint')}")
        if high is not None:
            tests.append(f"e.{column} < {values.place(high, 'bigint')}")
    if isinstance(question, ByLog):
        after, until = question.cursor.position, question.until
        tests.append(f"e.position > {values.place(after, 'bigint')} AND e.position <= {values.place(until, 'bigint')}")
        if not question.revisions:
            tests.append("NOT e.later")
    else:
        time, position, snapshot = (values.place(min(number, LATEST), "bigint") for number in question.cursor)
        behind = ">" if question.ascending else "<"
        tests.append(f"(e.time, e.position) {behind} ({time}, {position}) AND e.position <= {snapshot}")
        tests.append(f"(e.superseded_by IS NULL OR e.superseded_by > {snapshot})")
    return " AND ".join(tests)


def _symbolic(filter: Filter, keys: QuestionKeys, kinds: Wanted, origins: Wanted, values: _Values) -> list[str]:
    tests = []
    if kinds.left_out or kinds.general:
        of_general = []
        names = named_types(filter) if kinds.general else None
        if names is not None:
            of_general.append(_has(keys.of((TYPE,), names), values))
        tests.append(_of("kind", kinds, of_general, values))
    if origins.left_out or origins.general:
        of_general = []
        for term in filter.terms:
            if term.name == "realm" and origins.general:
                test = _has(keys.of((REALM,), term.values), values)
                of_general.append(f"NOT {test}" if term.negated else test)
        if origins.scoped:
            scoped = []
            for realms, where in origins.scoped:
                of_origin = f"e.origin = ANY ({values.place(list(where), 'integer[]')})"
                scoped.append(f"({_has(keys.of((REALM,), realms), values)} AND {of_origin})")
            of_general.append(f"({' OR '.join(scoped)})")
        tests.append(_of("origin", origins, of_general, values))
    return tests


def _of(column: str, wanted: Wanted, of_general: Sequence[str], values: _Values) -> str:
    if not wanted.general and len(wanted.left_out) < len(wanted.sure):
        return f"e.{column} <> ALL ({values.place(list(wanted.left_out), 'integer[]')})"
    sure = f"e.{column} = ANY ({values.place(list(wanted.sure), 'integer[]')})"
    if not wanted.general:
        return sure
    general = f"e.{column} = ANY ({values.place(list(wanted.general), 'integer[]')})"
    return f"({sure} OR ({' AND '.join([general, *of_general])}))"


def _term(term: Term, keys: QuestionKeys, links: Links, values: _Values) -> str | None:
    """A test that is never null; ``None``: the term is one of kinds or origins."""
    if term.name in ROLES:
        tests = [_has(keys.of_term(term.name, term.values), values)]
        for one in links.get(term, ()):
            of_origin = f"e.origin = ANY ({values.place(list(one.origins), 'integer[]')})"
            tests.append(f"({_has(list(one.keys), values)} AND {of_origin})")
        return tests[0] if len(tests) == 1 else f"({' OR '.join(tests)})"
    if term.name == "ip":
        return _in_ranges([address_range(value) for value in term.values], values)
    if term.name == "resource":
        return _about(term, values)
    if term.name in WORDED:
        return f"(e.words @@ {values.place(_words(wanted_words(term)), 'text')}::tsquery)"
    return None


def _has(keys: list[int], values: _Values) -> str:
    return f"(e.keys && {values.place(keys, 'bigint[]')})"


def _in_ranges(ranges: Sequence[tuple[bytes, bytes]], values: _Values) -> str:
    if len(ranges) > _RANGES:
        low, high = (values.place([pair[end] for pair in ranges], "uuid[]") for end in (0, 1))
        wanted = f"unnest({low}, {high}) AS wanted (low, high)"
        return f"EXISTS (SELECT FROM {wanted} WHERE e.address BETWEEN wanted.low AND wanted.high)"
    tests = [f"e.address BETWEEN {values.place(low, 'uuid')} AND {values.place(high, 'uuid')}" for low, high in ranges]
    return f"((e.address IS NOT NULL) AND ({' OR '.join(tests)}))"


def _about(term: Term, values: _Values) -> str:
    paths, globs = split_globs(term.values)
    tests = [f"e.resource = ANY ({values.place(list(paths), 'text[]')})"] if paths else []
    for glob in globs:
        low, high = (values.place(end, "text") for end in glob_range(glob))
        like = values.place(glob.translate(_LIKE), "text")
        tests.append(f"(e.resource >= {low} AND e.resource <= {high} AND e.resource LIKE {like})")
    return f"((e.resource IS NOT NULL) AND ({' OR '.join(tests)}))"


#: A glob as PostgreSQL's LIKE has it.
_LIKE = str.maketrans({"*": "%", "%": "\\%", "_": "\\_", "\\": "\\\\"})


def _words(lists: Sequence[Sequence[Word]]) -> str:
    """Any of some lists of words, all of each, as ``tsquery``: no word has a quote or a backslash in it."""
    wanted = [" & ".join(f"'{word.text}'{':*' if word.prefix else ''}" for word in words) for words in lists]
    return " | ".join(f"({words})" for words in wanted)
