"""How does Elixir's `inspect` write a value? Error texts of the real server contain it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

WIDTH = 80
ESCAPES = {
    "\a": "\\a", "\b": "\\b", "\t": "\\t", "\n": "\\n", "\v": "\\v", "\f": "\\f",
    "\r": "\\r", "\x1b": "\\e", "\x7f": "\\d", '"': '\\"', "\\": "\\\\", "\0": "\\0",
}  # fmt: skip


def inspect(value: object) -> str:
    """On one line: strings, numbers, booleans, None, lists, tuples, maps with string keys."""
    if isinstance(value, str):
        return _string(value)
    if value is None:
        return "nil"
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, Mapping):
        pairs = (f"{inspect(key)} => {inspect(value[key])}" for key in sorted(value))
        return "%{" + ", ".join(pairs) + "}"
    if isinstance(value, tuple):
        return "{" + ", ".join(map(inspect, value)) + "}"
    if isinstance(value, Sequence):
        return "[" + ", ".join(map(inspect, value)) + "]"
    return str(value)


def inspect_pretty(items: Sequence[object], column: int = 0) -> str:
    """
    A list as `inspect(…, pretty: true)` writes it: wrapped when wider than 80 columns.

    Lists of tuples break between all their tuples; strings flow, as do the members of a tuple.
    """
    whole = inspect(list(items))
    if column + len(whole) <= WIDTH:
        return whole
    if all(not isinstance(item, tuple) for item in items):
        return "[" + _flow([inspect(item) for item in items], column + 1, 1) + "]"
    last = len(items) - 1
    lines = [_item(item, column + 2, 0 if at == last else 1) for at, item in enumerate(items)]
    pad = "\n" + " " * (column + 2)
    return "[" + pad + ("," + pad).join(lines) + "\n" + " " * column + "]"


def _item(item: object, column: int, trailing: int) -> str:
    whole = inspect(item)
    if column + len(whole) + trailing <= WIDTH or not isinstance(item, tuple):
        return whole
    return "{" + _flow([inspect(part) for part in item], column + 1, 1 + trailing) + "}"


def _flow(parts: Sequence[str], column: int, closing: int) -> str:
    """Fill lines with parts; a new line begins at the column of the first part."""
    text, used = parts[0], column + len(parts[0])
    for at, part in enumerate(parts[1:], start=1):
        after = closing if at == len(parts) - 1 else 1  # a comma or what closes the container
        if used + 2 + len(part) + after <= WIDTH:
            text, used = f"{text}, {part}", used + 2 + len(part)
        else:
            text, used = f"{text},\n{' ' * column}{part}", column + len(part)
    return text


def _string(value: str) -> str:
    return '"' + "".join(_character(c) for c in value).replace("#{", "\\#{") + '"'


def _character(character: str) -> str:
    if character in ESCAPES:
        return ESCAPES[character]
    if character.isprintable() or character == " ":
        return character
    code = ord(character)
    return f"\\x{code:02X}" if code < 0x100 else f"\\u{{{code:X}}}"
