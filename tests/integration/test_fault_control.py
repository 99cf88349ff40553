"""Can faults be thrown, shown and taken back over HTTP, and by whom?"""

from __future__ import annotations

from collections.abc import AsyncIterator

import httpx
import pytest
import pytest_asyncio

from local.realtime.faults import Faults
from local.realtime.server import Server
from tests.support.databases import FreshDatabase
from tests.support.sockets import client, served, token

PATH = "/local/faults"


@pytest_asyncio.fixture
async def http(realtime: Server) -> AsyncIterator[httpx.AsyncClient]:
    """An HTTP client with the service key."""
    headers = {"authorization": f"Bearer {token()}"}
    async with httpx.AsyncClient(
        base_url=realtime.url, headers=headers, trust_env=False
    ) as connected:
        yield connected


async def test_all_are_listed_with_what_a_reader_needs(http: httpx.AsyncClient) -> None:
    answer = await http.get(PATH)

    faults = {fault.pop("name"): fault for fault in answer.json()["faults"]}
    assert list(faults) == list(Faults.switches())
    assert faults["close"] == {
        "value": None,
        "when": "once",
        "type": "close code",
        "allowed": ["1000", "1001", "1006", "1009", "1011", "1012"],
        "default": "1012",
        "meaning": "every connection is closed with this code; 1006 is a reset without a word",
    }


async def test_one_is_thrown_shown_and_taken_back(
    realtime: Server, http: httpx.AsyncClient
) -> None:
    thrown = await http.put(f"{PATH}/late_joins", json={"value": 0.5})
    shown = {fault["name"]: fault["value"] for fault in (await http.get(PATH)).json()["faults"]}
    in_server = realtime.faults.late_joins
    back = await http.delete(f"{PATH}/late_joins")

    assert (thrown.status_code, thrown.json()["value"]) == (200, "0.5")
    assert {name for name, value in shown.items() if value} == {"late_joins"}
    assert in_server == 0.5
    assert (back.status_code, back.json()["value"]) == (200, None)
    assert realtime.faults.late_joins is None


@pytest.mark.parametrize("body", [b"", b"{}", b'{"value":null}', b'{"value":true}'])
async def test_without_a_value_it_is_the_default(
    realtime: Server, http: httpx.AsyncClient, body: bytes
) -> None:
    answer = await http.put(f"{PATH}/hang_up", content=body)

    assert answer.status_code == 200
    assert realtime.faults.hang_up == 1011


async def test_what_happens_once_happens_to_who_is_there(
    realtime: Server, http: httpx.AsyncClient
) -> None:
    async with client(realtime) as one:
        await one.join("realtime:room")
        answer = await http.put(f"{PATH}/close", json={"value": "1001"})
        await one.socket.wait_closed()

    assert answer.json()["value"] is None, "it is over"
    assert one.socket.close_code == 1001


@pytest.mark.parametrize(
    ("path", "body", "status", "said"),
    [
        ("freez", b"", 404, "did you mean freeze?"),
        ("close", b'{"value":"1015"}', 422, "close: 1015 is none of: 1000 | 1001"),
        ("close", b'{"value":[1000]}', 422, "a text or a number"),
        ("close", b'{"value":false}', 422, "a text or a number"),
        ("close", b'{"code":"1000"}', 422, "the body is empty"),
        ("close", b"1000", 422, "the body is empty"),
        ("close", b"{", 422, "the body is empty"),
        ("late_joins", b'{"value":-1}', 422, "out of range"),
        ("dns", b"", 409, "only when the server is started"),
    ],
)
async def test_what_is_wrong_is_said_and_nothing_is_thrown(
    realtime: Server, http: httpx.AsyncClient, path: str, body: bytes, status: int, said: str
) -> None:
    answer = await http.put(f"{PATH}/{path}", content=body)

    assert answer.status_code == status
    assert said in answer.json()["error"]
    assert realtime.faults.values == {}


async def test_an_unknown_one_cannot_be_taken_back(http: httpx.AsyncClient) -> None:
    answer = await http.delete(f"{PATH}/freez")

    assert (answer.status_code, "freeze" in answer.json()["error"]) == (404, True)


async def test_only_the_service_role_is_let_in(realtime: Server) -> None:
    async with httpx.AsyncClient(base_url=realtime.url, trust_env=False) as http:
        answers = {}
        for who, key in (("nobody", None), ("anon", token("anon")), ("forged", token()[:-4])):
            headers = {"authorization": f"Bearer {key}"} if key else {}
            found = [
                await http.get(PATH, headers=headers),
                await http.put(f"{PATH}/freeze", headers=headers),
                await http.delete(f"{PATH}/freeze", headers=headers),
            ]
            answers[who] = {answer.status_code for answer in found}

    assert answers == {"nobody": {401}, "anon": {403}, "forged": {401}}
    assert realtime.faults.freeze is None


async def test_a_secret_key_will_do(database: FreshDatabase) -> None:
    keys = {"sb_secret_x": "service_role", "sb_publishable_x": "anon"}
    async with (
        served(database, api_keys=keys) as server,
        httpx.AsyncClient(base_url=server.url, trust_env=False) as http,
    ):
        found = [(await http.get(PATH, headers={"apikey": key})).status_code for key in keys]

    assert found == [200, 403]


async def test_who_let_the_tokens_expire_can_take_it_back(
    realtime: Server, http: httpx.AsyncClient
) -> None:
    old = {"authorization": f"Bearer {token(iat=1_700_000_000)}"}
    names = ("token_expired", "freeze")
    thrown = [(await http.put(f"{PATH}/{name}", headers=old)).status_code for name in names]
    back = [(await http.delete(f"{PATH}/{name}", headers=old)).status_code for name in names]

    assert thrown == back == [200, 200]
    assert realtime.faults.values == {}
