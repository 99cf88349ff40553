-- What the worker keeps for itself, in the transaction of the effects it belongs to.

create schema if not exists tidemark;

-- A notification to be delivered, at least once and under one id, by every sink.
create table tidemark.outbox (
    id         uuid primary key,
    seq        bigint generated always as identity,
    audience   text not null,
    recipient  text not null,
    kind       text not null,
    data       jsonb not null,
    created_at timestamptz not null default now(),
    sent_by    text[] not null default '{}', -- the sinks that have taken it
    sent_at    timestamptz,                  -- when the last of them had
    attempts   integer not null default 0,
    next_at    timestamptz not null default now(), -- not before; also the end of a claim
    last_error text
);

create index outbox_due on tidemark.outbox (next_at, seq) where sent_at is null;
create index outbox_sent on tidemark.outbox (sent_at) where sent_at is not null;

-- An event, the handler that gave it up, and why.
create table tidemark.dead_letters (
    id        uuid primary key default gen_random_uuid(),
    event_id  uuid not null,
    handler   text not null,
    lane      text not null,
    event     jsonb not null,
    reason    text not null,
    attempts  integer not null,
    stored_at timestamptz not null default now(),
    unique (event_id, handler)
);

create index dead_letters_stored_at on tidemark.dead_letters (stored_at);

create table tidemark.counters (
    name   text not null,
    labels jsonb not null default '{}',
    value  bigint not null,
    primary key (name, labels)
);
