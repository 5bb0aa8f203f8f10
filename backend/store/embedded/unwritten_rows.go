package embedded

import "github.com/pay-theory/streamer/backend/store"

// A short life needs no row in states before its end. So that all which were
// running are found when the file is opened again, without reading it all,
// what lives longer gets its row after all: requests are looked at in blocks,
// in the order of their acceptance, some blocks behind the newest one.
const (
	unwrittenBlock = 1024 // requests of a block
	unwrittenLag   = 4    // blocks
)

const (
	selectUnwritten = `SELECT r.tenant, r.id FROM requests r
		WHERE r.n >= ? AND r.n < ? AND NOT EXISTS (SELECT 1 FROM states s WHERE s.n = r.n) ORDER BY r.n`
	countUnwritten = `SELECT r.n FROM requests r
		WHERE r.n >= ? AND NOT EXISTS (SELECT 1 FROM states s WHERE s.n = r.n)`
)

// unwrittenRows counts the requests that have no row in states yet. It belongs to the
// writer.
type unwrittenRows struct {
	block int64 // how many requests make one
	// writtenBelow is the start of a block. All requests below it have their row: that
	// is said only of what is committed.
	writtenBelow int64
	// counts counts by block, the ones of the running transaction included.
	counts map[int64]int
	// recount tells that a transaction was rolled back which open includes.
	recount bool
}

func newUnwrittenRows(block, next int64) unwrittenRows {
	return unwrittenRows{block: block, writtenBelow: next / block * block, counts: map[int64]int{}}
}

// isBehind tells whether the block behind the mark is old enough.
func (b *unwrittenRows) isBehind(next int64) bool {
	return b.writtenBelow+(1+unwrittenLag)*b.block <= next
}

func (b *unwrittenRows) accepted(n int64) { b.counts[n/b.block]++ }

func (b *unwrittenRows) written(n int64) {
	block := n / b.block
	if b.counts[block]--; b.counts[block] <= 0 {
		delete(b.counts, block)
	}
}

// advanceWrittenBelow moves the mark on as far as it may: it writes the rows that are still
// missing below, and notes the mark in the file. It is called at the beginning
// of a transaction, where all that open counts is committed.
func (w *writer) advanceWrittenBelow() error {
	b := &w.unwrittenRows
	if b.recount {
		clear(b.counts)
		bindTo(w.countUnwritten).int(b.writtenBelow)
		err := eachRow(w.countUnwritten, func(r *row) (bool, error) {
			b.accepted(r.int())
			return true, nil
		})
		if err != nil {
			return err
		}
		b.recount = false
	}
	from := b.writtenBelow
	for b.isBehind(w.next) && b.counts[b.writtenBelow/b.block] == 0 {
		b.writtenBelow += b.block
	}
	if b.isBehind(w.next) {
		// Those that live long. The mark moves when that is committed.
		if err := w.writeRows(b.writtenBelow, b.writtenBelow+b.block, w.store.incarnation); err != nil {
			return err
		}
	}
	if b.writtenBelow == from {
		return nil
	}
	bindTo(w.setWrittenBelow).int(b.writtenBelow)
	return w.execWrite(w.setWrittenBelow)
}

// writeRows gives the requests of a range the rows that they lack, under the
// lease of an incarnation.
func (w *writer) writeRows(from, to, lease int64) error {
	var keys []store.Key
	bindTo(w.selectUnwritten).int(from).int(to)
	err := eachRow(w.selectUnwritten, func(r *row) (bool, error) {
		keys = append(keys, store.Key{Tenant: r.text(), ID: r.text()})
		return true, nil
	})
	for _, k := range keys {
		if err == nil {
			err = w.writeRow(k, lease)
		}
	}
	return err
}

func (w *writer) writeRow(k store.Key, lease int64) error {
	e := w.cache[k]
	if e == nil {
		var err error
		if e, err = w.lookUp(k); err != nil {
			return err
		}
	}
	if e == nil || !e.unwritten {
		return asFailure(errStep)
	}
	return w.change(change{from: e, to: e.state, lease: lease, input: e.input})
}
