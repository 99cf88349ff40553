"""What does a fault do to one connection, in the moment it is thrown?"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Protocol

from local.realtime.serializer import Frame, Ref, Serializer, to_json
from local.realtime.token_expired import Expired


class Changes(Protocol):
    """The subscriptions of a channel; `lost` ones deliver nothing and are told nothing."""

    lost: bool

    def fail(self, why: str) -> None: ...


class Joined(Protocol):
    """A channel, as far as a fault is concerned."""

    topic: str
    name: str
    join_ref: Ref
    token: str

    @property
    def changes(self) -> Changes | None: ...

    def shut_down(self, why: str) -> None: ...

    def crash(self) -> None: ...

    def confirm_token(self) -> None: ...


class Struck(Protocol):
    """A connection, as far as a fault is concerned. One that is `lost` cannot be struck again."""

    lost: bool
    token: str
    serializer: Serializer

    @property
    def channels(self) -> Mapping[str, Joined]: ...

    def send(self, frame: Frame) -> None: ...

    def hang_up(self, code: int | None) -> None: ...

    def lose(self) -> None: ...


RESET = 1006  # what a client calls it; no close frame can carry it


def close_code(code: int) -> int | None:
    """The code of the close frame; None for none at all."""
    return None if code == RESET else code


def close(connection: Struck, code: int) -> bool:
    if connection.lost:
        return False
    connection.hang_up(close_code(code))
    return True


def lose(connection: Struck, on: bool) -> bool:
    if connection.lost:
        return False
    connection.lose()
    return True


def disconnect(connection: Struck, on: bool) -> bool:
    """Each channel hears of it, with neither reference and without its name; then the close."""
    said = {"extension": "system", "message": "Server requested disconnect", "status": "ok"}
    for channel in connection.channels.values():
        connection.send(connection.serializer.text(channel.topic, "system", to_json(said)))
    return close(connection, 1012)


def crash_channels(connection: Struck, on: bool) -> bool:
    channels = list(connection.channels.values())
    for channel in channels:
        channel.crash()
    return bool(channels)


def shut_channels(connection: Struck, message: str) -> bool:
    channels = list(connection.channels.values())
    for channel in channels:
        channel.shut_down(message.replace("<topic>", channel.name))
    return bool(channels)


def malformed_frame(connection: Struck, form: str) -> bool:
    if connection.channels:
        connection.send(MALFORMED[form])
    return bool(connection.channels)


def oversized_frame(connection: Struck, size: int) -> bool:
    """A broadcast of so many bytes on the newest channel: nothing is wrong with it but its size."""
    for topic in list(connection.channels)[-1:]:
        payload = {"event": "oversized", "payload": {"filler": ""}, "type": "broadcast"}
        frame = connection.serializer.text(topic, "broadcast", to_json(payload))
        filler = b"x" * max(0, size - len(frame.data))
        connection.send(Frame(frame.data.replace(b'"filler":"', b'"filler":"' + filler)))
    return bool(connection.channels)


def lose_changes(connection: Struck, on: bool) -> bool:
    found = [one.changes for one in connection.channels.values() if one.changes is not None]
    for changes in found:
        changes.lost = True
    return bool(found)


def fail_changes(connection: Struck, message: str) -> bool:
    found = [one.changes for one in connection.channels.values() if one.changes is not None]
    for changes in found:
        changes.fail(message)
    return bool(found)


def expire_tokens(connection: Struck, expired: Expired) -> bool:
    """What is in use is over, whenever it was issued; the channels look at their tokens now."""
    channels = list(connection.channels.values())
    expired.worn.update([connection.token, *(channel.token for channel in channels)])
    for channel in channels:
        channel.confirm_token()
    return True


MALFORMED = {
    "text": Frame(b'[null,null,"realtime:any","broadcast",{"event":'),
    "shape": Frame(b'{"topic":["realtime:any"],"event":7}'),
    "binary": Frame(bytes([4, 255, 255, 255, 1]) + b"short", binary=True),
    "kind": Frame(bytes([9]) + b"no such kind", binary=True),
    "empty": Frame(b""),
}
