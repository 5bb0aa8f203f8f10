package embedded

import "github.com/pay-theory/streamer/backend/store"

// A short request needs no row in states before its end. After a crash, running
// requests must be found without reading the whole file. So longer requests get
// their row: requests are checked in blocks, in the order of their acceptance, a
// few blocks behind the newest one.
const (
	unwrittenBlock = 1024 // requests in a block
	unwrittenLag   = 4    // blocks
)

const (
	selectUnwritten = `SELECT r.tenant, r.id FROM requests r
		WHERE r.n >= ? AND r.n < ? AND NOT EXISTS (SELECT 1 FROM states s WHERE s.n = r.n) ORDER BY r.n`
	countUnwritten = `SELECT r.n FROM requests r
		WHERE r.n >= ? AND NOT EXISTS (SELECT 1 FROM states s WHERE s.n = r.n)`
)

// unwrittenRows counts the requests that have no row in states yet. Only the
// writer uses it.
type unwrittenRows struct {
	block int64 // requests in a block
	// writtenBelow is the start of a block. All requests below it have their
	// row, considering only committed transactions.
	writtenBelow int64
	// counts has the number of such requests by block, including those of the
	// running transaction.
	counts map[int64]int
	// recount reports that counts includes a transaction that was rolled back.
	recount bool
}

func newUnwrittenRows(block, next int64) unwrittenRows {
	return unwrittenRows{block: block, writtenBelow: next / block * block, counts: map[int64]int{}}
}

// isBehind reports whether the block at writtenBelow is old enough.
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

// advanceWrittenBelow raises writtenBelow as far as possible: it writes the
// missing rows of the old blocks, and stores the new value in the file. It is
// called at the beginning of a transaction, when everything in counts is
// committed.
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
		// Requests that run long. writtenBelow is raised when this is committed.
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

// writeRows inserts the missing rows of a range of requests, with the lease of
// an incarnation.
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
