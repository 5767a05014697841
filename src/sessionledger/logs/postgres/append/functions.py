"""The functions of the server, by which an append is one statement.

Their names carry a number. A version of this package that needs another function gives it another
name, so old and new processes work on one ledger side by side. Where a function is missing, and
this role may not make it, an append takes two trips.

`main.` stands for the schema of the ledger.
"""

from __future__ import annotations

APPEND = "ledger_append_3"
APPEND_ONE = "ledger_append_one_1"
_CONFLICT = """(unit integer, number bigint, key bytea, version bigint, created bigint, owner bytea,
    expires bigint, live boolean, state bytea, alias bytea, group_name bytea, replaced boolean)"""
_SAFE = "SECURITY INVOKER SET search_path = pg_catalog, pg_temp"
# The record hash in headers, or NULL. A regular expression would take longer than all
# else that an append does.
_NAME = '"harn.provenance.record_hash":"'
_READ_HASH = f"""part := substring(told, nullif(strpos(told, '{_NAME}'), 0) + {len(_NAME)}, 72);
        prev := CASE WHEN part LIKE 'sha256:%"'
            AND translate(substr(part, 8, 64), '0123456789abcdef', '') = ''
            THEN left(part, 71) END;"""
_CHAINED = f"hashed || '{_NAME}' || prev || '\",' || told"


def _chain(id: str, event: str) -> str:
    """What hashes an event, whose columns have the prefix `event`, after the hash `prev`.

    `_CHAINED` then are its headers, and `prev` its hash.
    """
    return f"""hashed := {event}before
            || coalesce('"harn.provenance.prev_hash":"' || prev || '",', '');
        told := '"harn.provenance.schema":"harn-eventlog-provenance-v1"' || {event}after;
        prev := 'sha256:' || encode(sha256(
            convert_to('{{"event_id":' || {id} || ',"headers":' || hashed || told
                || ',"kind":' || to_json({event}kind) || ',"occurred_at_ms":' || {event}at
                || ',"payload":', 'UTF8')
            || {event}payload
            || convert_to(',"topic":"' || a_topic || '"}}', 'UTF8')), 'hex');"""


_NAMES = {"n_owner": "owner", "n_alias": "alias", "n_group": "group_name"}
_NEWS = " OR ".join(
    f"""EXISTS (SELECT FROM unnest({names}) AS told(name), LATERAL (
                    SELECT FROM main.ledger_rows AS r WHERE r.topic = line.number
                        AND r.{column} = name AND r.live AND r.version > n_after OFFSET 0) AS s)"""
    for names, column in _NAMES.items()
)

# What `units.plan` does, for units whose rows are all given. Units, events and rows are numbered
# from 1. Each row belongs to an event; `c_` stands for keys that a unit rests on. `n_` stands for
# the names that a rule was decided by, and the newest event then; NULL without a rule.
#
# The first line of the answer is of unit 0, with the head before. Its version is 1 where nothing
# was done, as a process has to plan the units. Then others appended events without rows, or a row
# is over, or the mark matters. Each other line is a conflict: the first condition that does not
# hold, by its number, and the current row of its key. Rows are numbered before reads.
#
# A row is looked up by its key alone, whatever the planner believes of a table that was just made.
FUNCTIONS = {
    APPEND: f"""CREATE OR REPLACE FUNCTION main.{APPEND}(
        a_topic text, is_shared boolean,
        e_unit integer[], e_kind text[], e_payload bytea[], e_before text[], e_after text[],
        e_at bigint[],
        r_unit integer[], r_event integer[], r_key bytea[], r_expected bigint[], r_owner bytea[],
        r_expires bigint[], r_live boolean[], r_state bytea[], r_alias bytea[], r_group bytea[],
        r_replaced boolean[],
        c_unit integer[], c_key bytea[], c_version bigint[],
        n_after bigint DEFAULT NULL, n_owner bytea[] DEFAULT '{{}}', n_alias bytea[] DEFAULT '{{}}',
        n_group bytea[] DEFAULT '{{}}')
    RETURNS TABLE {_CONFLICT} LANGUAGE plpgsql VOLATILE {_SAFE} AS $$
    #variable_conflict use_column
    DECLARE
        line record; one record; must_plan boolean; head bigint; at_unit integer := 0;
        told text; part text; prev text; hashed text;
        ids bigint[] := '{{}}'; headers text[] := '{{}}';
        failed bigint[]; first bigint[] := '{{}}'; later bigint[] := '{{}}';
        refused integer[] := '{{}}'; taken bytea[] := '{{}}'; own bytea[] := '{{}}';
    BEGIN
        FOR attempt IN 1..2 LOOP
            SELECT h.number, h.reached, h.last_id, h.mark INTO line
                FROM main.topic_heads AS h WHERE h.topic = a_topic FOR NO KEY UPDATE;
            EXIT WHEN FOUND;
            INSERT INTO main.topic_heads (topic, last_id) VALUES (a_topic, 0)
                ON CONFLICT (topic) DO NOTHING;
        END LOOP;
        head := line.last_id;
        SELECT e.headers INTO told
            FROM main.events AS e WHERE e.topic = a_topic AND e.event_id = head;
        {_READ_HASH}
        SELECT coalesce(array_agg(n) FILTER (WHERE seen <> wanted), '{{}}'),
            line.reached <> head OR told IS NOT NULL AND prev IS NULL
                OR line.mark > 0 AND is_shared
                OR n_after IS NOT NULL AND ({_NEWS})
                OR bool_or(wanted > head OR seen <> wanted AND line.mark > 0
                    OR seen = wanted AND n <= cardinality(r_key) AND NOT is_live)
            INTO failed, must_plan
            FROM (SELECT n, wanted, coalesce(s.live, true) AS is_live,
                coalesce(CASE WHEN s.live AND s.created < line.mark
                    THEN greatest(s.version, line.mark) ELSE s.version END, 0) AS seen
                FROM unnest(r_key || c_key, r_expected || c_version)
                    WITH ORDINALITY AS given(name, wanted, n)
                LEFT JOIN LATERAL (SELECT r.version, r.created, r.live FROM main.ledger_rows AS r
                    WHERE r.topic = line.number AND r.key = name OFFSET 0) AS s ON true) AS a;
        unit := 0;
        number := head;
        version := must_plan::integer;
        RETURN NEXT;
        IF must_plan THEN
            RETURN;
        END IF;
        IF is_shared THEN
            -- What an earlier unit wrote, a later one was not decided on.
            FOR one IN SELECT u.unit, u.name, u.n::bigint AS n, u.n <= cardinality(r_key) AS is_row
                FROM unnest(r_unit || c_unit, r_key || c_key) WITH ORDINALITY AS u(unit, name, n)
                ORDER BY u.unit, u.n
            LOOP
                IF one.unit <> at_unit THEN
                    taken := taken || own;
                    own := '{{}}';
                    at_unit := one.unit;
                END IF;
                IF at_unit = ANY (refused) THEN
                    CONTINUE;
                ELSIF one.name = ANY (taken) OR one.n = ANY (failed) THEN
                    own := '{{}}';
                    refused := refused || at_unit;
                    IF one.name = ANY (taken) THEN
                        later := later || one.n;
                    ELSE
                        first := first || one.n;
                    END IF;
                ELSIF one.is_row THEN
                    own := own || one.name;
                END IF;
            END LOOP;
            failed := first;
        ELSE
            refused := ARRAY(SELECT (r_unit || c_unit)[f] FROM unnest(failed) AS f);
        END IF;
        IF failed <> '{{}}' THEN
            RETURN QUERY SELECT * FROM main.{APPEND}_refused(
                line.number, r_unit || c_unit, r_key || c_key, failed);
        END IF;
        FOR one IN SELECT * FROM unnest(e_unit, e_kind, e_payload, e_before, e_after, e_at)
            AS e(unit, kind, payload, before, after, at)
        LOOP
            IF one.unit = ANY (refused) THEN
                ids := ids || NULL::bigint;
                headers := headers || NULL::text;
            ELSE
                head := head + 1;
                {_chain("head", "one.")}
                ids := ids || head;
                headers := headers
                    || ({_CHAINED});
            END IF;
        END LOOP;
        IF head > line.last_id THEN
            WITH events AS (
                INSERT INTO main.events
                    (topic, event_id, kind, payload, headers, occurred_at_ms)
                    SELECT a_topic, e.id, e.kind, e.payload, e.headers, e.at
                    FROM unnest(ids, e_kind, e_payload, headers, e_at)
                        AS e(id, kind, payload, headers, at) WHERE e.id IS NOT NULL),
            rows AS (
                INSERT INTO main.ledger_rows (topic, key, version, created, owner, expires, live,
                    state, alias, group_name, replaced)
                    SELECT line.number, r.key, ids[r.event], ids[r.event], r.owner, r.expires,
                        r.live, r.state, r.alias, r.group_name, r.replaced
                    FROM unnest(r_event, r_key, r_owner, r_expires, r_live, r_state, r_alias,
                        r_group, r_replaced) AS r(event, key, owner, expires, live, state, alias,
                        group_name, replaced) WHERE ids[r.event] IS NOT NULL
                    ON CONFLICT (topic, key) DO UPDATE SET version = excluded.version,
                        owner = excluded.owner, expires = excluded.expires, live = excluded.live,
                        state = excluded.state, alias = excluded.alias,
                        group_name = excluded.group_name, replaced = excluded.replaced),
            links AS (
                INSERT INTO main.ledger_links (topic, key, event_id)
                    SELECT line.number, r.key, ids[r.event] FROM unnest(r_event, r_key)
                        AS r(event, key) WHERE ids[r.event] IS NOT NULL
                    ON CONFLICT (topic, key, event_id) DO NOTHING)
            UPDATE main.topic_heads AS h SET last_id = head, reached = head
                WHERE h.topic = a_topic;
        END IF;
        IF later <> '{{}}' THEN
            RETURN QUERY SELECT * FROM main.{APPEND}_refused(
                line.number, r_unit || c_unit, r_key || c_key, later);
        END IF;
    END $$""",
    # One event with its row: what most appends are. It does by single statements what the function
    # above does for sets, and leaves to it what is not as usual.
    APPEND_ONE: f"""CREATE OR REPLACE FUNCTION main.{APPEND_ONE}(
        a_topic text, e_kind text, e_payload bytea, e_before text, e_after text, e_at bigint,
        r_key bytea, r_expected bigint, r_owner bytea, r_expires bigint, r_live boolean,
        r_state bytea, r_alias bytea, r_group bytea, r_replaced boolean)
    RETURNS TABLE {_CONFLICT} LANGUAGE plpgsql VOLATILE ROWS 1 {_SAFE} AS $$
    #variable_conflict use_column
    DECLARE
        line record; id bigint; told text; part text; prev text; hashed text;
        is_put boolean := false;
    BEGIN
        UPDATE main.topic_heads AS h SET last_id = h.last_id + 1, reached = h.last_id + 1
            WHERE h.topic = a_topic AND h.reached = h.last_id AND h.mark = 0
            RETURNING h.number, h.last_id INTO line;
        id := line.last_id;
        IF id > 1 THEN
            SELECT e.headers INTO told
                FROM main.events AS e WHERE e.topic = a_topic AND e.event_id = id - 1;
            {_READ_HASH}
        END IF;
        IF prev IS NOT NULL OR id = 1 THEN
            IF r_expected = 0 THEN
                INSERT INTO main.ledger_rows (topic, key, version, created, owner, expires, live,
                    state, alias, group_name, replaced)
                    VALUES (line.number, r_key, id, id, r_owner, r_expires, r_live, r_state,
                        r_alias, r_group, r_replaced)
                    ON CONFLICT (topic, key) DO NOTHING;
            ELSE
                UPDATE main.ledger_rows AS r SET version = id, owner = r_owner,
                    expires = r_expires, live = r_live, state = r_state, alias = r_alias,
                    group_name = r_group, replaced = r_replaced
                    WHERE r.topic = line.number AND r.key = r_key AND r.version = r_expected
                        AND r.live;
            END IF;
            is_put := FOUND;
        END IF;
        IF NOT is_put THEN
            UPDATE main.topic_heads AS h SET last_id = id - 1, reached = id - 1
                WHERE h.topic = a_topic AND id IS NOT NULL;
            RETURN QUERY SELECT * FROM main.{APPEND}(a_topic, false, ARRAY[1], ARRAY[e_kind],
                ARRAY[e_payload], ARRAY[e_before], ARRAY[e_after], ARRAY[e_at], ARRAY[1], ARRAY[1],
                ARRAY[r_key], ARRAY[r_expected], ARRAY[r_owner], ARRAY[r_expires], ARRAY[r_live],
                ARRAY[r_state], ARRAY[r_alias], ARRAY[r_group], ARRAY[r_replaced],
                '{{}}', '{{}}', '{{}}');
            RETURN;
        END IF;
        {_chain("id", "e_")}
        INSERT INTO main.events (topic, event_id, kind, payload, headers, occurred_at_ms)
            VALUES (a_topic, id, e_kind, e_payload,
                {_CHAINED}, e_at);
        INSERT INTO main.ledger_links (topic, key, event_id) VALUES (line.number, r_key, id)
            ON CONFLICT (topic, key, event_id) DO NOTHING;
        unit := 0;
        number := id - 1;
        version := 0;
        RETURN NEXT;
    END $$""",
    f"{APPEND}_refused": f"""CREATE OR REPLACE FUNCTION main.{APPEND}_refused(
        a_number integer, unit_of integer[], key_of bytea[], failed bigint[])
    RETURNS TABLE {_CONFLICT} LANGUAGE sql STABLE {_SAFE} AS $$
        SELECT DISTINCT ON (unit_of[f]) unit_of[f], f, s.key, s.version, s.created, s.owner,
            s.expires, s.live, s.state, s.alias, s.group_name, s.replaced
        FROM unnest(failed) AS f
        LEFT JOIN main.ledger_rows AS s ON s.topic = a_number AND s.key = key_of[f]
        ORDER BY unit_of[f], f
    $$""",
}
