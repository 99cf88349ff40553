"""Who writes what the link has to tell, and what was really committed?"""

from __future__ import annotations

import asyncio
from collections.abc import Callable

import asyncpg

TABLE, TOPIC, PRIVATE = "public.written", "room", "diary"
STREAMS = (TABLE, TOPIC, PRIVATE)
A_TRANSACTION = 5  # rows

_TABLES = """
create table written (id bigint primary key, status text);
alter table written replica identity full;
alter publication supabase_realtime add table written;
"""

_WRITE = """
with new as (
    insert into public.written select n, 'new' from generate_series($1::bigint, $2) n returning id
)
select realtime.send(jsonb_build_object('n', max(id)), 'written', 'room', false),
       realtime.send(jsonb_build_object('n', max(id)), 'written', 'diary', true)
from new
"""

_MESSAGES = "select (payload->>'n')::bigint as n from realtime.messages where topic = $1 order by 1"


class Writer:
    """
    Rows of a table with growing ids; for each transaction a message in a topic that everybody may
    read, and one in a private topic, of which Realtime repeats the newest.
    """

    def __init__(self, connection: asyncpg.Connection, wrote: Callable[[], None]) -> None:
        self._connection = connection
        self._wrote = wrote
        self.newest = 0

    async def prepare(self) -> None:
        await self._connection.execute(_TABLES)

    async def write(self, rows: int = 1) -> int:
        """Commit so many rows and two messages; return the newest id, which these have too."""
        first, self.newest = self.newest + 1, self.newest + rows
        await self._connection.execute(_WRITE, first, self.newest)
        self._wrote()
        return self.newest

    async def load(self, rate: float, seconds: float) -> None:
        """Write `rate` rows a second. The clock is the workload's own: nobody waits by it."""
        clock = asyncio.get_running_loop()
        start, rows = clock.time(), int(rate * seconds)
        for done in range(0, rows, A_TRANSACTION):
            try:
                async with asyncio.timeout_at(start + done / rate):
                    await clock.create_future()
            except TimeoutError:
                await self.write(A_TRANSACTION)

    async def truth(self) -> dict[str, list[int]]:
        """What stands in the database, by stream, in the order of the commits."""
        rows = await self._connection.fetch("select id from written order by id")
        truth = {TABLE: [row["id"] for row in rows]}
        for topic in (TOPIC, PRIVATE):
            messages = await self._connection.fetch(_MESSAGES, topic)
            truth[topic] = [row["n"] for row in messages]
        return truth
