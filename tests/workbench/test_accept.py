"""Examples are rewritten in the style in which a person wrote them, or not at all."""

from __future__ import annotations

from pathlib import Path

import pytest

from adapter.errors import MappingError
from adapter.mapping.catalogue import Catalogue
from adapter.mapping.table import load_table
from adapter.workbench.accept import changes, write
from adapter.workbench.examples import read_examples

TABLE = """
provider: acme
title: Acme
type: kind
identity: {strong: id}
fields: {id: id, time: at}
types: {in: {type: LOGIN}}
"""


@pytest.fixture
def file(tmp_path: Path) -> Path:
    """The file of the examples."""
    (tmp_path / "acme/examples").mkdir(parents=True)
    (tmp_path / "acme/mapping.yaml").write_text(TABLE)
    return tmp_path / "acme/examples/all.yaml"


def accept(file: Path, text: str, catalogue: Catalogue) -> str:
    """The file's text after all changes were accepted."""
    file.write_bytes(text.encode())
    table = load_table(file.parent.parent / "mapping.yaml", catalogue)
    write(list(changes(table)))
    assert list(changes(table)) == []
    assert all(one.example.expect for one in read_examples(table.folder))
    return file.read_bytes().decode()


EVENT = (
    "[{id: '1', time: 1777881612345, type: access.LOGIN, authDetails: {}, details: {}, outcome: success, "
    "source: {name: acme, provider: acme, nativeType: in}}]"
)
LINES = """
    - id: '1'
      time: 1777881612345
      type: access.LOGIN
      authDetails: {}
      details: {}
      outcome: success
      source: {name: acme, provider: acme, nativeType: in}
"""
RAW = '{"kind":"in","id":"1","at":1777881612345}'


@pytest.mark.parametrize(
    ("text", "becomes"),
    [
        (
            f'- {{"name":"a","raw":{RAW},"expect":[]}}\n- {{"name":"b","raw":{RAW}, "expect": []}} # b\n',
            f'- {{"name":"a","raw":{RAW},"expect":{EVENT}}}\n- {{"name":"b","raw":{RAW}, "expect": {EVENT}}} # b\n',
        ),
        (f'[{{"name": "a", "raw": {RAW}}}]', f'[{{"name": "a", "raw": {RAW}, expect: {EVENT}}}]'),
        (f"- name: a\n  expect: []  # c\n  raw: {RAW}\n", f"- name: a\n  expect:  # c{LINES}  raw: {RAW}\n"),
        (f"- name: a\n  raw: {RAW}", f"- name: a\n  raw: {RAW}\n  expect:{LINES}"),
        (f"- name: a\n  raw: |\n    {RAW}\n\n# c\n", f"- name: a\n  raw: |\n    {RAW}\n  expect:{LINES}\n# c\n"),
        (f"\ufeff- name: 😀\n  expect : []\n  raw: {RAW}", f"\ufeff- name: 😀\n  expect :{LINES}  raw: {RAW}"),
    ],
)
def test_an_example_keeps_its_style(file: Path, catalogue: Catalogue, text: str, becomes: str) -> None:
    assert accept(file, text, catalogue) == becomes
    # What was accepted may change again.
    assert accept(file, becomes.replace("access.LOGIN", "access.LOGOUT"), catalogue) == becomes


def test_a_file_keeps_its_line_ends(file: Path, catalogue: Catalogue) -> None:
    text = accept(file, f"- name: a\r\n  expect: []\r\n  raw: {RAW}\r\n", catalogue)
    assert text == f"- name: a\n  expect:{LINES}  raw: {RAW}\n".replace("\n", "\r\n")


def test_a_file_that_would_say_something_else_is_left_alone(file: Path, catalogue: Catalogue) -> None:
    text = f"- {{name: a, raw: &r {RAW}, expect: &e []}}\n- {{name: b, raw: *r, expect: *e}}\n"
    with pytest.raises(MappingError, match=r"all.yaml: cannot be rewritten as it stands; .*: 'a', 'b'"):
        accept(file, text, catalogue)
    assert file.read_text() == text


def test_what_another_example_takes_over_is_not_rewritten_under_it(file: Path, catalogue: Catalogue) -> None:
    text = f"- &one\n  name: a\n  raw: {RAW}\n  expect: []\n- <<: *one\n  name: b\n  raw: []\n"
    with pytest.raises(MappingError, match="cannot be rewritten as it stands"):
        accept(file, text, catalogue)
    assert file.read_text() == text
