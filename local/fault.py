"""How is a running local server broken and mended from the command line?"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import httpx

from local.realtime.control import PATH
from local.realtime.faults import Faults
from local.realtime.switch import BadValue, UnknownSwitch
from worker.errors import CommandFailed

PATIENCE = 10.0  # seconds

Asked = tuple[str, str | None]  # a name, and a value or None for its default
Fault = Mapping[str, Any]  # as the server describes it


def asked(arguments: Sequence[str]) -> list[Asked]:
    """Each `NAME` or `NAME=VALUE`. Raises ValueError where there is no such fault or value."""
    found: list[Asked] = []
    for argument in arguments:
        name, equals, value = argument.partition("=")
        try:
            Faults.read(name, value if equals else None)
        except BadValue as error:
            raise ValueError(f"{name}: {error}") from None
        except UnknownSwitch as error:
            raise ValueError(str(error)) from None
        found.append((name, value if equals else None))
    return found


def listed(server: httpx.Client) -> list[Fault]:
    """Every fault there is. Raises CommandFailed, as the others do."""
    faults: list[Fault] | None = _ask(server, "GET", PATH).get("faults")
    if faults is None:
        raise CommandFailed("this is no local server")
    return faults


def throw(server: httpx.Client, fault: Asked) -> Fault:
    name, value = fault
    return _ask(server, "PUT", f"{PATH}/{name}", {} if value is None else {"value": value})


def take_back(server: httpx.Client, name: str) -> Fault:
    return _ask(server, "DELETE", f"{PATH}/{name}")


def reaching(url: str, key: str) -> httpx.Client:
    """A client of the server; a proxy of the machine is not asked the way to it."""
    headers = {"authorization": f"Bearer {key}"}
    return httpx.Client(base_url=url, headers=headers, timeout=PATIENCE, trust_env=False)


def lines(faults: Sequence[Fault]) -> list[str]:
    """One line for each: what it is set to, and what it means."""
    width = max(len(fault["name"]) for fault in faults)
    return [
        f"{fault['name']:<{width}}  {fault['value'] or 'off'}  – {fault['meaning']}"
        f" ({fault['when']}; {fault['type']}, default {fault['default']})"
        for fault in faults
    ]


def _ask(server: httpx.Client, method: str, path: str, body: object = None) -> dict[str, Any]:
    try:
        answer = server.request(method, path, json=body)
        said = answer.json()
    except (httpx.HTTPError, httpx.InvalidURL) as error:
        raise CommandFailed(f"the local server does not answer: {error}") from None
    except ValueError:
        raise CommandFailed(f"this is no local server: {answer.status_code}") from None
    if not isinstance(said, dict):
        raise CommandFailed(f"this is no local server: {answer.status_code}")
    if answer.status_code != 200:
        raise CommandFailed(str(said.get("error", answer.status_code)))
    return said
