"""Bytes that requests hold are bounded for all together and for each holder, and come back when a request ends."""

from __future__ import annotations

import pytest

from adapter.errors import RequestError
from adapter.sources.budget import Budget


def test_what_a_request_took_comes_back_however_it_ends() -> None:
    budget = Budget(100)
    with budget.share("a") as share:
        share.take(30)
        share.give(10)
        assert budget.held == 20
    assert budget.held == 0
    with pytest.raises(KeyError), budget.share("a") as share:
        share.take(30)
        raise KeyError
    assert budget.held == 0


def test_one_source_holds_half_of_it_and_leaves_the_rest_to_others() -> None:
    budget = Budget(100)
    with budget.share("a") as first, budget.share("a") as second, budget.share("b") as other:
        first.take(40)
        with pytest.raises(RequestError) as refused:
            second.take(20)
        assert refused.value.status == 503
        assert "Retry-After" in refused.value.headers
        other.take(50)
        assert budget.held == 90
    assert budget.held == 0


def test_the_only_request_of_a_source_may_hold_more_than_half() -> None:
    budget = Budget(100)
    with budget.share("a") as share:
        share.take(80)
        with pytest.raises(RequestError):
            share.take(30)
        assert share.held == 80


def test_of_unproven_bodies_the_longest_under_way_gives_way() -> None:
    budget = Budget(100)
    broken_off = []
    with budget.share(None) as first, budget.share(None) as second, budget.share(None) as third:
        first.arriving(lambda: broken_off.append("first"))
        second.arriving(lambda: broken_off.append("second"))
        first.take(30)
        second.take(15)
        third.take(20)
        assert broken_off == ["first"]
        assert (first.held, second.held, third.held, budget.held) == (0, 15, 20, 35)


def test_a_body_that_has_arrived_does_not_give_way() -> None:
    budget = Budget(100)
    with budget.share(None) as first, budget.share(None) as second:
        first.arriving(pytest.fail)
        first.take(40)
        first.arrived()
        with pytest.raises(RequestError):
            second.take(20)


def test_the_oldest_does_not_make_others_give_way() -> None:
    budget = Budget(100)
    with budget.share(None) as first, budget.share(None) as second:
        first.arriving(pytest.fail)
        second.arriving(pytest.fail)
        second.take(40)
        with pytest.raises(RequestError):
            first.take(20)


def test_unproven_bodies_give_way_to_a_source() -> None:
    budget = Budget(100)
    broken_off = []
    with budget.share(None) as unproven, budget.share("a") as a, budget.share("b") as b:
        unproven.arriving(lambda: broken_off.append(unproven))
        unproven.take(50)
        a.take(50)
        b.take(10)
        assert broken_off == [unproven]
        assert budget.held == 60


def test_a_proven_body_counts_for_its_source_from_then_on() -> None:
    budget = Budget(100)
    with budget.share(None) as share, budget.share("a") as other, budget.share(None) as unproven:
        share.take(40)
        share.prove("a")
        unproven.take(50)
        with pytest.raises(RequestError):
            other.take(20)
    assert budget.held == 0
