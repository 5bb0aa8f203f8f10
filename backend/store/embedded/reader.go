package embedded

import (
	"context"
	"fmt"

	"github.com/pay-theory/streamer/backend/store"
	"zombiezen.com/go/sqlite"
)

// reader is a connection that only reads. It serves one page at a time; its
// transactions end with the page.
type reader struct {
	store *Store
	conn  *sqlite.Conn

	begin, end *sqlite.Stmt

	selectRequest, selectInput, selectEnd *sqlite.Stmt
	selectMark, selectCut, selectAfter    *sqlite.Stmt
	listTenant, listSubject               *sqlite.Stmt
	listDeadLetters, listDue, listOldest  *sqlite.Stmt
}

// Of all segments that cover a position, the one written last counts. Segments
// overlap only where a mark discards others, and the From of marks never
// decreases. So it is the segment that begins with the last mark whose From is
// not after the position, if that mark's own seq is not before it; else the first
// segment that ends at the position or after it.
const (
	selectMark = `SELECT mark, events FROM segments WHERE n = ? AND mark IS NOT NULL AND first <= ?
		ORDER BY first DESC, last DESC LIMIT 1`
	selectCut = `SELECT first FROM segments WHERE n = ? AND mark IS NOT NULL AND first > ?
		ORDER BY first LIMIT 1`
	selectAfter = `SELECT events FROM segments WHERE n = ? AND last >= ? ORDER BY last`
)

func newReader(s *Store) (*reader, error) {
	conn, err := connect(s.path, sqlite.OpenReadWrite)
	if err != nil {
		return nil, err
	}
	conn.SetBusyTimeout(busyTimeout)
	r := &reader{store: s, conn: conn}
	err = configure(conn, "-4096")
	if err == nil {
		err = execute(conn, "PRAGMA query_only = ON")
	}
	if err == nil {
		err = prepareAll(conn, map[string]**sqlite.Stmt{
			"BEGIN": &r.begin, "COMMIT": &r.end,
			selectRequest: &r.selectRequest, selectInput: &r.selectInput, selectEnd: &r.selectEnd,
			selectMark: &r.selectMark, selectCut: &r.selectCut, selectAfter: &r.selectAfter,
			listTenant: &r.listTenant, listSubject: &r.listSubject,
			listDeadLetters: &r.listDeadLetters, listDue: &r.listDue, listOldest: &r.listOldest,
		})
	}
	if err != nil {
		_ = conn.Close()
		return nil, err
	}
	return r, nil
}

// withReader calls f with a reader, in a transaction.
func (s *Store) withReader(ctx context.Context, f func(r *reader) error) error {
	if s.closed() {
		return store.ErrClosed
	}
	var r *reader
	select {
	case r = <-s.readers:
	case <-ctx.Done():
		return ctx.Err()
	case <-s.quit:
		return store.ErrClosed
	}
	defer func() { s.readers <- r }()
	if err := runStatement(r.begin); err != nil {
		return err
	}
	err := f(r)
	if e := runStatement(r.end); err == nil {
		err = e
	}
	return err
}

func (r *reader) checkReadable() error {
	_, err := pragma(r.conn, "SELECT value FROM meta")
	return asFailure(err)
}

// findRequest returns a request, and store.ErrNotFound if there is none or it has
// expired.
func (r *reader) findRequest(k store.Key) (e *entry, err error) {
	bindTo(r.selectRequest).text(k.Tenant).text(k.ID)
	found, err := firstRow(r.selectRequest, func(row *row) { e = row.entry(r.store.incarnation) })
	if err == nil && (!found || e.state.Expired(r.store.opt.Now(), r.store.opt.Retention)) {
		err = store.ErrNotFound
	}
	return e, err
}

// Read implements store.RequestQueue.
func (s *Store) Read(ctx context.Context, key store.Key, after uint64, max int) (store.State, []store.Event, error) {
	var state store.State
	page := store.NewEventPage(max)
	err := s.withReader(ctx, func(r *reader) error {
		e, err := r.findRequest(key)
		if err != nil {
			return err
		}
		state = e.state
		if max <= 0 {
			return nil
		}
		return r.events(e, after, page)
	})
	if err != nil {
		return store.State{}, nil, err
	}
	return state, page.Events, nil
}

// events fills a page with the events after position p.
func (r *reader) events(e *entry, p uint64, page *store.EventPage) error {
	s := &e.state
	if p == 0 {
		page.Add(store.Event{Kind: store.Ack, Seq: 1})
		p = 1
	}
	last := s.LastSeq
	if s.Status.Ended() {
		last--
	}
	for p < last {
		next, full, err := r.stretch(e, p, last, page)
		if err != nil || full {
			return err
		}
		if next == p {
			return asFailure(fmt.Errorf("%w: no segment of request %s holds seq %d", ErrCorrupt, s.ID, p+1))
		}
		p = next
	}
	if !s.Status.Ended() || p >= s.LastSeq {
		return nil
	}
	end, err := readEnd(r.selectEnd, e.n, s)
	if err == nil && end == nil {
		err = asFailure(fmt.Errorf("%w: request %s ended without a stored end", ErrCorrupt, s.ID))
	}
	if err == nil {
		page.Add(end.Event(s.LastSeq))
	}
	return err
}

// stretch adds the events after p up to the next mark, or that mark, and
// returns the new position. Full reports that the page is full.
func (r *reader) stretch(e *entry, p, last uint64, page *store.EventPage) (next uint64, full bool, err error) {
	if m := e.state.AttemptMark; m != nil {
		switch {
		case m.From <= p+1 && p+1 <= m.Seq:
			return m.Seq, !page.Add(m.Event()), nil
		case m.From > p+1:
			last = min(last, m.From-1)
		}
	}
	mark, err := r.markAt(e.n, p+1)
	if err != nil {
		return p, false, err
	}
	if mark != nil {
		return mark.Seq, !page.Add(*mark), nil
	}
	bindTo(r.selectCut).int(e.n).int(int64(p + 1))
	if _, err := firstRow(r.selectCut, func(row *row) { last = min(last, uint64(row.int())-1) }); err != nil {
		return p, false, err
	}
	bindTo(r.selectAfter).int(e.n).int(int64(p + 1))
	err = eachRow(r.selectAfter, func(row *row) (bool, error) {
		events, err := store.DecodeEvents(row.bytes())
		for i := range events {
			e := events[i]
			switch {
			case e.Seq <= p:
				continue
			case e.Seq > last || e.First() != p+1:
				return false, err
			case !page.Add(e):
				full = true
				return false, err
			}
			p = e.Seq
		}
		return p < last, err
	})
	return p, full, err
}

// markAt returns the last mark in a segment whose From is not after seq, if
// that mark itself is not before seq; else nil.
func (r *reader) markAt(n int64, seq uint64) (mark *store.Event, err error) {
	bindTo(r.selectMark).int(n).int(int64(seq))
	err = eachRow(r.selectMark, func(row *row) (bool, error) {
		if uint64(row.int()) < seq {
			return false, nil
		}
		events, err := store.DecodeEvents(row.bytes())
		if err == nil && len(events) > 0 {
			mark = &events[0]
		}
		return false, err
	})
	return mark, err
}
