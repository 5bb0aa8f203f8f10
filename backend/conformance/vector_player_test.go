package conformance

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
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
	if err := conn.Send(v.Frame); err != nil {
		return p.failed("it could not be sent: %v", err)
	}
	for done := false; !done; {
		frame, err := conn.Recv(ctx)
		var closed *CloseError
		switch {
		case errors.As(err, &closed) && closed.Code == v.Close:
			return nil
		case errors.As(err, &closed):
			return p.failed("the connection was closed with %d, not %d", closed.Code, v.Close)
		case err != nil:
			return p.failed("an answer did not come in time")
		}
		p.came = frame
		if done, err = p.checkFrame(); err != nil {
			return err
		}
	}
	return nil
}

// VectorError reports that a server did not answer a vector as it must.
type VectorError struct {
	Vector *Vector
	// What went wrong.
	What string
	// Came is the last frame that came; nil: none did.
	Came []byte
}

func (e *VectorError) Error() string {
	return fmt.Sprintf("vector %q: %s\n  sent: %s\n  came: %s", e.Vector.Name, e.What, brief(e.Vector.Frame), brief(e.Came))
}

type vectorPlayer struct {
	conn   Conn
	vector *Vector
	came   []byte
	// open counts the messages of a valid frame that are not answered yet.
	open map[answerKey]int
	// refused reports that the error for an invalid frame has come.
	refused bool
}

// answerKey is what an answer is recognized by: a ref, an id, or neither, for a
// pong.
type answerKey struct{ ref, id string }

func (p *vectorPlayer) failed(format string, args ...any) error {
	return &VectorError{Vector: p.vector, What: fmt.Sprintf(format, args...), Came: p.came}
}

// countMessages counts the messages of a valid frame by how their answers are
// recognized.
func (p *vectorPlayer) countMessages() {
	list := []json.RawMessage{p.vector.Frame}
	if kindOf(p.vector.Frame) == "array" {
		list = elements(p.vector.Frame)
	}
	for _, text := range list {
		var m struct{ Type, Ref, ID string }
		_ = json.Unmarshal(text, &m) // what is not valid will not be answered
		key := answerKey{ref: m.Ref}
		if m.Type == wire.TypeRequest {
			key.id = m.ID
		}
		p.open[key]++
	}
}

// checkFrame checks the messages of the frame that came, and reports whether it
// was the last one.
func (p *vectorPlayer) checkFrame() (done bool, err error) {
	messages, bad := wire.DecodeServerFrame(p.came)
	if bad != nil {
		return false, p.failed("the answer cannot be read: %s", bad.Message)
	}
	for i := range messages {
		m := &messages[i]
		aboutForm := m.Type == wire.TypeError &&
			(m.Code == wire.CodeMalformed || m.Code == wire.CodeInvalidMessage || m.Code == wire.CodeInvalidBatch)
		switch {
		case p.vector.Close != 0: // only the close counts
		case p.vector.Valid && (aboutForm || m.Type == wire.TypeError && m.ID == "" && m.Ref == ""):
			return false, p.failed("a valid frame was refused")
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
	switch {
	case m.Ref == "" && m.For != "":
		key.id = m.For
	case m.Ref == "":
		key.id = m.ID
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
	want, index, wantIndex := p.vector, -1, -1
	if m.Index != nil {
		index = *m.Index
	}
	if want.Index != nil {
		wantIndex = *want.Index
	}
	switch {
	case p.refused:
		return p.failed("a second error came")
	case m.Code != want.Code:
		return p.failed("the code is %q, not %q", m.Code, want.Code)
	case m.Field != want.Field:
		return p.failed("the field is %q, not %q", m.Field, want.Field)
	case index != wantIndex:
		return p.failed("the index is %d, not %d (-1: none)", index, wantIndex)
	case want.Ref != "" && m.Ref != want.Ref:
		return p.failed("the ref is %q, not %q", m.Ref, want.Ref)
	case m.Retryable == nil || *m.Retryable:
		return p.failed("an error of form is not retryable")
	}
	p.refused = true
	if err := p.conn.Send([]byte(barrier)); err != nil {
		return p.failed("the connection was closed: %v", err)
	}
	return nil
}
