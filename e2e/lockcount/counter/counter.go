// Package counter has the mutexes that lockcount puts in place of sync's. They
// record each Lock and RLock.
package counter

import (
	"cmp"
	"fmt"
	"io"
	"maps"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
	"sync"
)

// Mutex is a sync.Mutex whose Lock is counted.
type Mutex struct{ sync.Mutex }

// Lock locks m.
func (m *Mutex) Lock() { record(); m.Mutex.Lock() }

// RWMutex is a sync.RWMutex whose Lock and RLock are counted.
type RWMutex struct{ sync.RWMutex }

// Lock locks m for writing.
func (m *RWMutex) Lock() { record(); m.RWMutex.Lock() }

// RLock locks m for reading.
func (m *RWMutex) RLock() { record(); m.RWMutex.RLock() }

type stack [8]uintptr

var (
	mu     sync.Mutex
	counts = map[stack]int{}
)

func record() {
	var s stack
	runtime.Callers(2, s[:])
	mu.Lock()
	defer mu.Unlock()
	counts[s]++
}

// Reset forgets all counts.
func Reset() {
	mu.Lock()
	defer mu.Unlock()
	clear(counts)
}

// Print prints how many acquisitions were counted since Reset for each of n
// calls, and then where, the most frequent first, with up to three callers.
func Print(w io.Writer, n int) {
	mu.Lock()
	defer mu.Unlock()
	sum, places := 0, map[string]int{}
	for s, count := range counts {
		sum += count
		places[place(s)] += count
	}
	_, _ = fmt.Fprintf(w, "%.1f lock acquisitions per durable call\n", float64(sum)/float64(n))
	for _, p := range slices.SortedFunc(maps.Keys(places), func(a, b string) int {
		return cmp.Or(cmp.Compare(places[b], places[a]), cmp.Compare(a, b))
	}) {
		_, _ = fmt.Fprintf(w, "%6.2f  %s\n", float64(places[p])/float64(n), p)
	}
}

// place says which function acquired a lock, by which method, and who called
// the function.
func place(s stack) string {
	const backend = "github.com/pay-theory/streamer/backend/"
	method, out := "", []string{}
	for frames, more := runtime.CallersFrames(s[:]), true; more && len(out) < 4; {
		var f runtime.Frame
		f, more = frames.Next()
		if name, ours := strings.CutPrefix(f.Function, backend); ours {
			out = append(out, fmt.Sprintf("%s %s:%d", name, filepath.Base(f.File), f.Line))
		} else if len(out) == 0 { // a method of Mutex, or sync.Cond.Wait
			method = f.Function[strings.LastIndexByte(f.Function, '.')+1:]
		}
	}
	return method + " " + strings.Join(out, " < ")
}
