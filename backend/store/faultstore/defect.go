package faultstore

import (
	"context"
	"time"

	"github.com/pay-theory/streamer/backend/store"
)

// Defect is a way in which a store breaks one rule.
type Defect struct {
	// Name describes the defect.
	Name string
	// Invariant is the number of the engine's invariant that depends on the
	// rule, from 1 to 14.
	Invariant int
	// Case is the name of the case of package storetest that fails.
	Case string
	// Wrap returns a store with the defect that wraps one without.
	Wrap func(Roles) Roles
}

// Defects returns all defects, ordered by operation.
func Defects() []Defect {
	return append(writeDefects(), readDefects()...)
}

func writeDefects() []Defect {
	return []Defect{
		{"Accept stores nothing", 1, "Accept/a fresh request is queued and due", func(s Roles) Roles { return acceptStoresNothing{s} }},
		{"Accept loses the metadata", 1, "Accept/bodies are kept byte for byte", func(s Roles) Roles { return acceptLosesMetadata{s} }},
		{"Accept changes the bytes of the input", 1, "Accept/bodies are kept byte for byte", func(s Roles) Roles { return acceptCompactsInput{s} }},
		{"Accept returns a known id as a fresh one", 4, "Accept/the same id again is the same call", func(s Roles) Roles { return acceptRepeats{s} }},
		{"Accept overlooks that a known id has another payload", 4, "Accept/the same id for another call is a conflict", func(s Roles) Roles { return acceptOverlooksConflict{s} }},
		{"Accept overlooks that an idempotency key has another payload", 4, "Accept/an idempotency key stands for its first request", func(s Roles) Roles { return acceptOverlooksKeyConflict{s} }},
		{"Accept stores an unknown id though only known ones are asked for", 4, "Accept/an unknown id is refused when only known ones are asked for", func(s Roles) Roles { return acceptIgnoresKnownOnly{s} }},
		{"Accept shares idempotency keys among the subjects of a tenant", 5, "Isolation/idempotency keys belong to a subject and an action", func(s Roles) Roles { return &acceptSharesKeys{Roles: s} }},
		{"Accept applies a remembered cancel of another subject", 5, "Cancel/a remembered cancel belongs to its tenant and subject", func(s Roles) Roles { return &cancelsWithoutSubject{Roles: s} }},
		{"Claim takes a request whose lease holds", 2, "Claim/a leased request is refused", func(s Roles) Roles { return claimIgnores{s, store.ErrLeased} }},
		{"Claim takes a request that is not due", 12, "Claim/a request that is not due is refused", func(s Roles) Roles { return claimIgnores{s, store.ErrNotDue} }},
		{"Claim takes a request that has ended", 3, "Claim/an ended request is refused with its state", func(s Roles) Roles { return claimIgnores{s, store.ErrEnded} }},
		{"Claim does not count a crash", 7, "Claim/an expired lease is taken over, and a crash is counted", func(s Roles) Roles { return claimCountsNoCrash{s} }},
		{"Claim ignores the quarantine", 7, "Claim/a quarantined request needs a quarantine claim", func(s Roles) Roles { return claimIgnoresQuarantine{s} }},
		{"Record does not compare the fence", 2, "Record/only the newest fence records, and only while running",
			changeReport(func(now store.State, f *store.Fence, _ *store.Report) { f.Fence = now.Fence })},
		{"Record returns before it stored anything", 14, "Record/chunks follow one another", func(s Roles) Roles { return recordStoresNothing{s} }},
		{"Record takes a segment that leaves a gap", 14, "Record/gaps and overlaps are refused", changeReport(closeGap)},
		{"Record does not recognise a repetition", 14, "Record/a repeated record is recognised", func(s Roles) Roles { return recordFencesRepetition{s} }},
		{"Record loses the checkpoint", 14, "Record/a checkpoint is stored with its chunks, and the next attempt gets it", changeReport(loseCheckpoint)},
		{"Record stores a checkpoint and does not move Keep", 14, "Record/a checkpoint is stored with its chunks, and the next attempt gets it",
			changeReport(func(now store.State, _ *store.Fence, r *store.Report) { r.CheckpointKeep = now.Keep })},
		{"Record does not reset the crash count", 7, "Record/the crash count is reset by chunks and checkpoints, not by progress", func(s Roles) Roles { return recordResetsNoCrash{s} }},
		{"Record does not renew the lease", 2, "Due/a record renews the lease",
			changeReport(func(_ store.State, f *store.Fence, _ *store.Report) { f.Lease = time.Nanosecond })},
		{"Finish returns before it stored the end", 3, "Finish/a result is the end", func(s Roles) Roles { return finishStoresNothing{s} }},
		{"Finish does not compare the fence", 2, "Finish/only the newest fence finishes", func(s Roles) Roles { return finishIgnoresFence{s} }},
		{"Finish takes a second end", 3, "Finish/the first end wins", func(s Roles) Roles { return finishTakesSecondEnd{s} }},
		{"Finish loses the report that comes with the end", 8, "Finish/the last report is stored with the end", func(s Roles) Roles { return finishLosesReport{s} }},
		{"Finish queues a request with a cancel flag again", 6, "Finish/a request with a cancel flag ends instead of going back to the queue", func(s Roles) Roles { return finishIgnoresCancel{s} }},
		{"Cancel ends the call of another subject", 5, "Cancel/a request of another subject is not found", func(s Roles) Roles { return cancelIgnoresSubject{s} }},
		{"Cancel of an unknown id is not remembered", 6, "Cancel/a cancel that comes before its request ends it", func(s Roles) Roles { return cancelIsForgotten{s} }},
		{"Cancel of a running call is not stored", 6, "Cancel/a running request is flagged", func(s Roles) Roles { return cancelSetsNoFlag{s} }},
		{"Cancel ends a call that has ended", 3, "Cancel/an ended request stays as it is", func(s Roles) Roles { return cancelReplacesEnd{s} }},
		{"Watch returns before it stored anything", 6, "Watch/the time starts when the last connection leaves, once", func(s Roles) Roles { return watchStoresNothing{s} }},
		{"CancelUnsubscribed does not compare the revision", 6, "Watch/a cancel with another revision changes nothing", func(s Roles) Roles { return cancelIgnoresRevision{s} }},
	}
}

func readDefects() []Defect {
	return []Defect{
		{"Read skips an event behind a position", 14, "Read/pages of every size add up to the stream", func(s Roles) Roles { return readShifted{s, +1} }},
		{"Read repeats the event at a position", 14, "Read/pages of every size add up to the stream", func(s Roles) Roles { return readShifted{s, -1} }},
		{"Read leaves out attempt marks", 14, "Read/marks over many attempts", func(s Roles) Roles { return readWithoutMarks{s} }},
		{"Read shows orphaned segments", 14, "Record/orphaned segments are not read", func(s Roles) Roles { return &readOrphans{Roles: s} }},
		{"Read returns what has expired", 4, "Read/an expired request is not found from that instant", func(s Roles) Roles { return &readExpired{Roles: s} }},
		{"List shows rows of another tenant", 5, "Isolation/tenants and ids are kept apart", func(s Roles) Roles { return &listAllTenants{Roles: s} }},
		{"List shows a subject rows of later tenants", 5, "Isolation/lists of a subject stay within a tenant", func(s Roles) Roles { return &listAllTenants{Roles: s, ofSubject: true} }},
		{"List shows rows of another subject", 5, "List/filters", func(s Roles) Roles { return listAllSubjects{s} }},
		{"List repeats a row on the next page", 5, "List/newest first, in pages", func(s Roles) Roles { return &listRepeats{Roles: s} }},
		{"List takes a cursor of another filter", 5, "List/cursors belong to their filter", func(s Roles) Roles { return listTakesAnyCursor{s} }},
		{"Due forgets requests that are due later", 12, "Due/queued requests are due in their shard, earliest first", func(s Roles) Roles { return dueForgets{s, isLater} }},
		{"Due forgets calls of workers that were lost", 12, "Due/a running request is due when its lease is void", func(s Roles) Roles { return dueForgets{s, isRunning} }},
		{"Due forgets calls that no connection follows", 12, "Watch/a request that is to be cancelled is due, in order", func(s Roles) Roles { return dueForgets{s, isUnsubscribed} }},
		{"Due returns requests before their time", 12, "Due/a retry moves when a request is due", func(s Roles) Roles { return dueTooEarly{s} }},
		{"Expire deletes nothing and says that it did", 9, "Roles/Retainer deletes expired requests", func(s Roles) Roles { return expireDeletesNothing{s} }},
	}
}

// current returns the state of a request, zero if there is none.
func current(ctx context.Context, q store.RequestQueue, key store.Key) store.State {
	s, _, _ := q.Read(ctx, key, 0, 0)
	return s
}
