"""How is a row written that has to come back through Realtime?"""

from __future__ import annotations

from ..errors import DatabaseAway
from . import outage
from .pools import Connection, Database

# Rows of workers that are no more go with it, by whoever comes first.
BEAT = """
with gone as (
    delete from tidemark.beats where worker in (
        select worker from tidemark.beats
        where beaten_at < now() - interval '1 day' and worker <> $1
        for update skip locked
    )
)
insert into tidemark.beats (worker, number) values ($1, $2)
on conflict (worker) do update set number = excluded.number, beaten_at = now()
"""

PUBLISHED = """
select to_regclass('tidemark.beats') is not null as is_there,
       (select pubinsert and pubupdate from pg_publication
        where pubname = 'supabase_realtime') as carries_updates,
       exists (
           select from pg_publication_tables
           where pubname = 'supabase_realtime' and schemaname = 'tidemark'
             and tablename = 'beats'
       ) as is_published
"""


class Row:
    """
    The row of one worker process in `tidemark.beats`.

    `worker` names the process; Realtime is asked for changes of rows that have this name.
    """

    def __init__(self, database: Database, worker: str) -> None:
        self.worker = worker
        self._database = database

    async def write(self, number: int) -> str | None:
        """
        Write the beat of this number; None once it is committed.

        Otherwise say why no beat of this database can come back: that is no outage. Raises
        DatabaseAway when the database is, or refuses; then it is not known what it did.
        """
        async with self._database.connection() as connection:
            try:
                reason = await _unpublished(connection)
                if reason is None:
                    await connection.execute(BEAT, self.worker, number)
            except outage.RAISED as error:
                if outage.in_use(error, closed=False) is not None:
                    raise  # the pool has words for it
                name = f"{type(error).__name__} {getattr(error, 'sqlstate', '')}".rstrip()
                raise DatabaseAway(f"the database refuses the beat: {name}") from error
            return reason


async def _unpublished(connection: Connection) -> str | None:
    found = await connection.fetchrow(PUBLISHED)
    assert found is not None  # it is a query of one row
    if not found["is_there"]:
        return "there is no table tidemark.beats: run python -m worker migrate"
    if found["carries_updates"] is None:
        return "DATABASE_URL has no publication supabase_realtime: it is not the project's database"
    if not found["carries_updates"] or not found["is_published"]:
        return "the publication supabase_realtime does not carry tidemark.beats"
    return None
