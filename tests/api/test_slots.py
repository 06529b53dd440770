"""How many answers are made at once."""

from __future__ import annotations

from contextlib import ExitStack

import pytest

from adapter.api.slots import Slots
from adapter.errors import RequestError


def test_a_caller_has_so_many_and_others_have_theirs() -> None:
    slots = Slots("questions", each=2)
    with slots.taken("a"), slots.taken("a"), slots.taken("b"):
        with pytest.raises(RequestError) as refused, slots.taken("a"):
            pass
        assert (refused.value.status, "Retry-After" in refused.value.headers) == (429, True)
        with slots.taken("b"):
            pass
    with slots.taken("a"), slots.taken("a"):
        pass


def test_all_together_have_so_many() -> None:
    slots = Slots("exports", each=4, together=3)
    with ExitStack() as stack:
        for caller in "abc":
            stack.enter_context(slots.taken(caller))
        with pytest.raises(RequestError) as refused, slots.taken("d"):
            pass
        assert (refused.value.status, "Retry-After" in refused.value.headers) == (503, True)
    with slots.taken("d"):
        pass
