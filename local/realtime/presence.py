"""Who is present on a topic, under which key?"""

from __future__ import annotations

import base64
import os
from collections.abc import Hashable, Mapping
from dataclasses import dataclass
from typing import Any

from local.realtime.topics import Topic

Metas = dict[str, dict[str, list[Mapping[str, Any]]]]


@dataclass(frozen=True, slots=True)
class Diff:
    """What a `presence_diff` says; both sides as in a `presence_state`."""

    joins: Metas
    leaves: Metas

    def payload(self) -> dict[str, Metas]:
        return {"joins": self.joins, "leaves": self.leaves}


@dataclass(frozen=True, slots=True)
class _Tracked:
    key: str
    meta: Mapping[str, Any]


class Presences:
    """Each channel is present at most once on its topic; several may share a key."""

    def __init__(self) -> None:
        self._topics: dict[Topic, dict[Hashable, _Tracked]] = {}

    def track(
        self, topic: Topic, who: Hashable, key: str, payload: Mapping[str, Any]
    ) -> Diff | None:
        """Set what `who` tells of itself; None where it said the same before."""
        before = self._topics.setdefault(topic, {}).get(who)
        meta = {**payload, "phx_ref": _reference()}
        if before is not None:
            if _told(before.meta) == payload:
                return None
            meta["phx_ref_prev"] = before.meta["phx_ref"]
        self._topics[topic][who] = _Tracked(key, meta)
        leaves = {} if before is None else _metas(before)
        return Diff(_metas(_Tracked(key, meta)), leaves)

    def untrack(self, topic: Topic, who: Hashable) -> Diff | None:
        """Forget `who`; None where nobody knew of it."""
        present = self._topics.get(topic, {})
        before = present.pop(who, None)
        if not present:
            self._topics.pop(topic, None)
        return None if before is None else Diff({}, _metas(before))

    def state(self, topic: Topic) -> Metas:
        """Everybody on the topic, grouped by key; empty where nobody is."""
        groups: Metas = {}
        for one in self._topics.get(topic, {}).values():
            groups.setdefault(one.key, {"metas": []})["metas"].append(one.meta)
        return groups


def _metas(one: _Tracked) -> Metas:
    return {one.key: {"metas": [one.meta]}}


def _told(meta: Mapping[str, Any]) -> dict[str, Any]:
    return {name: value for name, value in meta.items() if name not in ("phx_ref", "phx_ref_prev")}


def _reference() -> str:
    return base64.b64encode(os.urandom(12)).decode()
