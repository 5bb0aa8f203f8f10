package faultstore

import (
	"context"
	"errors"
	"slices"
	"sync"
	"time"

	"github.com/pay-theory/streamer/backend/store"
)

// readShifted reads from a wrong position.
type readShifted struct {
	Roles
	by int
}

func (q readShifted) Read(ctx context.Context, key store.Key, after uint64, limit int) (store.State, []store.Event, error) {
	if after > 0 {
		after += uint64(q.by)
	}
	return q.Roles.Read(ctx, key, after, limit)
}

type readWithoutMarks struct{ Roles }

func (q readWithoutMarks) Read(ctx context.Context, key store.Key, after uint64, limit int) (store.State, []store.Event, error) {
	s, events, err := q.Roles.Read(ctx, key, after, limit)
	return s, slices.DeleteFunc(events, func(e store.Event) bool { return e.Kind == store.Attempt }), err
}

// readOrphans returns segments that no state covers. It implements
// storetest.Orphaner.
type readOrphans struct {
	Roles
	orphans sync.Map // of store.Key to []store.Event
}

func (q *readOrphans) PlantOrphan(key store.Key, _ uint64, g store.Segment) {
	q.orphans.Store(key, g.Events)
}

func (q *readOrphans) Read(ctx context.Context, key store.Key, after uint64, limit int) (store.State, []store.Event, error) {
	s, events, err := q.Roles.Read(ctx, key, after, limit)
	if orphans, ok := q.orphans.Load(key); ok && err == nil && limit > 0 {
		events = append(events, orphans.([]store.Event)...)
	}
	return s, events, err
}

// readExpired keeps the states that it has read.
type readExpired struct {
	Roles
	lastRead sync.Map // of store.Key to store.State
}

func (q *readExpired) Read(ctx context.Context, key store.Key, after uint64, limit int) (store.State, []store.Event, error) {
	s, events, err := q.Roles.Read(ctx, key, after, limit)
	if errors.Is(err, store.ErrNotFound) {
		if old, ok := q.lastRead.Load(key); ok {
			return old.(store.State), nil, nil
		}
	}
	q.lastRead.Store(key, s)
	return s, events, err
}

// listAllTenants ignores the tenant of a query.
type listAllTenants struct {
	Roles
	tenants sync.Map
	// ofSubject: of a query that names a subject, and where the tenant is less.
	ofSubject bool
}

func (q *listAllTenants) Accept(ctx context.Context, n store.Request) (store.Acceptance, error) {
	q.tenants.Store(n.Tenant, true)
	return q.Roles.Accept(ctx, n)
}

func (q *listAllTenants) List(ctx context.Context, query store.Query, cursor string) ([]store.Summary, string, error) {
	page, next, err := q.Roles.List(ctx, query, cursor)
	if next != "" || err != nil || q.ofSubject && query.Subject == "" {
		return page, next, err
	}
	own := query.Tenant
	q.tenants.Range(func(tenant, _ any) bool {
		if query.Tenant = tenant.(string); query.Tenant > own || query.Tenant < own && !q.ofSubject {
			others, _, _ := q.Roles.List(ctx, query, "")
			page = append(page, others...)
		}
		return true
	})
	return page, next, err
}

type listAllSubjects struct{ Roles }

func (q listAllSubjects) List(ctx context.Context, query store.Query, cursor string) ([]store.Summary, string, error) {
	query.Subject = ""
	return q.Roles.List(ctx, query, cursor)
}

// listRepeats begins a page with the last row of the page before.
type listRepeats struct {
	Roles
	last sync.Map // of cursors to store.Summary
}

func (q *listRepeats) List(ctx context.Context, query store.Query, cursor string) ([]store.Summary, string, error) {
	page, next, err := q.Roles.List(ctx, query, cursor)
	if row, ok := q.last.Load(cursor); ok {
		page = slices.Insert(page, 0, row.(store.Summary))
	}
	if next != "" {
		q.last.Store(next, page[len(page)-1])
	}
	return page, next, err
}

type listTakesAnyCursor struct{ Roles }

func (q listTakesAnyCursor) List(ctx context.Context, query store.Query, cursor string) ([]store.Summary, string, error) {
	page, next, err := q.Roles.List(ctx, query, cursor)
	if errors.Is(err, store.ErrCursor) {
		return q.Roles.List(ctx, query, "")
	}
	return page, next, err
}

// dueForgets leaves out some of the hints.
type dueForgets struct {
	Roles
	forgets func(s store.State, h store.Hint) bool
}

func (q dueForgets) Due(ctx context.Context, shard int, until time.Time, limit int) ([]store.Hint, error) {
	hints, err := q.Roles.Due(ctx, shard, until, limit)
	return slices.DeleteFunc(hints, func(h store.Hint) bool { return q.forgets(current(ctx, q.Roles, h.Key), h) }), err
}

func isLater(s store.State, h store.Hint) bool {
	return h.Status == store.Queued && h.Due.After(s.Accepted)
}

func isRunning(_ store.State, h store.Hint) bool {
	return h.Status == store.Running && !isUnsubscribed(store.State{}, h)
}

func isUnsubscribed(_ store.State, h store.Hint) bool { return h.Due.Equal(h.CancelAt) }

type dueTooEarly struct{ Roles }

func (q dueTooEarly) Due(ctx context.Context, shard int, until time.Time, limit int) ([]store.Hint, error) {
	return q.Roles.Due(ctx, shard, until.Add(time.Hour), limit)
}

type expireDeletesNothing struct{ Roles }

func (q expireDeletesNothing) Expire(_ context.Context, limit int) (int, error) { return limit, nil }
