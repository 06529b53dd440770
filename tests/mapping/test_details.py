"""Agreed details: their forms, and those that a folder of somebody's own adds."""

from __future__ import annotations

from pathlib import Path

import pytest

from adapter.errors import MappingError
from adapter.mapping.catalogue import Catalogue, Detail, Form, load_catalogue
from adapter.resources import mappings_path


@pytest.mark.parametrize(
    ("name", "right", "wrong"),
    [
        ("factor", "otp", "OTP"),
        ("risk_level", "high", "3"),
        ("mfa", "true", "yes"),
        ("country", "NL", "Netherlands"),
        ("role", "reader, writer", '["reader","writer"]'),
    ],
)
def test_a_value_that_is_not_of_its_form_is_told_with_what_would_be(
    catalogue: Catalogue, name: str, right: str, wrong: str
) -> None:
    assert catalogue.details[name].misfit(right) is None
    assert catalogue.details[name].misfit(wrong)


def test_a_text_has_any_form(catalogue: Catalogue) -> None:
    assert catalogue.details["user_agent"].form is Form.TEXT
    assert catalogue.details["user_agent"].misfit("[x] true NL") is None


def test_a_folder_of_ones_own_adds_details_and_says_more_of_those_there_are(tmp_path: Path) -> None:
    (tmp_path / "types.yaml").write_text(
        "details:\n"
        "  badge: {meaning: The badge that was shown, form: word, values: {gold: a, silver: b}}\n"
        "  risk_level: {meaning: How risky, form: word, values: {low: a, high: b, absurd: c}}\n"
    )
    details = load_catalogue([tmp_path, mappings_path()]).details
    assert details["badge"].misfit("bronze") == "one of gold, silver"
    assert details["risk_level"].misfit("absurd") is None
    assert "factor" in details


@pytest.mark.parametrize("detail", ["{meaning: x, form: word}", "{meaning: x, values: {a: b}}"])
def test_a_word_has_values_and_nothing_else_has(tmp_path: Path, detail: str) -> None:
    (tmp_path / "types.yaml").write_text(f"details:\n  one: {detail}\n")
    with pytest.raises(MappingError, match="`form: word` and `values` come together"):
        load_catalogue([tmp_path])


def test_every_agreed_detail_has_a_field_in_some_target_format_unless_none_has_one(catalogue: Catalogue) -> None:
    def has_field(detail: Detail) -> bool:
        return any((detail.ecs, detail.ocsf, detail.asim))

    assert [name for name, detail in catalogue.details.items() if not has_field(detail)] == ["proxy"]
