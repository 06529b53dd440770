from __future__ import annotations

import re
from pathlib import Path

import pytest
import yaml
from pydantic import BaseModel

from adapter.docs.__main__ import FOLDER, generated
from adapter.docs.language import PARTS, words
from adapter.finding_codes import Code
from adapter.mapping import language
from adapter.mapping.catalogue import load_catalogue
from adapter.mapping.table import load_table
from adapter.resources import mappings_path

PAGES = generated()

MINIMUM = {"provider": "shop", "title": "The shop's accounts", "type": "kind", "identity": "none"}


@pytest.mark.parametrize("name", sorted(PAGES))
def test_the_committed_page_is_the_generated_one(name: str) -> None:
    assert (FOLDER / name).read_text("utf-8") == PAGES[name], "run `python -m adapter.docs`"


def test_no_page_of_a_provider_is_left_over() -> None:
    assert {f"providers/{page.name}" for page in (FOLDER / "providers").iterdir()} <= set(PAGES)


def test_every_part_of_the_language_is_on_its_page() -> None:
    own = {model for model in vars(language).values() if isinstance(model, type) and issubclass(model, BaseModel)}
    parts = {model for model in own if model.__module__ == language.__name__ and model.model_fields}
    # What all rows have stands with `Row`.
    assert parts - {language.RowWords} == set(PARTS)


def test_every_code_of_a_finding_is_on_its_page() -> None:
    assert [code for code in Code if f"| `{code}` | {code.meaning} |" not in PAGES["mapping-findings.md"]] == []


@pytest.mark.parametrize("model", PARTS, ids=lambda model: model.__name__)
def test_the_example_of_a_part_is_a_table_that_uses_every_word(model: type[BaseModel], tmp_path: Path) -> None:
    _, example = PARTS[model]
    for document in yaml.safe_load_all(example):
        table = document if "extends" in document else {**MINIMUM, **document}
        file = tmp_path / table["provider"] / "mapping.yaml"
        file.parent.mkdir()
        file.write_text(yaml.safe_dump(table))
        load_table(file, load_catalogue([mappings_path()]), [mappings_path()])
    assert not [word for word in words(model) if not re.search(rf"\b{word}:", example)]


@pytest.mark.parametrize("name", sorted(PAGES))
def test_every_word_and_setting_says_what_it_means(name: str) -> None:
    rows = [line for line in PAGES[name].splitlines() if line.startswith("| `") and name.count("/") == 0]
    assert not [row for row in rows if row.endswith("| . |")]
