"""Does the audit hold what was really committed?"""

from __future__ import annotations

from dataclasses import dataclass

import asyncpg

TABLES = ("leads", "approvals", "events", "agents")

# Written by a trigger in the writer's own transaction, so a rolled-back change is not in it.
INSTALL = """
create schema if not exists simulation;
create table if not exists simulation.truth (
    seq        bigint generated always as identity primary key,
    table_name text not null,
    record_id  uuid not null,
    action     text not null,
    old_data   jsonb,
    new_data   jsonb
);
truncate simulation.truth;

create or replace function simulation.write_truth() returns trigger
language plpgsql set search_path = '' set timezone = 'UTC' as $$
begin
    insert into simulation.truth (table_name, record_id, action, old_data, new_data)
    values (
        tg_table_name,
        case when tg_op = 'DELETE' then old.id else new.id end,
        tg_op,
        case when tg_op <> 'INSERT' then to_jsonb(old) end,
        case when tg_op <> 'DELETE' then to_jsonb(new) end
    );
    return null;
end
$$;
"""

WATCH = """
create or replace trigger zz_simulation_truth
    after insert or update or delete on public.{table}
    for each row execute function simulation.write_truth()
"""

# The n-th change of a row must be the n-th audit entry of that row, and equal to it.
COMPARE = """
with truth as (
    select *, row_number() over (partition by table_name, record_id order by seq) as n
    from simulation.truth
), audit as (
    select split_part(table_name, '.', -1) as table_name, record_id, action, old_data, new_data,
           row_number() over (partition by table_name, record_id order by seq) as n
    from public.audit_logs
    where seq > $1
)
select
    count(*) filter (where t.seq is not null)                        as changes,
    count(*) filter (where a.n is not null)                          as audited,
    count(*) filter (where a.n is null)                              as missing,
    count(*) filter (where t.seq is null)                            as unexpected,
    count(*) filter (where t.seq is not null and a.n is not null
        and (t.action, t.old_data, t.new_data)
            is distinct from (a.action, a.old_data, a.new_data))     as different
from truth t full join audit a using (table_name, record_id, n)
"""


@dataclass(frozen=True, slots=True)
class Comparison:
    """How many changes were committed, how many were audited, and how the two differ."""

    changes: int
    audited: int
    missing: int  # committed, not audited
    unexpected: int  # audited, never committed, or audited twice
    different: int  # audited at that place of its row's history, but with other contents

    @property
    def agrees(self) -> bool:
        return not (self.missing or self.unexpected or self.different)


async def watch(connection: asyncpg.Connection) -> int:
    """Begin to write the truth down; return the audit's highest `seq`, where comparing starts."""
    await connection.execute(INSTALL)
    for table in TABLES:
        await connection.execute(WATCH.format(table=table))
    return int(await connection.fetchval("select coalesce(max(seq), 0) from public.audit_logs"))


async def compare(connection: asyncpg.Connection, after: int) -> Comparison:
    """Hold the audit entries beyond `seq` `after` against the truth, row by row."""
    row = await connection.fetchrow(COMPARE, after)
    assert row is not None  # an aggregate without GROUP BY always has its row
    return Comparison(**dict(row))
