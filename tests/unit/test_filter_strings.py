"""What does a filter string ask for, and what is said of one that asks nothing sensible?"""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from local.realtime.changes.elixir import inspect, inspect_pretty
from local.realtime.changes.filters import OPERATORS, Filter, UnreadableFilter, parse


@pytest.mark.parametrize(
    ("text", "filters"),
    [
        ("", ()),
        ("  ", ()),
        ("id=eq.1", (Filter("id", "eq", "1", False),)),
        ("id=not.eq.1", (Filter("id", "eq", "1", True),)),
        ("id=in.(1,2)", (Filter("id", "in", "{1,2}", False),)),
        ("id=in.()", (Filter("id", "in", "{}", False),)),
        ("a=eq.1,b=lt.2", (Filter("a", "eq", "1", False), Filter("b", "lt", "2", False))),
        (" a=eq.1 , b=lt.2 ", (Filter("a", "eq", "1", False), Filter("b", "lt", "2", False))),
        ('a=eq."x, y"', (Filter("a", "eq", "x, y", False),)),
        (r'a=eq."say \"x\""', (Filter("a", "eq", 'say "x"', False),)),
        ('a=eq.""', (Filter("a", "eq", "", False),)),
        ("a=eq.", (Filter("a", "eq", "", False),)),
        ('a=eq.say "x"', (Filter("a", "eq", 'say "x"', False),)),
        ('a=eq."x" y', (Filter("a", "eq", '"x" y', False),)),
        ('a=eq."x, y', (Filter("a", "eq", '"x, y', False),)),
        ('a=in.("x, y",z)', (Filter("a", "in", '{"x, y",z}', False),)),
        ('a=in.("x)",y)', (Filter("a", "in", '{"x)",y}', False),)),
        ("a=eq.f(1,2)", (Filter("a", "eq", "f(1,2)", False),)),
        ("a=eq.1),b=eq.2", (Filter("a", "eq", "1)", False), Filter("b", "eq", "2", False))),
        ("a.b=eq.c.d", (Filter("a.b", "eq", "c.d", False),)),
        ("a=eq.b=c", (Filter("a", "eq", "b=c", False),)),
    ],
)
def test_a_filter_is_read(text: str, filters: tuple[Filter, ...]) -> None:
    assert parse(text) == filters


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("undefined", '["undefined"]'),
        ("a=5", '["5"]'),
        ("a=foo.5", '["foo", "5"]'),
        ("a=EQ.5", '["EQ", "5"]'),
        ("a=not.not.eq.5", '["not", "eq.5"]'),
        ("a=b=eq.x", '["b=eq", "x"]'),
        ("a=eq.x, y", '["y"]'),
        ('a=match.[,"]', '["\\"]"]'),
        ("a=eq.1,", "filter must not contain empty segments (check for extra commas)"),
        ("a=in.{1,2}", "`in` filter value must be wrapped by parentheses"),
        ("a=in.1", "`in` filter value must be wrapped by parentheses"),
        ("a=in.(", "`in` filter value must be wrapped by parentheses"),
    ],
)
def test_an_unreadable_filter_is_named_as_by_the_real_server(text: str, message: str) -> None:
    with pytest.raises(UnreadableFilter) as refused:
        parse(text)

    assert str(refused.value) == message


@given(st.text())
def test_any_text_is_read_or_refused(text: str) -> None:
    try:
        filters = parse(text)
    except UnreadableFilter:
        return
    assert all(one.operator in OPERATORS for one in filters)


@given(st.text())
def test_a_quoted_value_means_its_inside(value: str) -> None:
    quoted = value.replace("\\", "\\\\").replace('"', '\\"')

    assert parse(f'a=eq."{quoted}"') == (Filter("a", "eq", value, False),)


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (None, "nil"),
        (True, "true"),
        (1, "1"),
        ('a"b\\', '"a\\"b\\\\"'),
        ("a\nb", '"a\\nb"'),
        ("#{x}", '"\\#{x}"'),
        ("é", '"é"'),
        ("\u200b", '"\u200b"'),
        ("\x07\x7f", '"\\a\\d"'),
        ("a\x01", "<<97, 1>>"),
        ("\x01" * 51, f"<<{'1, ' * 50}...>>"),
        ("x" * 4097, f'"{"x" * 4096}" <> ...'),
        ([], "[]"),
        (("a", False), '{"a", false}'),
        ({"b": 1, "a": None}, '%{"a" => nil, "b" => 1}'),
    ],
)
def test_values_are_written_as_elixir_writes_them(value: object, text: str) -> None:
    assert inspect(value) == text


def test_a_list_of_tuples_wider_than_80_breaks_between_them() -> None:
    short = [("column", "eq", "v" * 20, False)] * 2

    assert inspect_pretty(short[:1]) == '[{"column", "eq", "vvvvvvvvvvvvvvvvvvvv", false}]'
    assert inspect_pretty(short) == (
        "[\n"
        '  {"column", "eq", "vvvvvvvvvvvvvvvvvvvv", false},\n'
        '  {"column", "eq", "vvvvvvvvvvvvvvvvvvvv", false}\n'
        "]"
    )


def test_the_members_of_a_tuple_flow_into_lines() -> None:
    wide = "{" + ",".join(str(n) for n in range(40)) + "}"

    assert inspect_pretty([("id", "in", wide, False)]) == (
        f'[\n  {{"id", "in",\n   "{wide}",\n   false}}\n]'
    )


def test_a_tuple_stays_whole_when_only_the_comma_behind_it_is_too_wide() -> None:
    fits = ("column", "eq", "v" * 51, False)

    assert inspect_pretty([fits, fits]) == (
        "[\n"
        f'  {{"column", "eq", "{"v" * 51}", false}},\n'
        f'  {{"column", "eq", "{"v" * 51}", false}}\n'
        "]"
    )


def test_width_is_counted_in_bytes() -> None:
    assert inspect_pretty([("column", "eq", "é" * 25, False)]) == (
        f'[{{"column", "eq", "{"é" * 25}", false}}]'
    )
    assert inspect_pretty([("column", "eq", "é" * 26, False)]) == (
        f'[\n  {{"column", "eq", "{"é" * 26}",\n   false}}\n]'
    )
