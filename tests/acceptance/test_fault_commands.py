"""Can somebody break the local stack on the command line, and mend it again?"""

from __future__ import annotations

import json
import socket
import subprocess
from collections.abc import Mapping

import pytest
from websockets.exceptions import ConnectionClosed
from websockets.sync.client import ClientConnection, connect
from websockets.sync.connection import Connection

from local.realtime.faults import Faults
from tests.acceptance.local import HANG, first_line, local


def opened(env: Mapping[str, str], url: str | None = None) -> ClientConnection:
    base = (url or env["SUPABASE_URL"]).replace("http", "ws")
    query = f"vsn=2.0.0&apikey={env['SUPABASE_KEY']}"
    return connect(f"{base}/realtime/v1/websocket?{query}", proxy=None)


def joined(env: Mapping[str, str]) -> ClientConnection:
    one = opened(env)
    one.send('["1","1","realtime:room","phx_join",{"config":{}}]')
    assert json.loads(one.recv(10))[4]["status"] == "ok"
    return one


def close_code(one: Connection) -> int | None:
    with pytest.raises(ConnectionClosed):
        one.recv(10)
    return one.close_code


def fault(env: Mapping[str, str], *arguments: str) -> subprocess.CompletedProcess[str]:
    """Run `python -m local fault` to its end."""
    with local("fault", *arguments, **env) as process:
        out, err = process.communicate(timeout=HANG)
    return subprocess.CompletedProcess(arguments, process.returncode, out, err)


def thrown(env: Mapping[str, str]) -> dict[str, str]:
    """What is thrown just now, by name."""
    listed = json.loads(fault(env, "--json").stdout)["faults"]
    return {one["name"]: one["value"] for one in listed if one["value"]}


def test_the_stack_is_broken_from_the_start_and_mended_while_it_runs() -> None:
    with local("up", "--json", "--fault", "hang_up=1006", "--fault", "close=1001") as process:
        env = json.loads(first_line(process))
        assert close_code(opened(env)) == 1006
        assert thrown(env) == {"hang_up": "1006", "close": "1001"}
        mended = fault(env, "--off", "hang_up")
        waiting = joined(env)
        assert close_code(waiting) == 1001, "it waited for the first channel"
        with joined(env) as one:
            broken = fault(env, "close=1011", "refuse_joins=PrivateOnly")
            assert close_code(one) == 1011
        left = thrown(env)
        process.terminate()
        process.communicate(timeout=HANG)

    assert (mended.returncode, mended.stdout.split()[:2]) == (0, ["hang_up", "off"])
    assert broken.returncode == 0
    assert left == {"refuse_joins": "PrivateOnly: This project only allows private channels"}
    assert process.returncode == 0


def test_a_name_that_does_not_resolve_is_printed_and_nothing_else_is_broken() -> None:
    with local("up", "--json", "--fault", "dns") as process:
        env = json.loads(first_line(process))
        host, _, port = env["SUPABASE_URL"].removeprefix("http://").partition(":")
        with pytest.raises(socket.gaierror):
            socket.getaddrinfo(host, int(port))
        unreachable = fault(env)
        with opened(env, f"http://127.0.0.1:{port}") as one:
            assert one.ping().wait(10)
        process.terminate()
        process.communicate(timeout=HANG)

    assert unreachable.returncode == 1
    assert "does not answer" in unreachable.stderr and "Traceback" not in unreachable.stderr


def test_the_list_says_of_each_what_it_means() -> None:
    with local("up", "--json") as process:
        env = json.loads(first_line(process))
        listed = fault(env)
        wrong_key = fault({**env, "SUPABASE_KEY": "wrong"})
        process.terminate()
        process.communicate(timeout=HANG)

    for name, switch in Faults.switches().items():
        assert f"\n{name} " in f"\n{listed.stdout}"
        assert switch.meaning in listed.stdout
    assert wrong_key.returncode == 1
    assert "not a valid JWT" in wrong_key.stderr


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (("up", "--fault", "freez"), "did you mean freeze?"),
        (("up", "--fault", "close=1015"), "1015 is none of"),
        (("fault", "late_joins=soon"), "soon is no number"),
        (("fault", "--off", "freez"), "did you mean freeze?"),
        (("fault",), "SUPABASE_URL"),
    ],
)
def test_a_wrong_fault_is_named_before_anything_is_started(
    arguments: tuple[str, ...], said: str
) -> None:
    with local(*arguments) as process:
        out, err = process.communicate(timeout=HANG)

    assert process.returncode == 2
    assert said in err and "Traceback" not in err and out == ""
