-- Version 1. Times are milliseconds since 1970-01-01 UTC. Indexes are partial
-- where most rows have no value.
--
-- A short request writes two rows, one when it is accepted and one when it ends,
-- each at the end of its table. docs/decisions/0008 has the measurements.

CREATE TABLE meta (
	name  TEXT PRIMARY KEY,
	value INTEGER NOT NULL
) STRICT, WITHOUT ROWID;

-- incarnation counts how often the file was opened: a lease is the incarnation
-- that granted it. All requests whose n is less than written_below have a row in
-- states.
INSERT INTO meta VALUES ('incarnation', 0), ('written_below', 0), ('checkpoints', 0);

-- The data of a request that is known when it is accepted. Rows never change.
CREATE TABLE requests (
	n               INTEGER PRIMARY KEY, -- counts acceptances
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
	input           BLOB,
	metadata        BLOB
) STRICT;

CREATE UNIQUE INDEX requests_by_id ON requests (tenant, id);
CREATE INDEX requests_by_subject ON requests (tenant, subject, accepted, id);
CREATE INDEX requests_by_tenant ON requests (tenant, accepted, id);

-- The state of a request, and its end. A request without a row here was claimed by
-- this incarnation when it was accepted, and has not changed since.
CREATE TABLE states (
	n        INTEGER PRIMARY KEY,
	status   INTEGER NOT NULL,          -- 1 queued, 2 running, 3 succeeded, 4 failed, 5 cancelled
	shard    INTEGER NOT NULL,
	due      INTEGER,                   -- State.CheckAt; any time while it runs and CheckAt is zero; NULL after the end
	run_at   INTEGER,                   -- State.Due where it differs from due
	ended    INTEGER,
	dead_letter INTEGER NOT NULL,
	fence    INTEGER NOT NULL,
	lease    INTEGER NOT NULL,
	attempt  INTEGER NOT NULL,
	failures INTEGER NOT NULL,
	crash_count INTEGER NOT NULL,
	last_seq INTEGER NOT NULL,
	keep     INTEGER NOT NULL,
	code     TEXT,
	cancel_requested INTEGER NOT NULL,
	unsubscribed_at  INTEGER,           -- State.UnsubscribedAt
	watch            INTEGER,           -- NULL: 0
	connection_left  INTEGER,           -- 1: State.Connection is empty

	mark_seq  INTEGER,                  -- the mark of the running attempt; NULL during the first
	mark_keep INTEGER,
	mark_from INTEGER,
	mark_code TEXT,

	progress_attempt INTEGER,
	progress_rev     INTEGER,
	progress_percent REAL,
	progress_message TEXT,

	message   TEXT,                     -- these three belong to the end
	retryable INTEGER,
	payload   BLOB
) STRICT;

-- All requests that have not ended. Running ones are found here on opening.
CREATE INDEX states_due ON states (shard, due) WHERE due IS NOT NULL;
CREATE INDEX states_dead_letters ON states (ended) WHERE dead_letter;

CREATE TABLE checkpoints (
	n    INTEGER PRIMARY KEY,
	data BLOB NOT NULL
) STRICT;

-- Segments are written together with the state that covers them, so there are no
-- orphans, and last increases from each to the next.
CREATE TABLE segments (
	n      INTEGER NOT NULL,
	last   INTEGER NOT NULL,
	first  INTEGER NOT NULL,
	fence  INTEGER NOT NULL,
	mark   INTEGER,                     -- the seq of the mark that it begins with
	events BLOB NOT NULL,
	PRIMARY KEY (n, last)
) STRICT, WITHOUT ROWID;

CREATE INDEX segments_marks ON segments (n, first, last, mark) WHERE mark IS NOT NULL;

CREATE TABLE idempotency_keys (
	tenant  TEXT NOT NULL,
	subject TEXT NOT NULL,
	action  TEXT NOT NULL,
	key     TEXT NOT NULL,
	id      TEXT NOT NULL,
	PRIMARY KEY (tenant, subject, action, key)
) STRICT, WITHOUT ROWID;

-- Retained cancels of unknown ids.
CREATE TABLE cancels (
	tenant  TEXT NOT NULL,
	subject TEXT NOT NULL,
	id      TEXT NOT NULL,
	until   INTEGER NOT NULL,
	PRIMARY KEY (tenant, subject, id)
) STRICT, WITHOUT ROWID;

CREATE INDEX cancels_until ON cancels (until);
