-- What Supabase Realtime may tell, and to whom. Elsewhere (Neon) there is no such publication.

-- An UPDATE or DELETE then carries the whole row as it was: predicates on the old row can be
-- answered, the audit has both sides, no large unchanged value is missing.
alter table public.leads replica identity full;
alter table public.approvals replica identity full;
alter table public.events replica identity full;
alter table public.agents replica identity full;

-- `users` and `audit_logs` are in no publication: password hashes must not travel, and the
-- worker must not hear of what it writes itself.
do $$
declare
    realtime record;
    name text;
begin
    select oid, puballtables into realtime from pg_publication where pubname = 'supabase_realtime';
    if not found then
        return;
    end if;
    if realtime.puballtables then
        raise warning 'publication supabase_realtime is FOR ALL TABLES: it carries public.users too';
        return;
    end if;
    foreach name in array array['leads', 'approvals', 'events', 'agents']
    loop
        if not exists (
            select from pg_publication_rel
            where prpubid = realtime.oid and prrelid = format('public.%I', name)::regclass
        ) then
            execute format('alter publication supabase_realtime add table public.%I', name);
        end if;
    end loop;
end
$$;

-- Supabase grants new tables of `public` to its API roles. The key of `anon` is in every
-- browser: nothing here is for it, and accounts and audit are for nobody but the server side.
do $$
begin
    if exists (select from pg_roles where rolname = 'anon') then
        revoke all on public.agents, public.leads, public.approvals, public.events,
            public.users, public.user_profiles, public.audit_logs from anon;
    end if;
    if exists (select from pg_roles where rolname = 'authenticated') then
        revoke all on public.users, public.audit_logs from authenticated;
    end if;
end
$$;
