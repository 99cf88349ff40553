"""Which channels bring what the routes want?"""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from ..errors import ConfigError
from ..subscription import Subscription
from .declare import Wants, WantsBroadcasts, WantsChanges, WantsPresences
from .pushdown import binding

# A change that two bindings match on two channels arrives twice and nothing tells the copies
# apart: a table stands in one binding, of one channel. It has that channel to itself, since a
# binding that the server does not take brings down all the others of its channel.
TABLE_PREFIX = "tidemark:"

_OWN = (TABLE_PREFIX, "tidemark-")  # topics that handlers may not ask for


def wanted(wants: Sequence[Wants]) -> tuple[Subscription, ...]:
    """Return the channels that bring it. Raises ConfigError where two wants contradict."""
    return (*_of_tables(wants), *_of_topics(wants))


def _of_tables(wants: Iterable[Wants]) -> list[Subscription]:
    by_table: dict[str, list[WantsChanges]] = {}
    for want in wants:
        if isinstance(want, WantsChanges):
            for table in want.tables:
                by_table.setdefault(table, []).append(want)
    found = [_of_table(table, of_table) for table, of_table in sorted(by_table.items())]
    return [wanted for wanted in found if wanted is not None]


def _of_table(table: str, wants: Sequence[WantsChanges]) -> Subscription | None:
    schema, _, name = table.partition(".")
    found = binding(schema, name, wants)
    return None if found is None else Subscription(TABLE_PREFIX + table, (found,))


def _of_topics(wants: Iterable[Wants]) -> list[Subscription]:
    by_topic: dict[str, list[WantsBroadcasts | WantsPresences]] = {}
    for want in wants:
        if isinstance(want, WantsBroadcasts | WantsPresences):
            by_topic.setdefault(want.topic, []).append(want)
    mistakes = [
        f"topic {topic!r} is wanted both private and public: they are two topics of one name"
        for topic, of_topic in by_topic.items()
        if len({want.private for want in of_topic}) > 1
    ]
    mistakes += [
        f"topic {topic!r} is the worker's own" for topic in by_topic if topic.startswith(_OWN)
    ]
    if mistakes:
        raise ConfigError(*mistakes)
    return [
        Subscription(
            topic=topic,
            broadcast=any(isinstance(want, WantsBroadcasts) for want in of_topic),
            presence=any(isinstance(want, WantsPresences) for want in of_topic),
            private=of_topic[0].private,
        )
        for topic, of_topic in sorted(by_topic.items())
    ]
