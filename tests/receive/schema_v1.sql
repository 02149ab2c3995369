-- Tables of `edgemon receive --to sqlite:FILE`; docs/receiving.md explains them with queries.
-- Times are wall-clock nanoseconds since 1970. JSON columns hold valid JSON.

CREATE TABLE batches (
    id             INTEGER PRIMARY KEY,
    device         TEXT    NOT NULL,
    stream_id      TEXT    NOT NULL,   -- 32 hex: the spool that numbered the batch
    kind           TEXT    NOT NULL,   -- event | agg | sys | pred
    seq            INTEGER NOT NULL,
    fleet          TEXT    NOT NULL,
    boot           TEXT    NOT NULL,   -- 32 hex
    wall_ns        INTEGER NOT NULL,   -- the two clocks of the device at one instant
    mono_ns        INTEGER NOT NULL,
    clock_error_ms REAL,               -- NULL: the device's clock was not synchronised
    dropped        INTEGER NOT NULL,   -- rows of this kind that the device lost since the batch before
    rows           INTEGER NOT NULL,
    frame_bytes    INTEGER NOT NULL,   -- size on the wire, without the transport's headers
    received_ns    INTEGER NOT NULL,   -- the receiver's clock
    resource       TEXT    NOT NULL,   -- JSON: agent version, config hash, …
    skipped        TEXT,               -- JSON list: columns of an encoding that this version cannot read
    UNIQUE (device, stream_id, kind, seq)
);

-- Rows carry (batch, row): a row that is here twice is impossible. WITHOUT ROWID only where rows are small:
-- on rows of a kilobyte it doubled the file.

CREATE TABLE predictions (
    batch         INTEGER NOT NULL REFERENCES batches (id) ON DELETE CASCADE,
    row           INTEGER NOT NULL,
    time_ns       INTEGER NOT NULL,    -- when the agent took it
    model         TEXT    NOT NULL,
    version       TEXT    NOT NULL,
    prediction_id TEXT,
    app_time_ns   INTEGER,             -- the application's own clock
    output_number REAL,
    output_text   TEXT,
    output_vector TEXT,                -- JSON list
    latency_s     REAL,
    weight        REAL,                -- 1 / probability that this row was sampled
    features      TEXT,                -- JSON object
    extra         TEXT,                -- JSON object: columns that this version does not know
    PRIMARY KEY (batch, row)
);

CREATE TABLE labels (
    batch         INTEGER NOT NULL REFERENCES batches (id) ON DELETE CASCADE,
    row           INTEGER NOT NULL,
    time_ns       INTEGER NOT NULL,
    model         TEXT    NOT NULL,
    version       TEXT    NOT NULL,
    prediction_id TEXT,
    app_time_ns   INTEGER,
    label_number  REAL,
    label_text    TEXT,
    extra         TEXT,
    PRIMARY KEY (batch, row)
);
CREATE INDEX labels_by_prediction ON labels (model, prediction_id);

CREATE TABLE windows (
    batch        INTEGER NOT NULL REFERENCES batches (id) ON DELETE CASCADE,
    row          INTEGER NOT NULL,
    start_ns     INTEGER,
    end_ns       INTEGER NOT NULL,
    model        TEXT    NOT NULL,
    version      TEXT    NOT NULL,
    stream       TEXT    NOT NULL,     -- "" the model itself, "output", "latency", "f:<feature>"
    n            INTEGER,              -- finite values
    missing      INTEGER,
    nan          INTEGER,
    pinf         INTEGER,
    ninf         INTEGER,
    wrong_type   INTEGER,
    mean         REAL,
    m2           REAL,                 -- sum of squared deviations: variance = m2 / (n - 1)
    min          REAL,
    max          REAL,
    p50          REAL,                 -- from the sketch, 1 % relative error
    p95          REAL,
    p99          REAL,
    sketch       BLOB,                 -- mergeable: edgemon._core.sketch
    profile      TEXT    NOT NULL,     -- hash of the profile that hist and d compare with, "" none
    hist         TEXT,                 -- JSON list: counts against the profile's quantile bins
    d            REAL,                 -- Kolmogorov-Smirnov distance at the window's end
    ks_n         INTEGER,
    ks_h         INTEGER,
    ks_threshold INTEGER,
    drifted      INTEGER,              -- 0 | 1
    categories   TEXT,                 -- JSON object: category -> count
    extra        TEXT,
    PRIMARY KEY (batch, row)
);
CREATE INDEX windows_by_stream ON windows (model, stream, end_ns);

CREATE TABLE samples (
    batch   INTEGER NOT NULL REFERENCES batches (id) ON DELETE CASCADE,
    row     INTEGER NOT NULL,
    time_ns INTEGER NOT NULL,
    name    TEXT    NOT NULL,          -- e.g. cpu_percent
    value   REAL,
    step    INTEGER,
    extra   TEXT,
    PRIMARY KEY (batch, row, name)
) WITHOUT ROWID;

CREATE TABLE events (
    batch    INTEGER NOT NULL REFERENCES batches (id) ON DELETE CASCADE,
    row      INTEGER NOT NULL,
    time_ns  INTEGER NOT NULL,
    type     TEXT    NOT NULL,         -- e.g. drift.started
    severity TEXT    NOT NULL,         -- info | warning | alarm
    model    TEXT    NOT NULL,
    version  TEXT    NOT NULL,
    stream   TEXT    NOT NULL,
    message  TEXT    NOT NULL,
    data     TEXT,                     -- JSON
    extra    TEXT,
    PRIMARY KEY (batch, row)
);
CREATE INDEX events_by_type ON events (type, time_ns);

-- What the retained state topic says. A will of an older birth never undoes a newer birth.
CREATE TABLE devices (
    fleet        TEXT    NOT NULL,
    device       TEXT    NOT NULL,
    online       INTEGER,              -- 0 | 1, NULL: only batches were seen
    birth        INTEGER,
    stream_id    TEXT,                 -- of its spool, when it was last online
    since_ns     INTEGER,              -- when it became what it is
    last_seen_ns INTEGER,              -- when the receiver last stored a batch or a state
    state        TEXT,                 -- JSON, as published
    PRIMARY KEY (fleet, device)
) WITHOUT ROWID;

-- Numbers that a device says will never come, with its reason.
CREATE VIEW reported_gaps AS
SELECT
    b.device,
    json_extract(e.data, '$.stream')   AS stream_id,
    json_extract(e.data, '$.kind')     AS kind,
    json_extract(e.data, '$.from_seq') AS from_seq,
    json_extract(e.data, '$.to_seq')   AS to_seq,
    json_extract(e.data, '$.reason')   AS reason,
    json_extract(e.data, '$.rows')     AS rows,
    e.time_ns
FROM events AS e
JOIN batches AS b ON b.id = e.batch
WHERE e.type = 'gap'
  AND json_type(e.data, '$.from_seq') = 'integer'
  AND json_type(e.data, '$.to_seq') = 'integer';

-- Numbers that are neither here nor reported: on their way, or lost.
CREATE VIEW gaps AS
WITH covered AS (
    SELECT device, stream_id, kind, seq AS from_seq, seq AS to_seq FROM batches
    UNION ALL
    SELECT device, stream_id, kind, from_seq, to_seq FROM reported_gaps
),
edges AS (
    SELECT
        device, stream_id, kind, from_seq,
        COALESCE(
            MAX(to_seq) OVER (
                PARTITION BY device, stream_id, kind ORDER BY from_seq, to_seq
                ROWS BETWEEN UNBOUNDED PRECEDING AND 1 PRECEDING
            ), 0
        ) AS reached
    FROM covered
)
SELECT
    device, stream_id, kind,
    reached + 1            AS from_seq,
    from_seq - 1           AS to_seq,
    from_seq - 1 - reached AS batches
FROM edges
WHERE from_seq > reached + 1;
