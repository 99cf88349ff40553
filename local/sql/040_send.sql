-- Broadcast from the database. Names, texts and quirks are those of Supabase: a message that
-- cannot be stored is a WARNING and nothing else, and the caller's transaction goes on.

-- The topic that the policies on realtime.messages are asked about.
create or replace function realtime.topic() returns text
language sql stable
as $$ select nullif(current_setting('realtime.topic', true), '') $$;

create or replace function realtime.store_message(
    message_id uuid, payload jsonb, binary_payload bytea, event text, topic text, private boolean
) returns void
language plpgsql
as $$
begin
    if topic is null then
        raise syntax_error using message = 'syntax error at or near "NULL"';
    end if;
    perform set_config('realtime.topic', topic, true);
    insert into realtime.messages (id, payload, binary_payload, event, topic, private, extension)
    values (message_id, payload, binary_payload, event, topic, private, 'broadcast');
end
$$;

create or replace function realtime.send(
    payload jsonb, event text, topic text, private boolean default true
) returns void
language plpgsql
as $$
declare
    message_id uuid := gen_random_uuid();
begin
    -- `?` also finds the string "id" in an array or a scalar: those are stored as they are, while
    -- every other array or scalar fails in jsonb_set.
    if payload ? 'id' is not true then
        payload := jsonb_set(payload, '{id}', to_jsonb(message_id));
    end if;
    perform realtime.store_message(message_id, payload, null, event, topic, private);
exception when others then
    raise warning 'WarnSendingBroadcastMessage: %', sqlerrm;
end
$$;

create or replace function realtime.send_binary(
    payload bytea, event text, topic text, private boolean default true
) returns void
language plpgsql
as $$
begin
    perform realtime.store_message(gen_random_uuid(), null, payload, event, topic, private);
exception when others then
    raise warning 'WarnSendingBroadcastMessage: %', sqlerrm;
end
$$;

-- For triggers: the change of a row as a private broadcast.
create or replace function realtime.broadcast_changes(
    topic_name text,
    event_name text,
    operation text,
    table_name text,
    table_schema text,
    new record,
    old record,
    level text default 'ROW'
) returns void
language plpgsql
as $$
begin
    if level = 'STATEMENT' then
        raise exception 'function can only be triggered for each row, not for each statement';
    end if;
    if operation in ('INSERT', 'UPDATE', 'DELETE') is not true then
        raise exception 'Unexpected operation type: %', operation;
    end if;
    perform realtime.send(
        jsonb_build_object(
            'schema', table_schema,
            'table', table_name,
            'operation', operation,
            'record', new,
            'old_record', old
        ),
        event_name,
        topic_name
    );
exception when others then
    raise exception 'Failed to process the row: %', sqlerrm;
end
$$;
