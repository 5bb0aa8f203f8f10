package embedded

import (
	"errors"
	"net/url"
	"sync"
	"syscall"
	"unsafe"

	"modernc.org/libc"
	lib "modernc.org/sqlite/lib"
)

// SQLite's own file system for Unix writes a frame of the write-ahead log in
// two calls, and the translated code has no fdatasync: each commit also waits
// until the file system has journalled the log's modification time. That more
// than doubled the cost of an ack. So the log is opened through a file system
// that differs from SQLite's own in two things: data that is written to a log is
// collected until the log is read, truncated or synced, and then written in one
// call; and the log is synced by fdatasync, as SQLite itself does where it is
// compiled for Linux.
//
// Other connections see no difference: with synchronous=FULL a commit is
// published to them after its sync.

// vfsName is the name of the file system in this process. It is not the default
// one, because other code may use SQLite here, too.
const vfsName = "streamer"

const (
	// gatherMax is how many bytes are collected at most.
	gatherMax = 1 << 20
	// growMin and growMax bound by how many bytes a log grows.
	growMin = 256 << 10
	growMax = 4 << 20
)

// vfs is the file system, created once in a process.
var vfs struct {
	once  sync.Once
	err   error
	inner uintptr // *sqlite3_vfs, SQLite's own
	// methods are indexed by the pointer of the methods that they replace;
	// there is one set for each way of locking.
	methods sync.Map // uintptr of a sqlite3_io_methods → *logMethods
	logs    sync.Map // uintptr of an open sqlite3_file → *logFile
}

// logMethods are the methods of an open log, and the ones that they replace.
type logMethods struct {
	ours  uintptr
	inner lib.Tsqlite3_io_methods
}

// logFile is one connection's handle of a log. Only one goroutine uses it at a
// time.
type logFile struct {
	inner *lib.Tsqlite3_io_methods
	fd    int
	// gathered is the data to be written at offset.
	gathered []byte
	offset   int64
	// size is the minimal length of the file, unless it was truncated.
	size int64
	// synced reports that the file was synced by SQLite's own method, which
	// also syncs its directory.
	synced bool
}

// location returns the name by which SQLite must open a file.
func location(path string) (string, error) {
	vfs.once.Do(registerVFS)
	if vfs.err != nil {
		return "", vfs.err
	}
	u := url.URL{Scheme: "file", Path: path, RawQuery: "vfs=" + vfsName}
	return u.String(), nil
}

func registerVFS() {
	tls := libc.NewTLS()
	defer tls.Close()
	vfs.err = errors.New("SQLite's file system cannot be extended")
	inner := lib.Xsqlite3_vfs_find(tls, 0)
	name, err := libc.CString(vfsName)
	if inner == 0 || err != nil {
		return
	}
	// Neither is ever freed.
	ours := libc.Xmalloc(tls, libc.Tsize_t(unsafe.Sizeof(lib.Tsqlite3_vfs{})))
	if ours == 0 {
		return
	}
	vfs.inner = inner
	v := deref[lib.Tsqlite3_vfs](ours)
	*v = *deref[lib.Tsqlite3_vfs](inner)
	v.FpNext, v.FzName, v.FxOpen = 0, name, pointer(openFile)
	if lib.Xsqlite3_vfs_register(tls, ours, 0) == lib.SQLITE_OK {
		vfs.err = nil
	}
}

// openFile is xOpen. Only logs get other methods.
func openFile(tls *libc.TLS, _, name, file uintptr, flags int32, out uintptr) int32 {
	open := function[func(*libc.TLS, uintptr, uintptr, uintptr, int32, uintptr) int32](deref[lib.Tsqlite3_vfs](vfs.inner).FxOpen)
	rc := open(tls, vfs.inner, name, file, flags, out)
	if rc != lib.SQLITE_OK || flags&lib.SQLITE_OPEN_WAL == 0 {
		return rc
	}
	f := deref[lib.TunixFile](file)
	m := methodsFor(tls, f.FpMethod)
	if m == nil {
		return rc // SQLite's own methods work, too
	}
	vfs.logs.Store(file, &logFile{inner: &m.inner, fd: int(f.Fh)})
	f.FpMethod = m.ours
	return rc
}

func methodsFor(tls *libc.TLS, inner uintptr) *logMethods {
	if m, ok := vfs.methods.Load(inner); ok {
		return m.(*logMethods)
	}
	m := &logMethods{inner: *deref[lib.Tsqlite3_io_methods](inner)}
	if m.ours = libc.Xmalloc(tls, libc.Tsize_t(unsafe.Sizeof(m.inner))); m.ours == 0 {
		return nil
	}
	ours := deref[lib.Tsqlite3_io_methods](m.ours)
	*ours = m.inner
	ours.FxClose, ours.FxRead, ours.FxWrite = pointer(closeLog), pointer(readLog), pointer(writeLog)
	ours.FxTruncate, ours.FxSync, ours.FxFileSize = pointer(truncateLog), pointer(syncLog), pointer(sizeOfLog)
	// If two goroutines get here at the same time, the second one's are dropped.
	kept, _ := vfs.methods.LoadOrStore(inner, m)
	return kept.(*logMethods)
}

func logOf(file uintptr) *logFile {
	l, _ := vfs.logs.Load(file)
	return l.(*logFile)
}

func closeLog(tls *libc.TLS, file uintptr) int32 {
	l := logOf(file)
	vfs.logs.Delete(file)
	rc := l.flush()
	if closed := function[func(*libc.TLS, uintptr) int32](l.inner.FxClose)(tls, file); rc == lib.SQLITE_OK {
		rc = closed
	}
	return rc
}

func readLog(tls *libc.TLS, file, buffer uintptr, n int32, offset int64) int32 {
	l := logOf(file)
	if rc := l.flush(); rc != lib.SQLITE_OK {
		return rc
	}
	return function[func(*libc.TLS, uintptr, uintptr, int32, int64) int32](l.inner.FxRead)(tls, file, buffer, n, offset)
}

func writeLog(_ *libc.TLS, file, data uintptr, n int32, offset int64) int32 {
	l := logOf(file)
	if len(l.gathered) > 0 && (offset != l.offset+int64(len(l.gathered)) || len(l.gathered)+int(n) > gatherMax) {
		if rc := l.flush(); rc != lib.SQLITE_OK {
			return rc
		}
	}
	if len(l.gathered) == 0 {
		l.offset = offset
	}
	l.gathered = append(l.gathered, unsafe.Slice(deref[byte](data), n)...) //nolint:gosec // SQLite passes n bytes
	return lib.SQLITE_OK
}

func truncateLog(tls *libc.TLS, file uintptr, size int64) int32 {
	l := logOf(file)
	if rc := l.flush(); rc != lib.SQLITE_OK {
		return rc
	}
	l.size = min(l.size, size)
	return function[func(*libc.TLS, uintptr, int64) int32](l.inner.FxTruncate)(tls, file, size)
}

func sizeOfLog(tls *libc.TLS, file, out uintptr) int32 {
	l := logOf(file)
	if rc := l.flush(); rc != lib.SQLITE_OK {
		return rc
	}
	return function[func(*libc.TLS, uintptr, uintptr) int32](l.inner.FxFileSize)(tls, file, out)
}

func syncLog(tls *libc.TLS, file uintptr, flags int32) int32 {
	l := logOf(file)
	if rc := l.flush(); rc != lib.SQLITE_OK {
		return rc
	}
	if !l.synced {
		rc := function[func(*libc.TLS, uintptr, int32) int32](l.inner.FxSync)(tls, file, flags)
		l.synced = rc == lib.SQLITE_OK
		return rc
	}
	for {
		switch err := syscall.Fdatasync(l.fd); {
		case err == nil:
			return lib.SQLITE_OK
		case !errors.Is(err, syscall.EINTR):
			return lib.SQLITE_IOERR_FSYNC
		}
	}
}

// flush writes the collected data.
func (l *logFile) flush() int32 {
	b, offset := l.gathered, l.offset
	l.gathered = l.gathered[:0]
	if end := offset + int64(len(b)); len(b) > 0 && end > l.size {
		l.extend(end)
	}
	for len(b) > 0 {
		n, err := syscall.Pwrite(l.fd, b, offset)
		switch {
		case errors.Is(err, syscall.EINTR):
		case errors.Is(err, syscall.ENOSPC), err == nil && n == 0:
			return lib.SQLITE_FULL
		case err != nil:
			return lib.SQLITE_IOERR_WRITE
		default:
			b, offset = b[n:], offset+int64(n)
		}
	}
	return lib.SQLITE_OK
}

// extend appends zeros to a log before data is written: overwriting and syncing
// existing bytes costs half as much as appending, because the file system need
// not journal the new length and blocks of the file. It doubles the log, by at
// most growMax, so that small databases have small logs. Errors are ignored;
// the write itself will report them.
//
// The zeros are not valid frames, so the log ends where they begin.
func (l *logFile) extend(end int64) {
	var stat syscall.Stat_t
	if syscall.Fstat(l.fd, &stat) != nil {
		return
	}
	if l.size = stat.Size; end <= l.size {
		return
	}
	target := max(end, l.size+min(max(l.size, growMin), growMax))
	zeros := make([]byte, growMin)
	for l.size < target {
		n, err := syscall.Pwrite(l.fd, zeros[:min(growMin, target-l.size)], l.size)
		if err != nil {
			return
		}
		l.size += int64(n)
	}
}

// deref returns a pointer to memory that Go does not manage.
func deref[T any](address uintptr) *T {
	// vet reports each conversion of a number; this one is correct.
	return *(**T)(unsafe.Pointer(&address)) //nolint:gosec // audited: all callers' memory is SQLite's
}

// pointer returns a declared function (not a closure) as translated C code
// calls it. It depends on how Go represents functions, as that code does.
func pointer[F any](f F) uintptr {
	return *(*uintptr)(unsafe.Pointer(&struct{ f F }{f})) //nolint:gosec // audited: declared functions stay where they are
}

// function is the inverse of pointer.
func function[F any](address uintptr) F {
	return *(*F)(unsafe.Pointer(&struct{ uintptr }{address})) //nolint:gosec // audited: the addresses are of SQLite's methods
}
