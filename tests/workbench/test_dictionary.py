"""What a new log is compressed against."""

from __future__ import annotations

from pathlib import Path

import yaml

from adapter.mapping.catalogue import Catalogue
from adapter.mapping.table import load_table
from adapter.workbench.dictionary import make_dictionary
from tests.mapping.acme import MAPPING, RAW, write_table


def test_what_a_table_redacts_in_its_examples_is_not_in_the_dictionary(tmp_path: Path, catalogue: Catalogue) -> None:
    file = write_table(tmp_path, MAPPING + "redact: [{in: payload, keys: [password]}]\n")
    examples = tmp_path / "acme" / "examples" / "first.yaml"
    examples.parent.mkdir()
    raw = {**RAW, "payload": {"password": "hunter2-secret", "note": "kept"}}
    examples.write_text(yaml.safe_dump([{"name": "first", "raw": raw, "expect": []}]))
    dictionary = make_dictionary([load_table(file, catalogue)])
    assert b'"note":"kept"' in dictionary
    assert b"hunter2-secret" not in dictionary
