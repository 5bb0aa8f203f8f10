package campaign

import (
	"context"
	"encoding/json"
	"fmt"
	"net/http"
	"strings"
	"time"

	"github.com/pay-theory/streamer/client-go"
	"github.com/pay-theory/streamer/e2e/chaos/job"
	"github.com/pay-theory/streamer/e2e/chaos/journal"
	"github.com/pay-theory/streamer/e2e/chaos/judge"
	"zombiezen.com/go/sqlite"
	"zombiezen.com/go/sqlite/sqlitex"
)

const (
	// refusing is for how long a full disk is waited for to be felt, recovery
	// how long a server may take calls again after there is room.
	refusing = time.Second
	recovery = 5 * time.Second
	// probes is how many calls are sent meanwhile at most, spread over the time,
	// and probeSize how large they are.
	probes, probeSize = 200, 30_000
)

// fill fills the disk, and looks whether the server says so.
func (w *world) fill(ctx context.Context) error {
	if err := w.volume.Fill(); err != nil {
		return err
	}
	w.filled = true
	w.full++
	w.probe(refusing, func(code string) bool {
		if code != "unavailable" {
			return false
		}
		w.unavailable++
		if w.saysNotReady(ctx) {
			w.notReady++
			return true
		}
		return false
	})
	return nil
}

// startedFull makes room again when a server has come up on a full disk.
func (w *world) startedFull() error {
	if !w.filled {
		return nil
	}
	return w.recover()
}

// empty makes room again.
func (w *world) empty() error {
	if w.volume == nil {
		return nil
	}
	w.filled = false
	return w.volume.Empty()
}

// recover makes room again, and looks whether the server takes calls.
func (w *world) recover() error {
	if err := w.empty(); err != nil {
		return err
	}
	taken := false
	w.probe(recovery, func(code string) bool {
		taken = code == ""
		return taken
	})
	select {
	case <-w.server.done: // it was killed meanwhile, or has crashed, which is found elsewhere
	default:
		if !taken {
			w.find(judge.Disk, "%v after the disk has room again, no call is taken", recovery)
		}
	}
	return nil
}

// probe sends calls of ours until done is content with the code of an answer
// (empty: acknowledged), or the time is over.
func (w *world) probe(wait time.Duration, done func(code string) bool) {
	r, err := dial(w.address)
	if err != nil {
		return
	}
	defer r.close()
	until := time.Now().Add(wait)
	for range probes {
		if !time.Now().Before(until) {
			return
		}
		params := job.Params{FailAt: -1, Filler: strings.Repeat("p", probeSize)}
		data, err := json.Marshal(params)
		if err != nil {
			panic(err) // it is made of numbers and a text
		}
		id := client.NewID()
		w.probes = append(w.probes, journal.Entry{
			At: journal.Now(), What: journal.Ask, ID: id, Action: job.Stored, Data: data, Options: &journal.Options{},
		})
		request := map[string]any{"type": "request", "id": id, "action": job.Stored, "payload": params}
		a, err := r.ask(request, func(a *answer) bool { return a.ID == id }, time.Until(until)+time.Second)
		if err != nil {
			return
		}
		if a.Type == "ack" {
			w.probes = append(w.probes, journal.Entry{At: journal.Now(), What: journal.Ack, ID: id, To: id})
		}
		if done(a.Code) {
			return
		}
		<-time.After(wait / probes)
	}
}

// saysNotReady asks the server whether it is ready.
func (w *world) saysNotReady(ctx context.Context) bool {
	// Also when the run is being stopped, for the answer counts.
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), patience)
	defer cancel()
	request, err := http.NewRequestWithContext(ctx, http.MethodGet, "http://"+w.address+"/readyz", http.NoBody)
	if err != nil {
		return false
	}
	once := &http.Transport{DisableKeepAlives: true}
	response, err := once.RoundTrip(request)
	if err != nil {
		return false
	}
	_ = response.Body.Close()
	return response.StatusCode == http.StatusServiceUnavailable
}

// checkFile has SQLite look at every page of a data file that nobody has open.
func checkFile(name string) error {
	conn, err := sqlite.OpenConn(name, sqlite.OpenReadWrite)
	if err != nil {
		return err
	}
	defer func() { _ = conn.Close() }()
	return sqlitex.ExecuteTransient(conn, "PRAGMA integrity_check", &sqlitex.ExecOptions{
		ResultFunc: func(stmt *sqlite.Stmt) error {
			if text := stmt.ColumnText(0); text != "ok" {
				return fmt.Errorf("integrity check: %s", text)
			}
			return nil
		},
	})
}
