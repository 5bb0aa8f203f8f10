package embedded

import "github.com/pay-theory/streamer/backend/store"

// A short life needs no row in lives before its end. So that all which were
// running are found when the file is opened again, without reading it all,
// what lives longer gets its row after all: requests are looked at in blocks,
// in the order of their acceptance, some blocks behind the newest one.
const (
	birthBlock = 1024 // requests of a block
	birthLag   = 4    // blocks
)

const (
	selectUnwritten = `SELECT r.tenant, r.id FROM requests r
		WHERE r.n >= ? AND r.n < ? AND NOT EXISTS (SELECT 1 FROM lives l WHERE l.n = r.n) ORDER BY r.n`
	countUnwritten = `SELECT r.n FROM requests r
		WHERE r.n >= ? AND NOT EXISTS (SELECT 1 FROM lives l WHERE l.n = r.n)`
)

// births counts the requests that have no row in lives yet. It belongs to the
// writer.
type births struct {
	block int64 // how many requests make one
	// mark is the start of a block. All requests below it have their row: that
	// is said only of what is committed.
	mark int64
	// open counts by block, the ones of the running transaction included.
	open map[int64]int
	// unsure tells that a transaction was rolled back which open includes.
	unsure bool
}

func newBirths(block, next int64) births {
	return births{block: block, mark: next / block * block, open: map[int64]int{}}
}

// lags tells whether the block behind the mark is old enough.
func (b *births) lags(next int64) bool { return b.mark+(1+birthLag)*b.block <= next }

func (b *births) born(n int64) { b.open[n/b.block]++ }

func (b *births) written(n int64) {
	block := n / b.block
	if b.open[block]--; b.open[block] <= 0 {
		delete(b.open, block)
	}
}

// settle moves the mark on as far as it may: it writes the rows that are still
// missing below, and notes the mark in the file. It is called at the beginning
// of a transaction, where all that open counts is committed.
func (w *writer) settle() error {
	b := &w.births
	if b.unsure {
		clear(b.open)
		bind(w.countUnwritten).int(b.mark)
		err := rows(w.countUnwritten, func(r *row) (bool, error) {
			b.born(r.int())
			return true, nil
		})
		if err != nil {
			return err
		}
		b.unsure = false
	}
	from := b.mark
	for b.lags(w.next) && b.open[b.mark/b.block] == 0 {
		b.mark += b.block
	}
	if b.lags(w.next) {
		// Those that live long. The mark moves when that is committed.
		if err := w.writeBirths(b.mark, b.mark+b.block, w.store.incarnation); err != nil {
			return err
		}
	}
	if b.mark == from {
		return nil
	}
	bind(w.setMark).int(b.mark)
	return w.exec(w.setMark)
}

// writeBirths gives the requests of a range the rows that they lack, under the
// lease of an incarnation.
func (w *writer) writeBirths(from, to, lease int64) error {
	var keys []store.Key
	bind(w.selectUnwritten).int(from).int(to)
	err := rows(w.selectUnwritten, func(r *row) (bool, error) {
		keys = append(keys, store.Key{Tenant: r.text(), ID: r.text()})
		return true, nil
	})
	for _, k := range keys {
		if err == nil {
			err = w.writeBirth(k, lease)
		}
	}
	return err
}

func (w *writer) writeBirth(k store.Key, lease int64) error {
	e := w.cache[k]
	if e == nil {
		var err error
		if e, err = w.lookUp(k); err != nil {
			return err
		}
	}
	if e == nil || !e.unwritten {
		return fail(errStep)
	}
	return w.change(change{from: e, to: e.state, lease: lease, input: e.input})
}
