-- Supabase's roles. They belong to the cluster, so another database may have made them already,
-- or be making them at this moment: hence the exceptions instead of a look beforehand.
do $roles$
declare
    wanted record;
begin
    for wanted in
        select *
        from (values
            ('anon', 'nologin noinherit'),
            ('authenticated', 'nologin noinherit'),
            ('service_role', 'nologin noinherit bypassrls'),
            ('authenticator', 'login noinherit'),
            ('supabase_realtime_admin', 'nologin noinherit'),
            -- No superuser, as on Supabase: what needs one is noticed here and not there.
            ('postgres', 'login nosuperuser createdb createrole replication bypassrls')
        ) as roles (name, attributes)
    loop
        begin
            execute format('create role %I', wanted.name);
        exception when duplicate_object or unique_violation then
            continue;
        end;
        execute format('alter role %I %s', wanted.name, wanted.attributes);
        if wanted.attributes like 'login%' then
            execute format(
                'alter role %I password %L', wanted.name, current_setting('tidemark.password')
            );
        end if;
        case wanted.name
            when 'authenticator' then
                grant anon, authenticated, service_role to authenticator;
            when 'supabase_realtime_admin' then
                grant anon, authenticated, service_role to supabase_realtime_admin;
            when 'postgres' then
                grant anon, authenticated, service_role, supabase_realtime_admin to postgres;
                grant pg_monitor, pg_read_all_data, pg_signal_backend to postgres;
            else null;
        end case;
    end loop;

    execute format('alter database %I owner to postgres', current_database());
end
$roles$;

-- Tables in `public` are open to the API's roles unless row-level security says otherwise.
grant usage on schema public to anon, authenticated, service_role;
alter default privileges for role postgres in schema public
    grant all on tables to anon, authenticated, service_role;
alter default privileges for role postgres in schema public
    grant all on sequences to anon, authenticated, service_role;
alter default privileges for role postgres in schema public
    grant all on functions to anon, authenticated, service_role;
alter default privileges for role supabase_admin in schema public
    grant all on tables to postgres, anon, authenticated, service_role;
alter default privileges for role supabase_admin in schema public
    grant all on sequences to postgres, anon, authenticated, service_role;
alter default privileges for role supabase_admin in schema public
    grant all on functions to postgres, anon, authenticated, service_role;
