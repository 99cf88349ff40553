"""What does a hand-written Realtime server say to the worker's process?"""

from __future__ import annotations

from tests.integration.scripted import Peer

LEAD = "8b6ad1a4-6c0b-4a3f-9a0e-2b1f6c2d9e57"


async def join(peer: Peer) -> tuple[str, list[int]]:
    """Answer frames until the client has joined; return the topic and the ids it was given."""
    while True:
        frame = await peer.read()
        if frame[3] != "phx_join":
            await peer.answer(frame)
            continue
        wanted = frame[4]["config"]["postgres_changes"]
        given = [{**want, "id": number} for number, want in enumerate(wanted, 1)]
        await peer.answer(frame, postgres_changes=given)
        said = {"extension": "postgres_changes", "status": "ok"}
        said["message"] = "Subscribed to PostgreSQL"
        await peer.say(frame[2], "system", said, frame[0])
        return frame[2], [want["id"] for want in given]


async def say_change(peer: Peer, topic: str, ids: list[int], lead: str = LEAD) -> None:
    data = {
        "schema": "public",
        "table": "leads",
        "type": "INSERT",
        "commit_timestamp": "2026-11-22T14:03:11.482Z",
        "columns": [{"name": "id", "type": "uuid"}],
        "record": {"id": lead},
        "errors": None,
    }
    await peer.say(topic, "postgres_changes", {"ids": ids, "data": data})


async def be_realtime(peer: Peer) -> None:
    """Answer as Realtime does when all is well."""
    while True:
        await join(peer)


async def one_change(peer: Peer) -> None:
    """Let the client join, then tell of one change."""
    await say_change(peer, *await join(peer))
    await be_realtime(peer)
