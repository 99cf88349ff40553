-- What happened to which row: written by the worker, one row for each change it handled.

create table public.audit_logs (
    id           uuid primary key default gen_random_uuid(),
    seq          bigint generated always as identity unique,
    event_id     uuid not null unique,
    table_schema varchar(63) not null default 'public',
    table_name   varchar(100) not null,
    record_id    uuid not null,
    record_key   jsonb,
    action       varchar(20) not null check (action in ('INSERT', 'UPDATE', 'DELETE')),
    old_data     jsonb,
    new_data     jsonb,
    user_id      uuid references public.users on delete set null,
    actor        text,
    committed_at timestamptz,
    created_at   timestamptz not null default now()
);

comment on column public.audit_logs.seq is 'the order in which the changes were handled';
comment on column public.audit_logs.event_id is 'a change handled twice is written once';
comment on column public.audit_logs.record_id is
    'the row''s id where that is a uuid, otherwise derived from record_key';
comment on column public.audit_logs.actor is 'who did it, kept when the user is deleted';

create index audit_logs_record on public.audit_logs (table_name, record_id);
create index audit_logs_created_at on public.audit_logs (created_at);
create index audit_logs_user_id on public.audit_logs (user_id) where user_id is not null;
