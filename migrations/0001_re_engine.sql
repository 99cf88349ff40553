-- The RE Engine's own tables: agents, leads, approvals, events, users, user_profiles.
-- Plain PostgreSQL 14 and later; needs neither superuser nor an extension.

-- The clock is read under the row's lock, and a row's updated_at only ever grows: it can serve
-- as the row's version. now() would not do, it is when the transaction began.
create function public.touch_updated_at() returns trigger
language plpgsql
set search_path = ''
as $$
begin
    new.updated_at := greatest(clock_timestamp(), old.updated_at + interval '1 microsecond');
    return new;
end
$$;

create table public.agents (
    id             uuid primary key default gen_random_uuid(),
    name           varchar(200) not null,
    email          varchar(255) unique,
    phone          varchar(20),
    regions        text[] not null default '{}',
    languages      text[] not null default '{}',
    active         boolean not null default true,
    capacity       integer not null default 20 check (capacity >= 0),
    last_active_at timestamptz,
    metadata       jsonb not null default '{}',
    created_at     timestamptz not null default now(),
    updated_at     timestamptz not null default now()
);

create index agents_active on public.agents (active);
create index agents_regions on public.agents using gin (regions);

create table public.leads (
    id               uuid primary key default gen_random_uuid(),
    first_name       varchar(100) not null,
    last_name        varchar(100) not null,
    email            varchar(255) unique,
    phone            varchar(20),
    property_address text,
    city             varchar(100),
    province         varchar(50),
    postal_code      varchar(10),
    property_type    varchar(50),
    price_range      varchar(50),
    timeline         varchar(50),
    source           varchar(100),
    status           varchar(20) default 'new',
    assigned_agent   uuid references public.agents on delete set null,
    metadata         jsonb default '{}',
    created_at       timestamptz default now(),
    updated_at       timestamptz default now()
);

create index leads_status on public.leads (status);
create index leads_assigned_agent on public.leads (assigned_agent);
create index leads_created_at on public.leads (created_at);
create index leads_email on public.leads (email) where email is not null;
create index leads_metadata on public.leads using gin (metadata);

create table public.approvals (
    id           uuid primary key default gen_random_uuid(),
    kind         varchar(50) not null,
    subject      text not null,
    lead_id      uuid references public.leads on delete set null,
    payload      jsonb not null default '{}',
    requested_by uuid references public.agents on delete set null,
    requested_of uuid references public.agents on delete set null,
    status       varchar(20) not null default 'pending'
        check (status in ('pending', 'approved', 'rejected', 'expired', 'cancelled')),
    decided_by   uuid references public.agents on delete set null,
    decided_at   timestamptz,
    expires_at   timestamptz,
    note         text,
    created_at   timestamptz not null default now(),
    updated_at   timestamptz not null default now(),
    constraint approvals_decided check ((status = 'pending') = (decided_at is null))
);

create index approvals_status on public.approvals (status);
create index approvals_lead_id on public.approvals (lead_id);
create index approvals_requested_by on public.approvals (requested_by);
create index approvals_requested_of on public.approvals (requested_of, status);
create index approvals_decided_by on public.approvals (decided_by);
create index approvals_expires_at on public.approvals (expires_at) where status = 'pending';

-- A decision is made once. Of two people deciding at once the second waits for the row,
-- finds it decided, and is told.
create function public.guard_approval_status() returns trigger
language plpgsql
set search_path = ''
as $$
begin
    if tg_op = 'INSERT' then
        if new.status <> 'pending' then
            raise exception 'an approval starts as pending, not as %', new.status
                using errcode = 'check_violation', constraint = 'approvals_transition';
        end if;
        return new;
    end if;
    if new.status is distinct from old.status then
        if old.status <> 'pending' then
            raise exception 'approval % is already %', old.id, old.status
                using errcode = 'check_violation', constraint = 'approvals_transition';
        end if;
        new.decided_at := coalesce(new.decided_at, now());
    end if;
    return new;
end
$$;

create trigger approvals_transition before insert or update on public.approvals
    for each row execute function public.guard_approval_status();

-- The history of what was said to whom. It goes with its lead: it is about that person.
create table public.events (
    id          uuid primary key default gen_random_uuid(),
    lead_id     uuid references public.leads on delete cascade,
    agent_id    uuid references public.agents on delete set null,
    channel     varchar(20) not null,
    direction   varchar(10) not null default 'outbound'
        check (direction in ('inbound', 'outbound', 'internal')),
    content     text,
    status      varchar(20) not null default 'logged',
    occurred_at timestamptz not null default now(),
    metadata    jsonb not null default '{}',
    created_at  timestamptz not null default now(),
    updated_at  timestamptz not null default now()
);

create index events_lead_id on public.events (lead_id, occurred_at);
create index events_agent_id on public.events (agent_id, occurred_at);

create table public.users (
    id            uuid primary key default gen_random_uuid(),
    email         varchar(255) not null unique,
    password_hash text not null,
    created_at    timestamptz not null default now(),
    updated_at    timestamptz not null default now()
);

create table public.user_profiles (
    id         uuid primary key default gen_random_uuid(),
    user_id    uuid not null unique references public.users on delete cascade,
    first_name varchar(100),
    last_name  varchar(100),
    avatar_url text,
    created_at timestamptz not null default now(),
    updated_at timestamptz not null default now()
);

do $$
declare
    name text;
begin
    foreach name in array array['agents', 'leads', 'approvals', 'events', 'users', 'user_profiles']
    loop
        execute format(
            'create trigger touch_updated_at before update on public.%I'
            ' for each row execute function public.touch_updated_at()', name);
    end loop;
end
$$;
