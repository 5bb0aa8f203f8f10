package campaign

import (
	"encoding/json"
	"fmt"
	"net/http"
	"time"

	"github.com/gorilla/websocket"
	"github.com/pay-theory/streamer/e2e/chaos/judge"
	"github.com/pay-theory/streamer/e2e/chaos/victim"
)

// patience is how long an answer of a healthy server is waited for.
const patience = 20 * time.Second

// raw is a connection to a server without proxy and client library.
type raw struct {
	ws      *websocket.Conn
	waiting []answer // of a batch
}

// answer is what is read of a server's message.
type answer struct {
	Type   string        `json:"type"`
	ID     string        `json:"id"`
	Ref    string        `json:"ref"`
	Code   string        `json:"code"`
	More   bool          `json:"more"`
	Events []judge.Event `json:"events"`
	Cursor string        `json:"cursor"`
	Calls  []struct {
		ID      string `json:"id"`
		Action  string `json:"action"`
		EndedAt int64  `json:"endedAt"`
	} `json:"calls"`
}

func dial(address string) (*raw, error) {
	token, err := victim.Token()
	if err != nil {
		return nil, err
	}
	d := websocket.Dialer{Subprotocols: []string{"streamer.v1"}, HandshakeTimeout: patience}
	ws, response, err := d.Dial("ws://"+address, http.Header{"Authorization": {"Bearer " + token}})
	if err != nil {
		return nil, err
	}
	_ = response.Body.Close()
	return &raw{ws: ws}, nil
}

func (r *raw) close() { _ = r.ws.Close() }

// ask sends a message and returns the first answer that fits.
func (r *raw) ask(message any, fits func(*answer) bool, wait time.Duration) (*answer, error) {
	if err := r.ws.SetWriteDeadline(time.Now().Add(wait)); err != nil {
		return nil, err
	}
	if err := r.ws.WriteJSON(message); err != nil {
		return nil, err
	}
	if err := r.ws.SetReadDeadline(time.Now().Add(wait)); err != nil {
		return nil, err
	}
	for {
		for len(r.waiting) > 0 {
			a := r.waiting[0]
			r.waiting = r.waiting[1:]
			if fits(&a) {
				return &a, nil
			}
		}
		_, frame, err := r.ws.ReadMessage()
		if err != nil {
			return nil, err
		}
		if len(frame) > 0 && frame[0] == '[' {
			err = json.Unmarshal(frame, &r.waiting)
		} else {
			r.waiting = make([]answer, 1)
			err = json.Unmarshal(frame, &r.waiting[0])
		}
		if err != nil {
			return nil, fmt.Errorf("the server sent what is no message: %w", err)
		}
	}
}

// stored reads all calls of the run's subject with all their events.
func (r *raw) stored() ([]judge.Stored, error) {
	out, err := r.list()
	if err != nil {
		return nil, fmt.Errorf("listing what is stored: %w", err)
	}
	for i := range out {
		if err := r.events(&out[i]); err != nil {
			return nil, fmt.Errorf("reading call %s: %w", out[i].ID, err)
		}
	}
	return out, nil
}

func answers(ref string) func(*answer) bool {
	return func(a *answer) bool { return a.Ref == ref }
}

func (r *raw) list() (out []judge.Stored, err error) {
	message := map[string]any{"type": "list", "ref": "list", "limit": 100}
	for {
		a, err := r.ask(message, answers("list"), patience)
		if err != nil {
			return nil, err
		}
		if a.Type != "calls" {
			return nil, fmt.Errorf("a list was answered with %s %s", a.Type, a.Code)
		}
		for _, c := range a.Calls {
			out = append(out, judge.Stored{ID: c.ID, Action: c.Action, EndedAt: c.EndedAt})
		}
		if a.Cursor == "" {
			return out, nil
		}
		message["cursor"] = a.Cursor
	}
}

func (r *raw) events(s *judge.Stored) error {
	for after, more := uint64(0), true; more; {
		a, err := r.ask(map[string]any{"type": "subscribe", "ref": s.ID, "id": s.ID, "after": after}, answers(s.ID), patience)
		switch {
		case err != nil:
			return err
		case a.Type == "error" && a.Code == "not_found":
			s.Gone, s.Events = true, nil
			return nil
		case a.Type != "snapshot":
			return fmt.Errorf("a subscribe was answered with %s %s", a.Type, a.Code)
		}
		s.Events = append(s.Events, a.Events...)
		if more = a.More; len(a.Events) > 0 {
			after = a.Events[len(a.Events)-1].Seq
		} else if more {
			return fmt.Errorf("an empty page behind seq %d, and more", after)
		}
	}
	return nil
}
