SELECT pg_catalog.set_config('search_path', '', false);
CREATE SCHEMA dumped;
CREATE FUNCTION dumped.ledger_append_2(a_topic text, is_shared boolean, e_unit integer[], e_kind text[], e_payload bytea[], e_before text[], e_after text[], e_at bigint[], r_unit integer[], r_event integer[], r_key bytea[], r_expected bigint[], r_owner bytea[], r_expires bigint[], r_live boolean[], r_state bytea[], r_alias bytea[], r_group bytea[], r_replaced boolean[], c_unit integer[], c_key bytea[], c_version bigint[], n_after bigint DEFAULT NULL::bigint, n_owner bytea[] DEFAULT '{}'::bytea[], n_alias bytea[] DEFAULT '{}'::bytea[], n_group bytea[] DEFAULT '{}'::bytea[]) RETURNS TABLE(unit integer, number bigint, key bytea, version bigint, created bigint, owner bytea, expires bigint, live boolean, state bytea, alias bytea, group_name bytea, replaced boolean)
    LANGUAGE plpgsql
    SET search_path TO 'pg_catalog', 'pg_temp'
    AS $$
    #variable_conflict use_column
    DECLARE
        line record; one record; must_plan boolean; head bigint; at_unit integer := 0;
        told text; prev text; hashed text; ids bigint[] := '{}'; headers text[] := '{}';
        failed bigint[]; first bigint[] := '{}'; later bigint[] := '{}';
        refused integer[] := '{}'; taken bytea[] := '{}'; own bytea[] := '{}';
    BEGIN
        FOR attempt IN 1..2 LOOP
            SELECT h.number, h.reached, h.last_id, h.mark INTO line
                FROM "dumped".topic_heads AS h WHERE h.topic = a_topic FOR NO KEY UPDATE;
            EXIT WHEN FOUND;
            INSERT INTO "dumped".topic_heads (topic, last_id) VALUES (a_topic, 0)
                ON CONFLICT (topic) DO NOTHING;
        END LOOP;
        head := line.last_id;
        SELECT e.headers INTO told
            FROM "dumped".events AS e WHERE e.topic = a_topic AND e.event_id = head;
        prev := substring(told, '"harn\.provenance\.record_hash":"(sha256:[0-9a-f]{64})"');
        SELECT coalesce(array_agg(n) FILTER (WHERE seen <> wanted), '{}'),
            line.reached <> head OR told IS NOT NULL AND prev IS NULL
                OR line.mark > 0 AND is_shared
                OR n_after IS NOT NULL AND (EXISTS (SELECT FROM unnest(n_owner) AS told(name), LATERAL (
                    SELECT FROM "dumped".ledger_rows AS r WHERE r.topic = line.number
                        AND r.owner = name AND r.live AND r.version > n_after OFFSET 0) AS s) OR EXISTS (SELECT FROM unnest(n_alias) AS told(name), LATERAL (
                    SELECT FROM "dumped".ledger_rows AS r WHERE r.topic = line.number
                        AND r.alias = name AND r.live AND r.version > n_after OFFSET 0) AS s) OR EXISTS (SELECT FROM unnest(n_group) AS told(name), LATERAL (
                    SELECT FROM "dumped".ledger_rows AS r WHERE r.topic = line.number
                        AND r.group_name = name AND r.live AND r.version > n_after OFFSET 0) AS s))
                OR bool_or(wanted > head OR seen <> wanted AND line.mark > 0
                    OR seen = wanted AND n <= cardinality(r_key) AND NOT is_live)
            INTO failed, must_plan
            FROM (SELECT n, wanted, coalesce(s.live, true) AS is_live,
                coalesce(CASE WHEN s.live AND s.created < line.mark
                    THEN greatest(s.version, line.mark) ELSE s.version END, 0) AS seen
                FROM unnest(r_key || c_key, r_expected || c_version)
                    WITH ORDINALITY AS given(name, wanted, n)
                LEFT JOIN LATERAL (SELECT r.version, r.created, r.live FROM "dumped".ledger_rows AS r
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
                    own := '{}';
                    at_unit := one.unit;
                END IF;
                IF at_unit = ANY (refused) THEN
                    CONTINUE;
                ELSIF one.name = ANY (taken) OR one.n = ANY (failed) THEN
                    own := '{}';
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
        IF failed <> '{}' THEN
            RETURN QUERY SELECT * FROM "dumped".ledger_append_2_refused(
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
                hashed := one.before
                    || coalesce('"harn.provenance.prev_hash":"' || prev || '",', '');
                told := '"harn.provenance.schema":"harn-eventlog-provenance-v1"' || one.after;
                prev := 'sha256:' || encode(sha256(
                    convert_to('{"event_id":' || head || ',"headers":' || hashed || told
                        || ',"kind":' || to_json(one.kind) || ',"occurred_at_ms":' || one.at
                        || ',"payload":', 'UTF8')
                    || one.payload
                    || convert_to(',"topic":"' || a_topic || '"}', 'UTF8')), 'hex');
                ids := ids || head;
                headers := headers
                    || (hashed || '"harn.provenance.record_hash":"' || prev || '",' || told);
            END IF;
        END LOOP;
        IF head > line.last_id THEN
            WITH events AS (
                INSERT INTO "dumped".events
                    (topic, event_id, kind, payload, headers, occurred_at_ms)
                    SELECT a_topic, e.id, e.kind, e.payload, e.headers, e.at
                    FROM unnest(ids, e_kind, e_payload, headers, e_at)
                        AS e(id, kind, payload, headers, at) WHERE e.id IS NOT NULL),
            rows AS (
                INSERT INTO "dumped".ledger_rows (topic, key, version, created, owner, expires, live,
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
                INSERT INTO "dumped".ledger_links (topic, key, event_id)
                    SELECT line.number, r.key, ids[r.event] FROM unnest(r_event, r_key)
                        AS r(event, key) WHERE ids[r.event] IS NOT NULL
                    ON CONFLICT (topic, key, event_id) DO NOTHING)
            UPDATE "dumped".topic_heads AS h SET last_id = head, reached = head
                WHERE h.topic = a_topic;
        END IF;
        IF later <> '{}' THEN
            RETURN QUERY SELECT * FROM "dumped".ledger_append_2_refused(
                line.number, r_unit || c_unit, r_key || c_key, later);
        END IF;
    END $$;
CREATE FUNCTION dumped.ledger_append_2_refused(a_number integer, unit_of integer[], key_of bytea[], failed bigint[]) RETURNS TABLE(unit integer, number bigint, key bytea, version bigint, created bigint, owner bytea, expires bigint, live boolean, state bytea, alias bytea, group_name bytea, replaced boolean)
    LANGUAGE sql STABLE
    SET search_path TO 'pg_catalog', 'pg_temp'
    AS $$
        SELECT DISTINCT ON (unit_of[f]) unit_of[f], f, s.key, s.version, s.created, s.owner,
            s.expires, s.live, s.state, s.alias, s.group_name, s.replaced
        FROM unnest(failed) AS f
        LEFT JOIN "dumped".ledger_rows AS s ON s.topic = a_number AND s.key = key_of[f]
        ORDER BY unit_of[f], f
    $$;
CREATE TABLE dumped.consumers (
    topic text NOT NULL COLLATE pg_catalog."C",
    consumer_id text NOT NULL COLLATE pg_catalog."C",
    cursor bigint NOT NULL,
    updated_at_ms bigint NOT NULL
);
CREATE TABLE dumped.events (
    topic text NOT NULL COLLATE pg_catalog."C",
    event_id bigint NOT NULL,
    kind text NOT NULL,
    payload bytea NOT NULL,
    headers text NOT NULL,
    occurred_at_ms bigint NOT NULL
);
CREATE TABLE dumped.ledger_base (
    topic integer NOT NULL,
    key bytea NOT NULL,
    generation bigint NOT NULL,
    entry bytea NOT NULL
);
CREATE TABLE dumped.ledger_links (
    topic integer NOT NULL,
    key bytea NOT NULL,
    event_id bigint NOT NULL
);
CREATE TABLE dumped.ledger_meta (
    name text NOT NULL,
    value text NOT NULL
);
CREATE TABLE dumped.ledger_rows (
    topic integer NOT NULL,
    key bytea NOT NULL,
    version bigint NOT NULL,
    created bigint NOT NULL,
    owner bytea NOT NULL,
    expires bigint NOT NULL,
    live boolean NOT NULL,
    state bytea NOT NULL,
    alias bytea,
    group_name bytea,
    replaced boolean DEFAULT false NOT NULL
)
WITH (fillfactor='90');
CREATE TABLE dumped.topic_heads (
    topic text NOT NULL COLLATE pg_catalog."C",
    last_id bigint NOT NULL,
    number integer NOT NULL,
    reached bigint DEFAULT 0 NOT NULL,
    mark bigint DEFAULT 0 NOT NULL,
    cut bigint DEFAULT 0 NOT NULL,
    cut_hash text,
    seal bigint DEFAULT 0 NOT NULL
);
ALTER TABLE dumped.topic_heads ALTER COLUMN number ADD GENERATED ALWAYS AS IDENTITY (
    SEQUENCE NAME dumped.topic_heads_number_seq
    START WITH 1
    INCREMENT BY 1
    NO MINVALUE
    NO MAXVALUE
    CACHE 1
);
INSERT INTO dumped.events VALUES ('orchestrator.sessions', 1, 'session_created', '\x7b227265636f7264223a7b2261747472696275746573223a7b226e756d626572223a307d2c22637265617465645f6174223a22323032362d31312d32345431323a30303a30305a222c22657870697265735f6174223a22323039392d30312d30315430303a30303a30305a222c226c6173745f7365656e5f6174223a22323032362d31312d32345431323a30303a30305a222c227072696e636970616c223a22616c696365222c22746f6b656e5f68616e646c65223a227368613235363a76313a39656662303037333933613632663764386430643433633235343261383361616163393966316236313361376337616330303538383139653566633234633138227d7d', '{"harn.provenance.record_hash":"sha256:795d811dc31c37212055189a03f6e1c1c86a16d525fa410631a528d5a9c73930","harn.provenance.schema":"harn-eventlog-provenance-v1","sessionledger.salt":"Wm+Xwjg+Vh9ZXx4hZ3UPMg"}', 1795521600000);
INSERT INTO dumped.events VALUES ('orchestrator.sessions', 2, 'session_created', '\x7b227265636f7264223a7b2261747472696275746573223a7b226e756d626572223a317d2c22637265617465645f6174223a22323032362d31312d32345431323a30303a30305a222c22657870697265735f6174223a22323039392d30312d30315430303a30303a30305a222c226c6173745f7365656e5f6174223a22323032362d31312d32345431323a30303a30305a222c227072696e636970616c223a22626f62222c22746f6b656e5f68616e646c65223a227368613235363a76313a65393932643537663737326662343037636264636339636561366132346261633036303963653631383566663039366362323863623964363066666336386131227d7d', '{"harn.provenance.prev_hash":"sha256:795d811dc31c37212055189a03f6e1c1c86a16d525fa410631a528d5a9c73930","harn.provenance.record_hash":"sha256:5de49a31505836039dfe9127e988a3c2781a822d6a134443649ec320d5b4d54c","harn.provenance.schema":"harn-eventlog-provenance-v1","sessionledger.salt":"Z96RgICuToWJQm+89xWFSg"}', 1795521600000);
INSERT INTO dumped.events VALUES ('orchestrator.sessions', 3, 'session_created', '\x7b227265636f7264223a7b2261747472696275746573223a7b226e756d626572223a327d2c22637265617465645f6174223a22323032362d31312d32345431323a30303a30305a222c22657870697265735f6174223a22323039392d30312d30315430303a30303a30305a222c226c6173745f7365656e5f6174223a22323032362d31312d32345431323a30303a30305a222c227072696e636970616c223a22616c696365222c22746f6b656e5f68616e646c65223a227368613235363a76313a65346335393837376431613865353762343334343837356336333964303336373533653639656534326239323163636538376230663661666562313266336261227d7d', '{"harn.provenance.prev_hash":"sha256:5de49a31505836039dfe9127e988a3c2781a822d6a134443649ec320d5b4d54c","harn.provenance.record_hash":"sha256:8c2d7ff4f2e689f4170af4fe4faa2299a85d757be367f6b64ecb540775df7cdb","harn.provenance.schema":"harn-eventlog-provenance-v1","sessionledger.salt":"AYIMiAc68hpVecRkhCLm3g"}', 1795521600000);
INSERT INTO dumped.events VALUES ('orchestrator.sessions', 4, 'session_created', '\x7b227265636f7264223a7b2261747472696275746573223a7b226e756d626572223a337d2c22637265617465645f6174223a22323032362d31312d32345431323a30303a30305a222c22657870697265735f6174223a22323039392d30312d30315430303a30303a30305a222c226c6173745f7365656e5f6174223a22323032362d31312d32345431323a30303a30305a222c227072696e636970616c223a22626f62222c22746f6b656e5f68616e646c65223a227368613235363a76313a32346330653061333232373334373937303635653133643563663464653961616265383839396531376633376265396563653662623031303964663739313032227d7d', '{"harn.provenance.prev_hash":"sha256:8c2d7ff4f2e689f4170af4fe4faa2299a85d757be367f6b64ecb540775df7cdb","harn.provenance.record_hash":"sha256:86a1e450cfc236fe7a01ffe566b011ec9a52636c7bc5166667a1c7474ce42f0d","harn.provenance.schema":"harn-eventlog-provenance-v1","sessionledger.salt":"NMdbEtKCFFZLILaRD6PLJg"}', 1795521600000);
INSERT INTO dumped.events VALUES ('orchestrator.sessions', 5, 'session_created', '\x7b227265636f7264223a7b2261747472696275746573223a7b226e756d626572223a347d2c22637265617465645f6174223a22323032362d31312d32345431323a30303a30305a222c22657870697265735f6174223a22323039392d30312d30315430303a30303a30305a222c226c6173745f7365656e5f6174223a22323032362d31312d32345431323a30303a30305a222c227072696e636970616c223a22616c696365222c22746f6b656e5f68616e646c65223a227368613235363a76313a38323861646333666334303462613539333233663363636534336664643834353434653832343762393131353037346365336436616137643333316662376230227d7d', '{"harn.provenance.prev_hash":"sha256:86a1e450cfc236fe7a01ffe566b011ec9a52636c7bc5166667a1c7474ce42f0d","harn.provenance.record_hash":"sha256:9a1e66ec957e0f66440d93e138e567d79658110bcfb6252c570a8a1e2bfaab09","harn.provenance.schema":"harn-eventlog-provenance-v1","sessionledger.salt":"cfGJfzZLcZm3iY8gDMB18g"}', 1795521600000);
INSERT INTO dumped.events VALUES ('orchestrator.sessions', 6, 'session_created', '\x7b227265636f7264223a7b2261747472696275746573223a7b226e756d626572223a357d2c22637265617465645f6174223a22323032362d31312d32345431323a30303a30305a222c22657870697265735f6174223a22323039392d30312d30315430303a30303a30305a222c226c6173745f7365656e5f6174223a22323032362d31312d32345431323a30303a30305a222c227072696e636970616c223a22626f62222c22746f6b656e5f68616e646c65223a227368613235363a76313a61613133346463336138356132393131366435373734613561663163326631383336656662323261376132353733333031313364636634343335376137343765227d7d', '{"harn.provenance.prev_hash":"sha256:9a1e66ec957e0f66440d93e138e567d79658110bcfb6252c570a8a1e2bfaab09","harn.provenance.record_hash":"sha256:7baa2ef20df53da29267982a54272dd0bb5aecf8ea969720005704b69de933b8","harn.provenance.schema":"harn-eventlog-provenance-v1","sessionledger.salt":"c7h3Qao9Yf3ky54tU5cIrw"}', 1795521600000);
INSERT INTO dumped.events VALUES ('orchestrator.sessions', 7, 'session_touched', '\x7b2261747472696275746573223a7b227365656e223a22c3a4227d2c22657870697265735f6174223a6e756c6c2c226c6173745f7365656e5f6174223a22323032362d31312d32345431323a30353a30305a222c22746f6b656e5f68616e646c65223a227368613235363a76313a39656662303037333933613632663764386430643433633235343261383361616163393966316236313361376337616330303538383139653566633234633138227d', '{"harn.provenance.prev_hash":"sha256:7baa2ef20df53da29267982a54272dd0bb5aecf8ea969720005704b69de933b8","harn.provenance.record_hash":"sha256:d8beb706437a519317e92605650c43cf0a77b73fc0f966c06ac9fa18e173417c","harn.provenance.schema":"harn-eventlog-provenance-v1","sessionledger.salt":"IbTfj/NyxThbP7wSZuHouw"}', 1795521600000);
INSERT INTO dumped.events VALUES ('orchestrator.sessions', 8, 'session_touched', '\x7b2261747472696275746573223a7b227365656e223a22c3a4227d2c22657870697265735f6174223a6e756c6c2c226c6173745f7365656e5f6174223a22323032362d31312d32345431323a30353a30305a222c22746f6b656e5f68616e646c65223a227368613235363a76313a65393932643537663737326662343037636264636339636561366132346261633036303963653631383566663039366362323863623964363066666336386131227d', '{"harn.provenance.prev_hash":"sha256:d8beb706437a519317e92605650c43cf0a77b73fc0f966c06ac9fa18e173417c","harn.provenance.record_hash":"sha256:b3aab9acfde0f5db2e4efe87ebad923a7951aec3ba90c1c03ab22fc14b703bc5","harn.provenance.schema":"harn-eventlog-provenance-v1","sessionledger.salt":"YAQKHwFJwepvlwF7NG/FlA"}', 1795521600000);
INSERT INTO dumped.events VALUES ('orchestrator.sessions', 9, 'session_touched', '\x7b2261747472696275746573223a7b227365656e223a22c3a4227d2c22657870697265735f6174223a6e756c6c2c226c6173745f7365656e5f6174223a22323032362d31312d32345431323a30353a30305a222c22746f6b656e5f68616e646c65223a227368613235363a76313a65346335393837376431613865353762343334343837356336333964303336373533653639656534326239323163636538376230663661666562313266336261227d', '{"harn.provenance.prev_hash":"sha256:b3aab9acfde0f5db2e4efe87ebad923a7951aec3ba90c1c03ab22fc14b703bc5","harn.provenance.record_hash":"sha256:dad7cf676c3f7954b0a8fcdb4d1cdd59cb629d18b92d42116de9f8c47b05cef7","harn.provenance.schema":"harn-eventlog-provenance-v1","sessionledger.salt":"sDnk0dN700kyCC8TrmBYsQ"}', 1795521600000);
INSERT INTO dumped.events VALUES ('orchestrator.sessions', 10, 'session_expired', '\x7b22657870697265645f6174223a22323032362d31312d32345431323a30303a30305a222c22746f6b656e5f68616e646c65223a227368613235363a76313a32346330653061333232373334373937303635653133643563663464653961616265383839396531376633376265396563653662623031303964663739313032227d', '{"harn.provenance.prev_hash":"sha256:dad7cf676c3f7954b0a8fcdb4d1cdd59cb629d18b92d42116de9f8c47b05cef7","harn.provenance.record_hash":"sha256:0f6a2a744fbc51f67fdcf0ebbc972394ac7ca55fba531ac04028417ac71320b5","harn.provenance.schema":"harn-eventlog-provenance-v1"}', 1795521600000);
INSERT INTO dumped.events VALUES ('orchestrator.sessions', 11, 'session_touched', '\x7b2261747472696275746573223a7b2270617463686564223a747275652c227365656e223a22c3a4227d2c22657870697265735f6174223a6e756c6c2c226c6173745f7365656e5f6174223a22323032362d31312d32345431323a30353a30305a222c22746f6b656e5f68616e646c65223a227368613235363a76313a39656662303037333933613632663764386430643433633235343261383361616163393966316236313361376337616330303538383139653566633234633138227d', '{"harn.provenance.prev_hash":"sha256:0f6a2a744fbc51f67fdcf0ebbc972394ac7ca55fba531ac04028417ac71320b5","harn.provenance.record_hash":"sha256:f421ba58d08088366151c9c2e15b68dee007b2a92e3570147a9d850a365763b3","harn.provenance.schema":"harn-eventlog-provenance-v1","sessionledger.salt":"PXSn1SEQ0X+cp0vuFV6HCg"}', 1795521600000);
INSERT INTO dumped.events VALUES ('orchestrator.sessions', 12, 'session_expired', '\x7b226361757365223a22726f7461746564222c22657870697265645f6174223a22323032362d31312d32345431323a30303a30305a222c22737563636573736f72223a227368613235363a76313a36353131313937636636356466303339343736353739396363326430623637666438643837613066383037393735653236383061316232623731373466336635222c22746f6b656e5f68616e646c65223a227368613235363a76313a38323861646333666334303462613539333233663363636534336664643834353434653832343762393131353037346365336436616137643333316662376230227d', '{"harn.provenance.prev_hash":"sha256:f421ba58d08088366151c9c2e15b68dee007b2a92e3570147a9d850a365763b3","harn.provenance.record_hash":"sha256:532d8437f64e9bb998d9c391d2d952e7f10c37530956e1002519011bcc7b7a6c","harn.provenance.schema":"harn-eventlog-provenance-v1","sessionledger.unit":"1/2"}', 1795521600000);
INSERT INTO dumped.events VALUES ('orchestrator.sessions', 13, 'session_created', '\x7b227265636f7264223a7b2261747472696275746573223a7b226e756d626572223a347d2c22637265617465645f6174223a22323032362d31312d32345431323a30303a30305a222c22657870697265735f6174223a22323039392d30312d30315430303a30303a30305a222c2266616d696c79223a227368613235363a76313a38323861646333666334303462613539333233663363636534336664643834353434653832343762393131353037346365336436616137643333316662376230222c2267656e657261746564223a747275652c226c6173745f7365656e5f6174223a22323032362d31312d32345431323a30303a30305a222c227072696e636970616c223a22616c696365222c22726f746174696f6e73223a5b313739353532313630303030303030305d2c22746f6b656e5f68616e646c65223a227368613235363a76313a36353131313937636636356466303339343736353739396363326430623637666438643837613066383037393735653236383061316232623731373466336635227d7d', '{"harn.provenance.prev_hash":"sha256:532d8437f64e9bb998d9c391d2d952e7f10c37530956e1002519011bcc7b7a6c","harn.provenance.record_hash":"sha256:10ca949b5e0333a0eedd77be9890263f0428faa353081194ee69708b4c042efe","harn.provenance.schema":"harn-eventlog-provenance-v1","sessionledger.salt":"5BeLmc4bxaBLHc3Zwl4dSg","sessionledger.unit":"2/2"}', 1795521600000);
INSERT INTO dumped.events VALUES ('orchestrator.sessions', 14, 'everybody_revoked', '\x7b227265766f6b65645f6174223a22323032362d31312d32345431323a30303a30305a227d', '{"harn.provenance.prev_hash":"sha256:10ca949b5e0333a0eedd77be9890263f0428faa353081194ee69708b4c042efe","harn.provenance.record_hash":"sha256:d771f016e53f287bab748d4e8c96cec358c1933f7a07bdd4987a0687037c756f","harn.provenance.schema":"harn-eventlog-provenance-v1","sessionledger.reason":"to have a mark","sessionledger.salt":"lx82I3p1ggpxES+l1a915A"}', 1795521600000);
INSERT INTO dumped.events VALUES ('orchestrator.sessions', 15, 'session_created', '\x7b227265636f7264223a7b2261747472696275746573223a7b7d2c22637265617465645f6174223a22323032362d31312d32345431323a30303a30305a222c22657870697265735f6174223a22323039392d30312d30315430303a30303a30305a222c226c6173745f7365656e5f6174223a22323032362d31312d32345431323a30303a30305a222c227072696e636970616c223a226361726f6c222c22746f6b656e5f68616e646c65223a227368613235363a76313a39303664353366333936393062326437353131356563626438386261333638303534353861623365346262363230333065393466306664323262366631393031227d7d', '{"harn.provenance.prev_hash":"sha256:d771f016e53f287bab748d4e8c96cec358c1933f7a07bdd4987a0687037c756f","harn.provenance.record_hash":"sha256:6041a556be40359cd104de8323c036990e6d1c0599720d8ca1edd1203c4ede19","harn.provenance.schema":"harn-eventlog-provenance-v1","sessionledger.salt":"VBIwVZQHIUmXlktT6KaGmA"}', 1795521600000);
INSERT INTO dumped.ledger_links VALUES (1, '\x9efb007393a62f7d8d0d43c2542a83aaac99f1b613a7c7ac0058819e5fc24c18', 1);
INSERT INTO dumped.ledger_links VALUES (1, '\xe992d57f772fb407cbdcc9cea6a24bac0609ce6185ff096cb28cb9d60ffc68a1', 2);
INSERT INTO dumped.ledger_links VALUES (1, '\xe4c59877d1a8e57b4344875c639d036753e69ee42b921cce87b0f6afeb12f3ba', 3);
INSERT INTO dumped.ledger_links VALUES (1, '\x24c0e0a322734797065e13d5cf4de9aabe8899e17f37be9ece6bb0109df79102', 4);
INSERT INTO dumped.ledger_links VALUES (1, '\x828adc3fc404ba59323f3cce43fdd84544e8247b9115074ce3d6aa7d331fb7b0', 5);
INSERT INTO dumped.ledger_links VALUES (1, '\xaa134dc3a85a29116d5774a5af1c2f1836efb22a7a257330113dcf44357a747e', 6);
INSERT INTO dumped.ledger_links VALUES (1, '\x9efb007393a62f7d8d0d43c2542a83aaac99f1b613a7c7ac0058819e5fc24c18', 7);
INSERT INTO dumped.ledger_links VALUES (1, '\xe992d57f772fb407cbdcc9cea6a24bac0609ce6185ff096cb28cb9d60ffc68a1', 8);
INSERT INTO dumped.ledger_links VALUES (1, '\xe4c59877d1a8e57b4344875c639d036753e69ee42b921cce87b0f6afeb12f3ba', 9);
INSERT INTO dumped.ledger_links VALUES (1, '\x24c0e0a322734797065e13d5cf4de9aabe8899e17f37be9ece6bb0109df79102', 10);
INSERT INTO dumped.ledger_links VALUES (1, '\x9efb007393a62f7d8d0d43c2542a83aaac99f1b613a7c7ac0058819e5fc24c18', 11);
INSERT INTO dumped.ledger_links VALUES (1, '\x828adc3fc404ba59323f3cce43fdd84544e8247b9115074ce3d6aa7d331fb7b0', 12);
INSERT INTO dumped.ledger_links VALUES (1, '\x6511197cf65df0394765799cc2d0b67fd8d87a0f807975e2680a1b2b7174f3f5', 13);
INSERT INTO dumped.ledger_links VALUES (1, '\x906d53f39690b2d75115ecbd88ba36805458ab3e4bb62030e94f0fd22b6f1901', 15);
INSERT INTO dumped.ledger_meta VALUES ('schema', '5');
INSERT INTO dumped.ledger_rows VALUES (1, '\xaa134dc3a85a29116d5774a5af1c2f1836efb22a7a257330113dcf44357a747e', 6, 6, '\x626f62', 4070908800000000, true, '\x7b2268616e646c65223a227368613235363a76313a61613133346463336138356132393131366435373734613561663163326631383336656662323261376132353733333031313364636634343335376137343765222c227072696e636970616c223a22626f62222c22637265617465645f6174223a22323032362d31312d32345431323a30303a30305a222c226c6173745f7365656e5f6174223a22323032362d31312d32345431323a30303a30305a222c22657870697265735f6174223a22323039392d30312d30315430303a30303a30305a222c2261747472696275746573223a7b226e756d626572223a357d7d', NULL, NULL, false);
INSERT INTO dumped.ledger_rows VALUES (1, '\xe992d57f772fb407cbdcc9cea6a24bac0609ce6185ff096cb28cb9d60ffc68a1', 8, 2, '\x626f62', 4070908800000000, true, '\x7b2268616e646c65223a227368613235363a76313a65393932643537663737326662343037636264636339636561366132346261633036303963653631383566663039366362323863623964363066666336386131222c227072696e636970616c223a22626f62222c22637265617465645f6174223a22323032362d31312d32345431323a30303a30305a222c226c6173745f7365656e5f6174223a22323032362d31312d32345431323a30353a30305a222c22657870697265735f6174223a22323039392d30312d30315430303a30303a30305a222c2261747472696275746573223a7b227365656e223a22c3a4227d7d', NULL, NULL, false);
INSERT INTO dumped.ledger_rows VALUES (1, '\xe4c59877d1a8e57b4344875c639d036753e69ee42b921cce87b0f6afeb12f3ba', 9, 3, '\x616c696365', 4070908800000000, true, '\x7b2268616e646c65223a227368613235363a76313a65346335393837376431613865353762343334343837356336333964303336373533653639656534326239323163636538376230663661666562313266336261222c227072696e636970616c223a22616c696365222c22637265617465645f6174223a22323032362d31312d32345431323a30303a30305a222c226c6173745f7365656e5f6174223a22323032362d31312d32345431323a30353a30305a222c22657870697265735f6174223a22323039392d30312d30315430303a30303a30305a222c2261747472696275746573223a7b227365656e223a22c3a4227d7d', NULL, NULL, false);
INSERT INTO dumped.ledger_rows VALUES (1, '\x24c0e0a322734797065e13d5cf4de9aabe8899e17f37be9ece6bb0109df79102', 10, 4, '\x626f62', 1795521600000000, false, '\x7b2268616e646c65223a227368613235363a76313a32346330653061333232373334373937303635653133643563663464653961616265383839396531376633376265396563653662623031303964663739313032222c227072696e636970616c223a22626f62222c22637265617465645f6174223a22323032362d31312d32345431323a30303a30305a222c226c6173745f7365656e5f6174223a22323032362d31312d32345431323a30303a30305a222c22657870697265735f6174223a22323032362d31312d32345431323a30303a30305a222c2261747472696275746573223a7b226e756d626572223a337d2c22656e6465645f6174223a22323032362d31312d32345431323a30303a30305a222c226361757365223a227369676e65645f6f7574227d', NULL, NULL, false);
INSERT INTO dumped.ledger_rows VALUES (1, '\x9efb007393a62f7d8d0d43c2542a83aaac99f1b613a7c7ac0058819e5fc24c18', 11, 1, '\x616c696365', 4070908800000000, true, '\x7b2268616e646c65223a227368613235363a76313a39656662303037333933613632663764386430643433633235343261383361616163393966316236313361376337616330303538383139653566633234633138222c227072696e636970616c223a22616c696365222c22637265617465645f6174223a22323032362d31312d32345431323a30303a30305a222c226c6173745f7365656e5f6174223a22323032362d31312d32345431323a30353a30305a222c22657870697265735f6174223a22323039392d30312d30315430303a30303a30305a222c2261747472696275746573223a7b2270617463686564223a747275652c227365656e223a22c3a4227d7d', NULL, NULL, false);
INSERT INTO dumped.ledger_rows VALUES (1, '\x828adc3fc404ba59323f3cce43fdd84544e8247b9115074ce3d6aa7d331fb7b0', 12, 5, '\x616c696365', 1795521600000000, false, '\x7b2268616e646c65223a227368613235363a76313a38323861646333666334303462613539333233663363636534336664643834353434653832343762393131353037346365336436616137643333316662376230222c227072696e636970616c223a22616c696365222c22637265617465645f6174223a22323032362d31312d32345431323a30303a30305a222c226c6173745f7365656e5f6174223a22323032362d31312d32345431323a30303a30305a222c22657870697265735f6174223a22323032362d31312d32345431323a30303a30305a222c2261747472696275746573223a7b226e756d626572223a347d2c22646561646c696e65223a22323032362d31312d32345431323a30303a30305a222c22656e6465645f6174223a22323032362d31312d32345431323a30303a30305a222c22737563636573736f7273223a5b227368613235363a76313a36353131313937636636356466303339343736353739396363326430623637666438643837613066383037393735653236383061316232623731373466336635225d2c226361757365223a22726f7461746564227d', NULL, '\x7368613235363a76313a38323861646333666334303462613539333233663363636534336664643834353434653832343762393131353037346365336436616137643333316662376230', true);
INSERT INTO dumped.ledger_rows VALUES (1, '\x6511197cf65df0394765799cc2d0b67fd8d87a0f807975e2680a1b2b7174f3f5', 13, 13, '\x616c696365', 4070908800000000, true, '\x7b2268616e646c65223a227368613235363a76313a36353131313937636636356466303339343736353739396363326430623637666438643837613066383037393735653236383061316232623731373466336635222c227072696e636970616c223a22616c696365222c22637265617465645f6174223a22323032362d31312d32345431323a30303a30305a222c226c6173745f7365656e5f6174223a22323032362d31312d32345431323a30303a30305a222c22657870697265735f6174223a22323039392d30312d30315430303a30303a30305a222c2261747472696275746573223a7b226e756d626572223a347d2c2266616d696c79223a227368613235363a76313a38323861646333666334303462613539333233663363636534336664643834353434653832343762393131353037346365336436616137643333316662376230222c22726f746174696f6e73223a5b313739353532313630303030303030305d2c2267656e657261746564223a747275657d', NULL, '\x7368613235363a76313a38323861646333666334303462613539333233663363636534336664643834353434653832343762393131353037346365336436616137643333316662376230', false);
INSERT INTO dumped.ledger_rows VALUES (1, '\x906d53f39690b2d75115ecbd88ba36805458ab3e4bb62030e94f0fd22b6f1901', 15, 15, '\x6361726f6c', 4070908800000000, true, '\x7b2268616e646c65223a227368613235363a76313a39303664353366333936393062326437353131356563626438386261333638303534353861623365346262363230333065393466306664323262366631393031222c227072696e636970616c223a226361726f6c222c22637265617465645f6174223a22323032362d31312d32345431323a30303a30305a222c226c6173745f7365656e5f6174223a22323032362d31312d32345431323a30303a30305a222c22657870697265735f6174223a22323039392d30312d30315430303a30303a30305a222c2261747472696275746573223a7b7d7d', NULL, NULL, false);
INSERT INTO dumped.topic_heads OVERRIDING SYSTEM VALUE VALUES ('orchestrator.sessions', 15, 1, 15, 14, 0, NULL, 0);
SELECT pg_catalog.setval('dumped.topic_heads_number_seq', 1, true);
ALTER TABLE ONLY dumped.consumers
    ADD CONSTRAINT consumers_pkey PRIMARY KEY (topic, consumer_id);
ALTER TABLE ONLY dumped.events
    ADD CONSTRAINT events_pkey PRIMARY KEY (topic, event_id);
ALTER TABLE ONLY dumped.ledger_base
    ADD CONSTRAINT ledger_base_pkey PRIMARY KEY (topic, key, generation);
ALTER TABLE ONLY dumped.ledger_links
    ADD CONSTRAINT ledger_links_pkey PRIMARY KEY (topic, key, event_id);
ALTER TABLE ONLY dumped.ledger_meta
    ADD CONSTRAINT ledger_meta_pkey PRIMARY KEY (name);
ALTER TABLE ONLY dumped.ledger_rows
    ADD CONSTRAINT ledger_rows_pkey PRIMARY KEY (topic, key);
ALTER TABLE ONLY dumped.topic_heads
    ADD CONSTRAINT topic_heads_number_key UNIQUE (number);
ALTER TABLE ONLY dumped.topic_heads
    ADD CONSTRAINT topic_heads_pkey PRIMARY KEY (topic);
CREATE INDEX ledger_live_rows_by_group ON dumped.ledger_rows USING btree (topic, group_name, created) WHERE (live AND (group_name IS NOT NULL));
CREATE INDEX ledger_live_rows_by_owner ON dumped.ledger_rows USING btree (topic, owner, created) WHERE live;
CREATE INDEX ledger_rows_by_alias ON dumped.ledger_rows USING btree (topic, alias, created) WHERE (alias IS NOT NULL);
CREATE INDEX ledger_rows_by_expiry ON dumped.ledger_rows USING btree (topic, expires, key) INCLUDE (replaced) WHERE live;
CREATE INDEX ledger_rows_by_owner ON dumped.ledger_rows USING btree (topic, owner, created);
