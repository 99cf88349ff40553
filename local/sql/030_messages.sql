-- Where broadcasts from the database are stored: one partition for each day, as on Supabase.
create schema if not exists realtime;
grant usage on schema realtime to anon, authenticated, service_role;
grant usage on schema realtime to postgres with grant option;
grant all on schema realtime to supabase_realtime_admin with grant option;

create table if not exists realtime.messages (
    topic text not null,
    extension text not null,
    payload jsonb,
    event text,
    private boolean default false,
    updated_at timestamp not null default now(),
    inserted_at timestamp not null default now(), -- when the transaction began
    id uuid not null default gen_random_uuid(),
    binary_payload bytea,
    primary key (id, inserted_at),
    constraint messages_payload_exclusive check (payload is null or binary_payload is null)
) partition by range (inserted_at);

create index if not exists messages_inserted_at_topic_index
    on realtime.messages (inserted_at desc, topic)
    where extension = 'broadcast' and private;

alter table realtime.messages owner to supabase_realtime_admin;
alter table realtime.messages enable row level security;
grant all on realtime.messages to postgres;
grant select, insert, update on realtime.messages to anon, authenticated, service_role;

-- Make the partitions of yesterday to in three days, drop those whose messages are older than
-- the 72 hours that a message is kept. Called by `prepare` and by the server while it runs:
-- without a partition for today `realtime.send` only warns and the message is lost.
create or replace function realtime.keep_message_partitions(today date default (now() at time zone 'utc')::date)
returns void
language plpgsql
set client_min_messages = warning
as $$
declare
    day date;
    old text;
begin
    for day in select generate_series(today - 1, today + 3, interval '1 day')::date loop
        execute format(
            'create table if not exists realtime.%I partition of realtime.messages '
            'for values from (%L) to (%L)',
            to_char(day, '"messages_"YYYY_MM_DD'), day, day + 1
        );
    end loop;

    for old in
        select leaf.relname
        from pg_inherits
        join pg_class leaf on leaf.oid = inhrelid
        where inhparent = 'realtime.messages'::regclass
          and leaf.relname ~ '^messages_\d{4}_\d\d_\d\d$'
          and to_date(right(leaf.relname, 10), 'YYYY_MM_DD') < today - 3
    loop
        execute format('drop table realtime.%I', old);
    end loop;
end
$$;
revoke all on function realtime.keep_message_partitions(date) from public;

select realtime.keep_message_partitions();
