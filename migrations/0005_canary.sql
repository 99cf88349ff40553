-- The canary: a row that the worker writes to see it arrive through Realtime.

-- One row for each worker process, updated with every beat and removed by others when it is old.
-- `worker` is what Realtime filters by: text, since a filter on an array or on json breaks the
-- changes of every table. It is the primary key, so the default replica identity will do: an
-- UPDATE carries the new row, and nobody wants the old one.
create table tidemark.beats (
    worker    text primary key,
    number    bigint not null,
    beaten_at timestamptz not null default now()
);

-- Realtime reads it as the role of the worker's key or user. There is nothing in it to hide, and
-- no page of the API serves this schema.
do $$
declare
    role_name text;
begin
    foreach role_name in array array['service_role', 'authenticated'] loop
        if exists (select from pg_roles where rolname = role_name) then
            execute format('grant usage on schema tidemark to %I', role_name);
            execute format('grant select on tidemark.beats to %I', role_name);
        end if;
    end loop;
end
$$;

-- Where there is no such publication (Neon) no beat can come, and the worker says so.
do $$
declare
    realtime record;
begin
    select oid, puballtables into realtime from pg_publication where pubname = 'supabase_realtime';
    if not found or realtime.puballtables then
        return;
    end if;
    if not exists (
        select from pg_publication_tables
        where pubname = 'supabase_realtime' and schemaname = 'tidemark' and tablename = 'beats'
    ) then
        alter publication supabase_realtime add table tidemark.beats;
    end if;
end
$$;
