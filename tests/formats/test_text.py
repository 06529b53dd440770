"""Foreign text for people's eyes."""

from __future__ import annotations

import json

import pytest

from adapter.formats.text import laid_out


@pytest.mark.parametrize("value", [{}, [], {"a": {}, "b": [], "c": [1, {"x": 'y\\" ]}'}], "d": None}, 5, "x", [[{}]]])
def test_json_is_laid_out_a_part_a_line(value: object) -> None:
    assert laid_out(json.dumps(value)) == json.dumps(value, indent=2)


def test_json_that_is_laid_out_keeps_its_numbers_and_what_stands_twice() -> None:
    text = '{"a":99999999999999999999999999,"a":1.10,"b":1e400}'
    assert laid_out(text) == '{\n  "a": 99999999999999999999999999,\n  "a": 1.10,\n  "b": 1e400\n}'
