package embedded

import (
	"fmt"
	"strconv"
	"time"

	"zombiezen.com/go/sqlite"
)

// prepare prepares a statement that the connection keeps.
func prepare(conn *sqlite.Conn, query string) (*sqlite.Stmt, error) {
	stmt, err := conn.Prepare(query)
	return stmt, asFailure(err)
}

// prepareAll prepares the statements of a connection, by their text.
func prepareAll(conn *sqlite.Conn, statements map[string]**sqlite.Stmt) error {
	for query, stmt := range statements {
		var err error
		if *stmt, err = prepare(conn, query); err != nil {
			return err
		}
	}
	return nil
}

// execute runs transient statements to their ends.
func execute(conn *sqlite.Conn, queries ...string) error {
	for _, query := range queries {
		if _, err := pragma(conn, query); err != nil {
			return err
		}
	}
	return nil
}

// pragma runs a transient statement, and returns the first column of its first
// row as text.
func pragma(conn *sqlite.Conn, query string) (string, error) {
	stmt, _, err := conn.PrepareTransient(query)
	if err != nil {
		return "", err
	}
	defer func() { _ = stmt.Finalize() }()
	value := ""
	for first := true; ; first = false {
		row, err := stmt.Step()
		if err != nil || !row {
			return value, err
		}
		if first && stmt.ColumnCount() > 0 {
			value = stmt.ColumnText(0)
		}
	}
}

// queryInt runs a transient statement, and returns the integer in the first
// column of its first row. Without one the file is damaged.
func queryInt(conn *sqlite.Conn, query string) (int64, error) {
	text, err := pragma(conn, query)
	if err != nil {
		return 0, err
	}
	n, err := strconv.ParseInt(text, 10, 64)
	if err != nil {
		return 0, fmt.Errorf("%w: %s: %w", ErrCorrupt, query, err)
	}
	return n, nil
}

// runStatement runs a statement that returns no rows, and resets it.
func runStatement(stmt *sqlite.Stmt) error {
	if _, err := stmt.Step(); err != nil {
		return asFailure(err)
	}
	return asFailure(stmt.Reset())
}

// eachRow calls each for every row, until it returns false.
func eachRow(stmt *sqlite.Stmt, each func(r *row) (bool, error)) error {
	r := row{stmt: stmt}
	for {
		more, err := stmt.Step()
		if err != nil {
			return asFailure(err)
		}
		if more {
			r.next = 0
			if more, err = each(&r); err != nil {
				_ = stmt.Reset()
				return err
			}
		}
		if !more {
			return asFailure(stmt.Reset())
		}
	}
}

// firstRow reads the first row; found is false if there is none.
func firstRow(stmt *sqlite.Stmt, read func(r *row)) (found bool, err error) {
	err = eachRow(stmt, func(r *row) (bool, error) {
		found = true
		read(r)
		return false, nil
	})
	return found, err
}

// binding binds the parameters of a statement in order.
type binding struct {
	stmt *sqlite.Stmt
	n    int
}

func bindTo(stmt *sqlite.Stmt) *binding { return &binding{stmt: stmt} }

func (b *binding) text(s string) *binding {
	b.n++
	b.stmt.BindText(b.n, s)
	return b
}

// optional binds a text, empty as NULL.
func (b *binding) optional(s string) *binding {
	if s == "" {
		return b.null()
	}
	return b.text(s)
}

func (b *binding) int(i int64) *binding {
	b.n++
	b.stmt.BindInt64(b.n, i)
	return b
}

func (b *binding) bool(v bool) *binding {
	b.n++
	b.stmt.BindBool(b.n, v)
	return b
}

func (b *binding) float(v float64) *binding {
	b.n++
	b.stmt.BindFloat(b.n, v)
	return b
}

// time binds milliseconds, the zero time as NULL.
func (b *binding) time(t time.Time) *binding {
	if t.IsZero() {
		return b.null()
	}
	return b.int(t.UnixMilli())
}

// bytes binds a blob, nil as NULL.
func (b *binding) bytes(v []byte) *binding {
	if v == nil {
		return b.null()
	}
	b.n++
	b.stmt.BindBytes(b.n, v)
	return b
}

func (b *binding) null() *binding {
	b.n++
	b.stmt.BindNull(b.n)
	return b
}

// row reads the columns of a row in order.
type row struct {
	stmt *sqlite.Stmt
	next int
}

func (r *row) nextColumn() int {
	r.next++
	return r.next - 1
}

func (r *row) text() string { return r.stmt.ColumnText(r.nextColumn()) }

func (r *row) int() int64 { return r.stmt.ColumnInt64(r.nextColumn()) }

func (r *row) bool() bool { return r.stmt.ColumnInt64(r.nextColumn()) != 0 }

func (r *row) float() float64 { return r.stmt.ColumnFloat(r.nextColumn()) }

func (r *row) isNull() bool { return r.stmt.ColumnIsNull(r.next) }

// skipNull skips columns if the first of them is NULL.
func (r *row) skipNull(columns int) bool {
	null := r.isNull()
	if null {
		r.next += columns
	}
	return null
}

// time reads milliseconds, NULL as the zero time.
func (r *row) time() time.Time {
	col := r.nextColumn()
	if r.stmt.ColumnIsNull(col) {
		return time.Time{}
	}
	return time.UnixMilli(r.stmt.ColumnInt64(col))
}

// bytes reads a blob, NULL as nil.
func (r *row) bytes() []byte {
	col := r.nextColumn()
	if r.stmt.ColumnIsNull(col) {
		return nil
	}
	// The size must be read after the type and before the value.
	b := make([]byte, r.stmt.ColumnLen(col))
	r.stmt.ColumnBytes(col, b)
	return b
}

// fixed reads a blob of a known size into b.
func (r *row) fixed(b []byte) { r.stmt.ColumnBytes(r.nextColumn(), b) }
