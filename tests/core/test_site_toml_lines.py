"""The key → line locator against texts whose lines are known."""

from __future__ import annotations

import tomllib

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mines.site.toml_lines import find_lines

TEXT = '''\
# a comment with [brackets] and = signs
schema = 1
"quoted key" = "a # no comment"
'single.dotted' = 3
dotted.key.path = true

[table]  # a comment
multi = """
key = "inside a text, no key"
[nor.a.table]
\\""" still inside """
after = 1
literal = \'\'\'
it's = 1
\'\'\'
array = [
  1,  # one ]
  [2, "]"],
  { inner = 3, "other inner" = [4] },
]
inline = { a = 1, b.c = "}", d = { e = 2 } }

[ table . sub ]
x = 07:32:00

[[rows]]
n = 1
[rows.more]
z = 1
[[rows.deep]]
y = 1

[[rows]]
n = 2
  [[rows.deep]]
  y = 2
  [[rows.deep]]
  y = 3
["table".'quoted "x"']
last = 1'''

CASES = [
    (("schema",), "schema = 1"),
    (("quoted key",), '"quoted key"'),
    (("single.dotted",), "'single.dotted'"),
    (("dotted", "key", "path"), "dotted.key.path"),
    (("dotted",), "dotted.key.path"),
    (("table",), "[table]"),
    (("table", "multi"), 'multi = """'),
    (("table", "after"), "after = 1"),
    (("table", "literal"), "literal = "),
    (("table", "array"), "array = ["),
    (("table", "array", 0), "1,  # one ]"),
    (("table", "array", 1), '[2, "]"],'),
    (("table", "array", 2, "inner"), "{ inner = 3"),
    (("table", "array", 2, "other inner"), "{ inner = 3"),
    (("table", "inline", "d", "e"), "inline = "),
    (("table", "sub"), "[ table . sub ]"),
    (("table", "sub", "x"), "x = 07:32:00"),
    (("rows", 0, "n"), "n = 1"),
    (("rows", 0, "more", "z"), "z = 1"),
    (("rows", 0, "deep", 0, "y"), "y = 1"),
    (("rows", 1, "n"), "n = 2"),
    (("rows", 1, "deep", 0, "y"), "y = 2"),
    (("rows", 1, "deep", 1, "y"), "y = 3"),
    (("table", 'quoted "x"', "last"), "last = 1"),
    (("table", "sub", "missing"), "[ table . sub ]"),
    (("rows", 1, "missing"), "[[rows]]"),
]


@pytest.mark.parametrize(("path", "begins"), [pytest.param(*case, id=".".join(map(str, case[0]))) for case in CASES])
@pytest.mark.parametrize("newline", ["\n", "\r\n"], ids=["lf", "crlf"])
def test_a_key_is_found_in_its_line(path, begins, newline):
    text = TEXT.replace("\n", newline)
    tomllib.loads(text)
    line = find_lines(text).line(*path)
    assert text.split("\n")[line - 1].strip().startswith(begins)


def test_the_second_element_of_an_array_of_tables_has_its_own_line():
    lines = find_lines(TEXT)
    assert lines.line("rows", 0) < lines.line("rows", 1) == TEXT[: TEXT.rindex("[[rows]]")].count("\n") + 1


def test_a_key_that_is_nowhere_has_line_0():
    assert find_lines(TEXT).line("nowhere", "at all") == 0


def test_everything_below_a_table_by_dotted_key():
    under = find_lines("[source.a]\nkind = 1\n[source.a.unit.1]\nname = 2\n[source.ab]\nx = 1\n").under("source", "a")
    assert under == {"": 1, "kind": 2, "unit": 3, "unit.1": 3, "unit.1.name": 4}


NUMBERS_AND_TEXTS = ["1", "-1.5e3", "true", "2025-12-31 07:32:00Z", "07:32:00", '"a # ] } = \\" b"', "'c:\\'", '""']
VALUES = st.sampled_from(
    [
        *NUMBERS_AND_TEXTS,
        "''",
        "[]",
        "{}",
        '"""x\n[y]\nz = 1"""',
        "'''\n''x\n'''",
        '""""quoted""""',
        "[\n1,\n'a' # ]\n,\n]",
        "{ a = [1, { b = ']' }] }",
    ]
)
GAPS = st.sampled_from(["", "\n", "# [no.table]\n", "\n\n# x = 1\n", "  \n"])


@settings(max_examples=150, deadline=None)
@given(st.lists(st.lists(st.tuples(GAPS, VALUES), max_size=5), max_size=6))
def test_keys_are_found_whatever_values_stand_around_them(tables):
    text, expected = "", {}
    for t, pairs in enumerate(tables):
        expected[("t", t)] = text.count("\n") + 1
        text += "[[t]]\n"
        for k, (gap, value) in enumerate(pairs):
            text += gap
            expected[("t", t, f"k{k}")] = text.count("\n") + 1
            text += f"k{k} = {value}\n"
    tomllib.loads(text)
    lines = find_lines(text)
    assert {path: lines.line(*path) for path in expected} == expected
