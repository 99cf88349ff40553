-- The slot's own view of `supabase_realtime`: the same tables and operations without row filters
-- and column lists, which the real server ignores and pgoutput would apply, and never through
-- the root of a partitioned table. See docs/decisions/0004.
create schema if not exists tidemark_local;

create or replace function tidemark_local.follow_publication() returns void
language plpgsql
security definer -- whoever changes the publication may not be allowed to make one FOR ALL TABLES
set search_path = ''
set client_min_messages = warning
set tidemark_local.following = 'on'
as $$
declare
    source pg_catalog.pg_publication;
    what text := '';
    operations text;
    generated text := '';
begin
    drop publication if exists tidemark_local;
    select * into source from pg_catalog.pg_publication where pubname = 'supabase_realtime';
    if source.puballtables then
        what := 'for all tables';
    else
        select coalesce('for ' || string_agg(part, ', '), '') into what
        from (
            -- ONLY: the tables that inherit stand in the list themselves.
            select format('table only %I.%I', nspname, relname)
            from pg_catalog.pg_publication_rel
            join pg_catalog.pg_class c on c.oid = prrelid
            join pg_catalog.pg_namespace n on n.oid = relnamespace
            where prpubid = source.oid
            union all
            select format('tables in schema %I', nspname)
            from pg_catalog.pg_publication_namespace
            join pg_catalog.pg_namespace n on n.oid = pnnspid
            where pnpubid = source.oid
        ) as parts (part);
    end if;
    operations := concat_ws(', ',
        case when source.pubinsert then 'insert' end,
        case when source.pubupdate then 'update' end,
        case when source.pubdelete then 'delete' end);
    if current_setting('server_version_num')::int >= 180000 then
        generated := ', publish_generated_columns = stored';
    end if;
    execute format(
        'create publication tidemark_local %s with (publish = %L%s)', what, operations, generated
    );
end
$$;

create or replace function tidemark_local.publication_changed() returns event_trigger
language plpgsql
as $$
begin
    -- Following is itself a change of a publication.
    if current_setting('tidemark_local.following', true) is distinct from 'on' then
        perform tidemark_local.follow_publication();
    end if;
end
$$;

revoke all on schema tidemark_local from public;
grant usage on schema tidemark_local to public;

do $trigger$
begin
    if not exists (select from pg_event_trigger where evtname = 'tidemark_local_publication') then
        create event trigger tidemark_local_publication on ddl_command_end
            when tag in ('CREATE PUBLICATION', 'ALTER PUBLICATION', 'DROP PUBLICATION')
            execute function tidemark_local.publication_changed();
    end if;
end
$trigger$;

select tidemark_local.follow_publication();
