package conformance

import (
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/pay-theory/streamer/backend/internal/wire"
)

const (
	// vectorTime is how long the answers to one vector may take.
	vectorTime = time.Minute
	// barrierRef is the ref of a message that is sent after a frame was
	// refused: when it is answered, nothing more will come for that frame, and
	// the connection is open.
	barrierRef = "vector barrier"
	barrier    = `{"type":"unsubscribe","ref":"` + barrierRef + `","id":"0190a1b2-c3d6-7000-8000-000000000000"}`
)

// vectorPlayer sends one vector and checks what comes back.
type vectorPlayer struct {
	conn   Conn
	vector *Vector
	// open counts the messages of a valid frame that are not answered yet.
	open map[answerKey]int
	// refused reports that the error for an invalid frame has come.
	refused bool
}

// answerKey is what an answer is recognized by: a ref, an id, or neither, for a
// pong.
type answerKey struct{ ref, id string }

// RunVector sends a client's vector to a server on a connection of its own, and
// checks what comes back: an invalid frame gets exactly its error or its close
// code, once; each message of a valid one is answered, and none refused for its
// form.
func RunVector(ctx context.Context, v *Vector, target Target) error {
	if v.From != Client {
		return fmt.Errorf("vector %q is a frame of a server's", v.Name)
	}
	ctx, cancel := context.WithTimeout(ctx, vectorTime)
	defer cancel()
	conn, err := target.Connect(ctx, Identity{Tenant: "vectors", Subject: "vectors"})
	if err != nil {
		return fmt.Errorf("vector %q: connecting: %w", v.Name, err)
	}
	defer conn.Cut()
	p := vectorPlayer{conn: conn, vector: v, open: map[answerKey]int{}}
	if v.Valid {
		p.countMessages()
	}
	err = conn.Send(v.Frame)
	var came []byte
	for done := false; !done && err == nil; {
		var frame []byte
		frame, err = conn.Recv(ctx)
		var closed *CloseError
		switch {
		case errors.As(err, &closed) && closed.Code == v.Close:
			return nil
		case errors.As(err, &closed):
			err = fmt.Errorf("the connection was closed with %d, not %d", closed.Code, v.Close)
		case err == nil:
			came = frame
			done, err = p.checkFrame(frame)
		}
	}
	if err != nil {
		return fmt.Errorf("vector %q: %w\n  sent: %s\n  came: %s", v.Name, err, brief(v.Frame), brief(came))
	}
	return nil
}

// countMessages counts the messages of a valid frame by how their answers are
// recognized.
func (p *vectorPlayer) countMessages() {
	for _, text := range messagesOf(p.vector.Frame) {
		var m struct{ Type, Ref, ID string }
		_ = json.Unmarshal(text, &m) // what is not valid will not be answered
		key := answerKey{ref: m.Ref}
		if m.Type == wire.TypeRequest {
			key.id = m.ID
		}
		p.open[key]++
	}
}

// checkFrame checks the messages of a frame that came, and reports whether it
// was the last one.
func (p *vectorPlayer) checkFrame(frame []byte) (done bool, err error) {
	messages, bad := wire.DecodeServerFrame(frame)
	if bad != nil {
		return false, fmt.Errorf("the answer cannot be read: %w", bad)
	}
	for i := range messages {
		m := &messages[i]
		aboutForm := m.Type == wire.TypeError &&
			slices.Contains([]string{wire.CodeMalformed, wire.CodeInvalidMessage, wire.CodeInvalidBatch}, m.Code)
		switch {
		case p.vector.Close != 0: // only the close counts
		case p.vector.Valid && (aboutForm || m.Type == wire.TypeError && m.ID == "" && m.Ref == ""):
			return false, errors.New("a valid frame was refused")
		case p.vector.Valid:
			p.countAnswer(m)
		case m.Type == wire.TypeOK && m.Ref == barrierRef:
			return true, nil
		case aboutForm:
			if err := p.checkError(m); err != nil {
				return false, err
			}
		}
	}
	return p.vector.Valid && len(p.open) == 0, nil
}

// countAnswer takes a message off those that are not answered.
func (p *vectorPlayer) countAnswer(m *wire.ServerMessage) {
	key := answerKey{ref: m.Ref}
	if m.Ref == "" {
		key.id = cmp.Or(m.For, m.ID)
	}
	if key == (answerKey{}) && m.Type != wire.TypePong {
		return
	}
	if p.open[key]--; p.open[key] <= 0 {
		delete(p.open, key)
	}
}

// checkError compares an error with the one that must come, and sends the
// barrier.
func (p *vectorPlayer) checkError(m *wire.ServerMessage) error {
	if p.refused {
		return errors.New("a second error came")
	}
	p.refused = true
	place := func(index *int) int {
		if index == nil {
			return -1
		}
		return *index
	}
	for _, c := range []struct {
		what      string
		got, want any
	}{
		{"code", m.Code, p.vector.Code},
		{"field", m.Field, p.vector.Field},
		{"index (-1: none)", place(m.Index), place(p.vector.Index)},
		{"ref", m.Ref, cmp.Or(p.vector.Ref, m.Ref)},
	} {
		if c.got != c.want {
			return fmt.Errorf("the %s is %#v, not %#v", c.what, c.got, c.want)
		}
	}
	if m.Retryable == nil || *m.Retryable {
		return errors.New("an error of form is not retryable")
	}
	return p.conn.Send([]byte(barrier))
}
