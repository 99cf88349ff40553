"""How does Elixir's `inspect` write a value? Error texts of the real server contain it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

WIDTH = 80  # bytes of UTF-8, not characters
PRINTABLE_LIMIT = 4096  # characters of one string
BYTES_LIMIT = 50  # of a string that is not printable
ESCAPES = {
    "\a": "\\a", "\b": "\\b", "\t": "\\t", "\n": "\\n", "\v": "\\v", "\f": "\\f",
    "\r": "\\r", "\x1b": "\\e", "\x7f": "\\d", '"': '\\"', "\\": "\\\\",
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
    A list or tuple is kept whole if it fits, whatever follows it.
    """
    whole = inspect(list(items))
    if column + _width(whole) <= WIDTH:
        return whole
    if all(not isinstance(item, tuple) for item in items):
        return "[" + _flow([inspect(item) for item in items], column + 1, 1) + "]"
    last = len(items) - 1
    lines = [_item(item, column + 2, 0 if at == last else 1) for at, item in enumerate(items)]
    pad = "\n" + " " * (column + 2)
    return "[" + pad + ("," + pad).join(lines) + "\n" + " " * column + "]"


def _item(item: object, column: int, trailing: int) -> str:
    whole = inspect(item)
    if column + _width(whole) <= WIDTH or not isinstance(item, tuple):
        return whole
    return "{" + _flow([inspect(part) for part in item], column + 1, 1 + trailing) + "}"


def _flow(parts: Sequence[str], column: int, closing: int) -> str:
    """Fill lines with parts; a new line begins at the column of the first part."""
    text, used = parts[0], column + _width(parts[0])
    for at, part in enumerate(parts[1:], start=1):
        after = closing if at == len(parts) - 1 else 1  # a comma or what closes the container
        if used + 2 + _width(part) + after <= WIDTH:
            text, used = f"{text}, {part}", used + 2 + _width(part)
        else:
            text, used = f"{text},\n{' ' * column}{part}", column + _width(part)
    return text


def _width(text: str) -> int:
    return len(text.encode())


def _string(value: str) -> str:
    shown = value[:PRINTABLE_LIMIT]
    if not all(map(_is_printable, shown)):
        return _bytes(value.encode())
    text = "".join(ESCAPES.get(c, c) for c in shown).replace("#{", "\\#{")
    return f'"{text}"' if shown == value else f'"{text}" <> ...'


def _is_printable(character: str) -> bool:
    """Elixir goes by ranges: a zero-width space is as good as a letter."""
    code = ord(character)
    return character in ESCAPES or 0x20 <= code < 0x7F or (code >= 0xA0 and code & ~1 != 0xFFFE)


def _bytes(value: bytes) -> str:
    numbers = [str(byte) for byte in value[:BYTES_LIMIT]]
    return "<<" + ", ".join(numbers + ["..."] * (len(value) > BYTES_LIMIT)) + ">>"
