"""What in a question looks like a slip: a type, a source, a provider or a detail's value that nobody knows.

None of these is refused. What is stored may have types that no catalogue has any more, providers pass types on that
none ever had, and sources come and go with the settings. But whoever asks for one by a slip gets nothing, for ever.
"""

from __future__ import annotations

import difflib
from collections.abc import Callable, Collection, Iterable
from itertools import islice

from adapter.filter import SCOPES, Term, is_known_type
from adapter.mapping.catalogue import ACCESS, Catalogue
from adapter.search_fields import FOUND_DETAILS

#: Hints of one question; values that are near; names that are listed where none is; characters of a value.
_HINTS, _NEAR, _LISTED, _SHOWN = 5, 3, 10, 100


class Hints:
    """Knows what there is."""

    def __init__(
        self, catalogue: Callable[[], Catalogue], sources: Collection[str], providers: Collection[str]
    ) -> None:
        """``catalogue`` gives the present one; ``sources`` are those that are configured, ``providers`` those that
        have a table."""
        self._catalogue = catalogue
        self._sources = sources
        self._providers = providers

    def of(self, terms: Iterable[Term], *, words: Collection[str] = ()) -> list[str]:
        """What looks like a slip in conditions, for people, a line each; at most a few. ``words``: what may stand
        among the types besides."""
        terms = list(terms)
        # Who may see some realms alone is not told which sources and tables there are for others.
        told_of = [term for term in terms if term.name not in SCOPES] if any(term.exact for term in terms) else terms
        asked = ((term, value, self._of(term.name, value, words)) for term in told_of for value in term.values)
        found = (f"{term.parameter}={value[:_SHOWN]}: {told}" for term, value, told in asked if told is not None)
        return list(islice(found, _HINTS))

    def _of(self, name: str, value: str, words: Collection[str]) -> str | None:
        match name:
            case "type":
                catalogue = self._catalogue()
                if is_known_type(value, catalogue) or is_known_type(ACCESS + value, catalogue):
                    return None
                return "the catalogue has no such type" + _near(value, (*catalogue.names, *words), ())
            case "source" if value not in self._sources:
                return "no source of this name is configured" + _near(value, self._sources, self._sources)
            case "provider" if value not in self._providers:
                return "there is no table for this provider" + _near(value, self._providers, self._providers)
            case _ if name in FOUND_DETAILS:
                agreed = self._catalogue().details
                forms = [agreed[detail] for detail in FOUND_DETAILS[name] if detail in agreed]
                wanted = value.upper() if name == "country" else value.lower()
                if not forms or (right := forms[0].misfit(wanted)) is None:
                    return None
                return f"none of the agreed values; it is {right}"
            case _:
                return None


def _near(value: str, known: Collection[str], listed: Collection[str]) -> str:
    """What may have been meant; if nothing is near, what there is."""
    meant = value[:_SHOWN].replace("*", "")
    found = difflib.get_close_matches(meant, known, _NEAR)
    if not found and "." not in meant:
        found = difflib.get_close_matches(ACCESS + meant, known, _NEAR)
    if found:
        return f"; did you mean {' or '.join(found)}?"
    if not listed:
        return ""
    some = sorted(listed)
    rest = f" and {len(some) - _LISTED} more" if len(some) > _LISTED else ""
    return f"; there are {', '.join(some[:_LISTED])}{rest}"
