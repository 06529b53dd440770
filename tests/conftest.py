from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from adapter.mapping.catalogue import Catalogue, load_catalogue
from adapter.mapping.document import Document
from adapter.mapping.table import Table
from adapter.resources import mappings_path

#: The least a table needs beside what a test is about.
HEAD = """
provider: acme
title: Acme
"""


@pytest.fixture(scope="session")
def catalogue() -> Catalogue:
    return load_catalogue([mappings_path()])


@pytest.fixture
def make_table(catalogue: Catalogue) -> Callable[[str], Table]:
    """A table from YAML; provider and title are given."""

    def make(text: str) -> Table:
        return Table(Document(Path("mappings/acme/mapping.yaml"), HEAD + text), catalogue)

    return make
