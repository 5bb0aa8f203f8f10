-- Version 1. Times are milliseconds since 1970-01-01 UTC. Every key starts
-- with the tenant. What a request may be selected by is indexed here, partly
-- where most rows have no such thing.

CREATE TABLE meta (
	name  TEXT PRIMARY KEY,
	value INTEGER NOT NULL
) STRICT, WITHOUT ROWID;

-- incarnation counts how often the file was opened: a lease is the incarnation
-- that took it.
INSERT INTO meta VALUES ('incarnation', 0);

CREATE TABLE requests (
	tenant          TEXT NOT NULL,
	id              TEXT NOT NULL,
	subject         TEXT NOT NULL,
	action          TEXT NOT NULL,
	hash            BLOB NOT NULL,
	accepted        INTEGER NOT NULL,
	deadline        INTEGER,
	retry_of        TEXT,
	cancel_after    INTEGER,            -- nanoseconds
	connection      TEXT,
	idempotency_key TEXT,
	shard           INTEGER NOT NULL,

	status   INTEGER NOT NULL,          -- 1 queued, 2 running, 3 succeeded, 4 failed, 5 cancelled
	due      INTEGER,                   -- 9223372036854775807 while its owner lives; NULL after the end
	ended    INTEGER,
	dead     INTEGER NOT NULL,
	fence    INTEGER NOT NULL,
	lease    INTEGER NOT NULL,
	attempt  INTEGER NOT NULL,
	failures INTEGER NOT NULL,
	deaths   INTEGER NOT NULL,
	last_seq INTEGER NOT NULL,
	keep     INTEGER NOT NULL,
	code     TEXT,
	cancel_requested INTEGER NOT NULL,

	mark_seq  INTEGER,                  -- the mark of the running attempt; NULL during the first
	mark_keep INTEGER,
	mark_from INTEGER,
	mark_code TEXT,

	progress_attempt INTEGER,
	progress_rev     INTEGER,
	progress_percent REAL,
	progress_message TEXT,

	PRIMARY KEY (tenant, id)
) STRICT, WITHOUT ROWID;

CREATE INDEX requests_by_subject ON requests (tenant, subject, accepted, id);
CREATE INDEX requests_by_tenant ON requests (tenant, accepted, id);
CREATE INDEX requests_due ON requests (shard, due) WHERE due IS NOT NULL;
CREATE INDEX requests_ended ON requests (ended) WHERE ended IS NOT NULL;
CREATE INDEX requests_dead ON requests (ended, tenant, id) WHERE dead;
CREATE INDEX requests_abandonable ON requests (tenant, id) WHERE cancel_after IS NOT NULL AND ended IS NULL;

CREATE TABLE bodies (
	tenant    TEXT NOT NULL,
	id        TEXT NOT NULL,
	kind      INTEGER NOT NULL,         -- 1 input, 2 checkpoint, 3 end
	data      BLOB,
	metadata  BLOB,                     -- an input's
	message   TEXT,                     -- an end's
	retryable INTEGER,                  -- an end's
	PRIMARY KEY (tenant, id, kind)
) STRICT, WITHOUT ROWID;

-- Segments are written together with the state that makes them true, so there
-- are no orphans, and last rises from each to the next.
CREATE TABLE segments (
	tenant TEXT NOT NULL,
	id     TEXT NOT NULL,
	last   INTEGER NOT NULL,
	first  INTEGER NOT NULL,
	fence  INTEGER NOT NULL,
	mark   INTEGER,                     -- the seq of the mark that it begins with
	events BLOB NOT NULL,
	PRIMARY KEY (tenant, id, last)
) STRICT, WITHOUT ROWID;

CREATE INDEX segments_marks ON segments (tenant, id, first, last, mark) WHERE mark IS NOT NULL;

CREATE TABLE idempotency_keys (
	tenant  TEXT NOT NULL,
	subject TEXT NOT NULL,
	action  TEXT NOT NULL,
	key     TEXT NOT NULL,
	id      TEXT NOT NULL,
	PRIMARY KEY (tenant, subject, action, key)
) STRICT, WITHOUT ROWID;

-- Cancels of ids that were not seen yet.
CREATE TABLE cancels (
	tenant  TEXT NOT NULL,
	subject TEXT NOT NULL,
	id      TEXT NOT NULL,
	until   INTEGER NOT NULL,
	PRIMARY KEY (tenant, subject, id)
) STRICT, WITHOUT ROWID;

CREATE INDEX cancels_until ON cancels (until);
