"""What is a switch: its name, what it can be set to, what it means, and when it acts?"""

from __future__ import annotations

import difflib
import random
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, Generic, Literal, TypeVar, overload

V = TypeVar("V")

# while on: until it is taken back; once: over as soon as it has struck; at start: of `local up`
When = Literal["while on", "once", "at start"]


class UnknownSwitch(LookupError):
    """There is no switch of that name; the text says which one may be meant."""


class BadValue(ValueError):
    """A value that a switch cannot have; the text says what it can have."""


@dataclass(frozen=True, slots=True)
class Kind(Generic[V]):
    """
    A type of values. `read` makes one of a text or raises BadValue; `show` is the way back.

    `allowed` are all the texts there are; none where they cannot be counted.
    """

    name: str
    read: Callable[[str], V]
    show: Callable[[V], str] = str
    allowed: tuple[str, ...] = ()


class Switch(Generic[V]):
    """
    One way to break the server, as an attribute of its owner: None while all is well.

    `default` is the text of the value it gets where none is given. `strike(connection, value)` is
    called for each connection when it is thrown and says whether there was anything to break.
    What happens `once` and met nobody waits for the first channel that is joined.
    """

    def __init__(
        self,
        kind: Kind[V],
        default: str,
        meaning: str,
        *,
        when: When = "while on",
        strike: Callable[[Any, V], bool] | None = None,
    ) -> None:
        self.kind = kind
        self.default = default
        self.meaning = meaning
        self.when: When = when
        self.strike = strike
        self.name = ""

    def __set_name__(self, owner: type, name: str) -> None:
        self.name = name

    @overload
    def __get__(self, owner: None, kind: type) -> Switch[V]: ...
    @overload
    def __get__(self, owner: Switched, kind: type) -> V | None: ...
    def __get__(self, owner: Switched | None, kind: type) -> Switch[V] | V | None:
        if owner is None:
            return self
        value: V | None = owner.values.get(self.name)
        return value

    def __set__(self, owner: Switched, value: V | None) -> None:
        if value is None:
            owner.values.pop(self.name, None)
        else:
            owner.values[self.name] = value
        owner.moved(self)


class Switched:
    """Whatever has switches; `values` are those of the switches that are on."""

    def __init__(self) -> None:
        self.values: dict[str, Any] = {}

    def moved(self, switch: Switch[Any]) -> None:
        """Called after a switch was thrown or taken back."""

    @classmethod
    def switches(cls) -> Mapping[str, Switch[Any]]:
        """All there are by name, in the order they are written down."""
        return {name: one for name, one in vars(cls).items() if isinstance(one, Switch)}

    def throw(self, name: str, text: str | None = None) -> None:
        """Set a switch to what the text says, or its default. Raises UnknownSwitch, BadValue."""
        setattr(self, name, self.read(name, text))

    def take_back(self, name: str) -> None:
        """Raises UnknownSwitch."""
        setattr(self, self.named(name).name, None)

    def shown(self, name: str) -> str | None:
        """The value as text, as `throw` takes it; None while it is off."""
        value = self.values.get(name)
        return None if value is None else self.named(name).kind.show(value)

    @classmethod
    def named(cls, name: str) -> Switch[Any]:
        """Raises UnknownSwitch."""
        switches = cls.switches()
        if name in switches:
            return switches[name]
        close = difflib.get_close_matches(name, switches, n=1)
        hint = f"did you mean {close[0]}?" if close else f"there are {', '.join(switches)}"
        raise UnknownSwitch(f"no fault is called {name}: {hint}")

    @classmethod
    def read(cls, name: str, text: str | None) -> Any:
        """The value that the text stands for. Raises UnknownSwitch, BadValue."""
        switch = cls.named(name)
        return switch.kind.read(switch.default if text is None else text)


class Chance:
    """Strikes with a probability; the same seed strikes in the same places."""

    def __init__(self, probability: float, seed: int = 1) -> None:
        if not 0 < probability <= 1:
            raise BadValue("a probability is more than 0 and at most 1")
        self.probability = probability
        self.seed = seed
        self._random = random.Random(seed)

    def __str__(self) -> str:
        return f"{self.probability:g}@{self.seed}"

    def strikes(self) -> bool:
        return self._random.random() < self.probability


# Kinds


def one_of(name: str, allowed: Mapping[str, V]) -> Kind[V]:
    """One of these texts; of one with a `:`, what stands before it names the first of them."""
    short = {text.partition(":")[0]: text for text in reversed(list(allowed))}

    def read(text: str) -> V:
        try:
            return allowed[text if text in allowed else short[text]]
        except KeyError:
            raise BadValue(f"{text} is none of: {' | '.join(allowed)}") from None

    def show(value: V) -> str:
        return next((text for text, known in allowed.items() if known == value), str(value))

    return Kind(name, read, show, tuple(allowed))


def _on(text: str) -> bool:
    if text.lower() not in ("on", "true", "1", "yes"):
        raise BadValue(f"{text}: it is thrown or taken back, it has no value but on")
    return True


def number(text: str) -> float:
    """Read a number that is not negative and not absurd. Raises BadValue."""
    try:
        value = float(text)
    except ValueError:
        raise BadValue(f"{text} is no number") from None
    if not 0 <= value < 1e9:
        raise BadValue(f"{text} is out of range")
    return value


def _bytes(text: str) -> int:
    value = int(number(text))
    if not 1 <= value <= 256_000_000:
        raise BadValue(f"{text}: from 1 to 256000000 bytes")
    return value


def _chance(text: str) -> Chance:
    probability, _, seed = text.partition("@")
    if not (seed or "1").isdecimal():
        raise BadValue(f"the seed {seed} is no whole number")
    return Chance(number(probability), int(seed or "1"))


ON = Kind("on", _on, lambda _: "on")
SECONDS = Kind("seconds", number, lambda value: f"{value:g}")
BYTES = Kind("bytes", _bytes)
CHANCE = Kind("probability[@seed]", _chance)
