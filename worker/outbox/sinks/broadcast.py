"""How does a notification reach somebody's open page?"""

from __future__ import annotations

import asyncio
import importlib
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from urllib.parse import quote

import httpx
import orjson

from ...effects import Notice
from ...errors import AuthAway
from ..sink import Options, Send


@asynccontextmanager
async def opened(options: Options) -> AsyncIterator[Send]:
    """
    Send as a Supabase broadcast on the private topic `audience:recipient` (`agent:<id>`).

    The event is the notice's kind; the payload is its data with `notification_id`, by which a
    page that gets it twice knows it. Who may listen is for the policies of `realtime.messages`.
    Where a user signs in it is sent in their name, as joins are. Raises the client's
    RealtimeHTTPError for a refusal, httpx's errors for a broken connection, AuthAway while nobody
    is signed in.
    """
    # Importing it takes 0.4 s, which only a worker that broadcasts should pay, and no loop.
    realtime = await asyncio.to_thread(importlib.import_module, "realtime")
    client = realtime.AsyncRealtimeClient(
        f"{options.supabase_url}/realtime/v1", token=options.supabase_key
    )

    # The official client knows address and token. Its http_send would open an HTTP client for
    # each message: 21 ms of CPU to read the certificates, and a new handshake (decision 0011).
    async with httpx.AsyncClient(timeout=client.timeout) as http:

        async def send(notice: Notice) -> None:
            topic = quote(f"{notice.audience}:{notice.recipient}", safe="")
            event = quote(notice.kind, safe="")
            answer = await http.post(
                f"{client.http_endpoint}/api/broadcast/{topic}/events/{event}",
                params={"private": "true"},
                headers=_headers(client.apikey, _token(options) or client.access_token),
                content=orjson.dumps({"notification_id": str(notice.id), **notice.data}),
            )
            if answer.status_code != httpx.codes.ACCEPTED:
                raise realtime.RealtimeHTTPError(answer.reason_phrase, status=answer.status_code)

        yield send


def _token(options: Options) -> str | None:
    """Never the key in the user's place: it may do less, and what it may not is dropped."""
    if options.user_token is None:
        return None
    token = options.user_token()
    if token is None:
        raise AuthAway("nobody is signed in")
    return token


def _headers(key: str, token: str) -> dict[str, str]:
    return {
        "apikey": key,
        "Authorization": f"Bearer {token}",
        "Content-Type": "application/json",
    }
