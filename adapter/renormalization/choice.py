"""Which entries a renormalization is about."""

from __future__ import annotations

from collections.abc import Mapping

import orjson

from adapter.filter import Filter
from adapter.mapping.catalogue import Catalogue
from adapter.model import Entry
from adapter.renormalization.job import QUARANTINED, Question


class Choice:
    """The entries that a question asks for."""

    def __init__(self, question: Question, providers: Mapping[str, str], catalogue: Catalogue) -> None:
        """``providers``: of the configured sources, by name."""
        self._question = question
        self._providers = providers
        globs = [one for one in question.type if one != QUARANTINED]
        self._filter = Filter.parse({"type": globs}, catalogue) if globs else None
        self._quarantined = not question.type or QUARANTINED in question.type

    def may_take(self, first: Entry) -> bool:
        """Whether a first entry may be one, whatever became of it since."""
        question = self._question
        if question.received_from is not None and first.received_at < question.received_from:
            return False
        if question.received_to is not None and first.received_at >= question.received_to:
            return False
        known = self._providers.get(first.source)
        return question.provider is None or known is None or known == question.provider

    def takes(self, latest: Entry) -> bool:
        """Whether an entry is one, which stands for its event now."""
        question = self._question
        if question.native_type and latest.native_type not in question.native_type:
            return False
        if latest.type is None:
            return self._quarantined and (question.provider is None or latest.source in self._providers)
        if question.type and (self._filter is None or not self._filter.may_match_type(latest.type)):
            return False
        if question.provider is None or latest.source in self._providers:
            return True
        # Of a source that is not configured any more, its events alone say which provider's it was.
        assert latest.event is not None
        return bool(orjson.loads(latest.event)["source"]["provider"] == question.provider)
