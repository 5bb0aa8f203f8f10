package conformance

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"time"

	"github.com/pay-theory/streamer/backend/internal/wire"
)

// vectorTime is how long the answers to one vector may take.
const vectorTime = 60 * time.Second

// vectorBarrier is sent behind an invalid frame: when it is answered, nothing
// more will come for that frame, and the connection has lived on.
const vectorBarrier = `{"type":"unsubscribe","ref":"vector barrier","id":"0190a1b2-c3d6-7000-8000-000000000000"}`

// RunVector sends a client's vector to a server on a connection of its own, and
// judges what comes back: an invalid frame gets exactly its error or its close
// code, once; a valid one is answered, each of its messages, and not refused
// for its form. The target is not closed, and serves any number of vectors; its
// store need not be empty. Errors: a *VectorError, or why it could not connect.
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
	p := vectorPlay{conn: conn, vector: v}
	if err := conn.Send(v.Frame); err != nil {
		return p.wrong("it could not be sent: " + err.Error())
	}
	switch {
	case v.Valid:
		return p.valid(ctx)
	case v.Answer.Close != 0:
		return p.closed(ctx)
	}
	return p.refused(ctx)
}

// VectorError tells that a server did not do with a vector what it must.
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

type vectorPlay struct {
	conn   Conn
	vector *Vector
	came   []byte
}

func (p *vectorPlay) wrong(what string) error {
	return &VectorError{Vector: p.vector, What: what, Came: p.came}
}

// next returns the messages of the next frame.
func (p *vectorPlay) next(ctx context.Context) ([]wire.ServerMessage, error) {
	frame, err := p.conn.Recv(ctx)
	var closed *CloseError
	switch {
	case errors.As(err, &closed):
		return nil, p.wrong(fmt.Sprintf("the connection was closed with %d", closed.Code))
	case err != nil:
		return nil, p.wrong("an answer did not come in time")
	}
	p.came = frame
	messages, bad := wire.DecodeServerFrame(frame)
	if bad != nil {
		return nil, p.wrong("the answer cannot be read: " + bad.Message)
	}
	return messages, nil
}

// aboutForm tells whether an error refuses a frame for its form.
func aboutForm(m *wire.ServerMessage) bool {
	return m.Type == wire.TypeError &&
		(m.Code == wire.CodeMalformed || m.Code == wire.CodeInvalidMessage || m.Code == wire.CodeInvalidBatch)
}

// closed waits for the end of the connection.
func (p *vectorPlay) closed(ctx context.Context) error {
	for {
		frame, err := p.conn.Recv(ctx)
		var closed *CloseError
		switch {
		case errors.As(err, &closed) && closed.Code == p.vector.Answer.Close:
			return nil
		case errors.As(err, &closed):
			return p.wrong(fmt.Sprintf("the connection was closed with %d, not %d", closed.Code, p.vector.Answer.Close))
		case err != nil:
			return p.wrong(fmt.Sprintf("the connection was not closed with %d", p.vector.Answer.Close))
		}
		p.came = frame
	}
}

// refused waits for the one error that the frame gets.
func (p *vectorPlay) refused(ctx context.Context) error {
	refusals := 0
	for {
		messages, err := p.next(ctx)
		if err != nil {
			return err
		}
		for i := range messages {
			m := &messages[i]
			switch {
			case m.Type == wire.TypeOK && m.Ref == "vector barrier":
				return nil
			case !aboutForm(m):
				continue // the answers to what is good in a batch
			}
			if refusals++; refusals > 1 {
				return p.wrong("a second error came")
			}
			if err := p.matches(m); err != nil {
				return err
			}
			if err := p.conn.Send([]byte(vectorBarrier)); err != nil {
				return p.wrong("the connection has not lived on: " + err.Error())
			}
		}
	}
}

// matches holds an error against what must come.
func (p *vectorPlay) matches(m *wire.ServerMessage) error {
	want := p.vector.Answer
	index := -1
	if m.Index != nil {
		index = *m.Index
	}
	switch {
	case m.Code != want.Code:
		return p.wrong(fmt.Sprintf("the code is %q, not %q", m.Code, want.Code))
	case m.Field != want.Field:
		return p.wrong(fmt.Sprintf("the field is %q, not %q", m.Field, want.Field))
	case index != want.Index:
		return p.wrong(fmt.Sprintf("the index is %d, not %d (-1: none)", index, want.Index))
	case want.Ref != "" && m.Ref != want.Ref:
		return p.wrong(fmt.Sprintf("the ref is %q, not %q", m.Ref, want.Ref))
	case m.Retryable == nil || *m.Retryable:
		return p.wrong("an error of form is not retryable")
	}
	return nil
}

// question is what an answer is told by: a ref, an id, or being a pong.
type question struct{ ref, id string }

// valid waits until each message of the frame is answered.
func (p *vectorPlay) valid(ctx context.Context) error {
	open, err := p.questions()
	if err != nil {
		return err
	}
	for left := len(open); left > 0; {
		messages, err := p.next(ctx)
		if err != nil {
			return err
		}
		for i := range messages {
			m := &messages[i]
			if aboutForm(m) || m.Type == wire.TypeError && m.ID == "" && m.Ref == "" {
				return p.wrong("a valid frame was refused")
			}
			q := question{ref: m.Ref}
			switch {
			case m.Ref == "" && m.For != "":
				q.id = m.For
			case m.Ref == "":
				q.id = m.ID
			}
			if open[q] > 0 && (q != question{} || m.Type == wire.TypePong) {
				if open[q]--; open[q] == 0 {
					left--
				}
			}
		}
	}
	return nil
}

// questions counts the messages of the frame by what their answers are told by.
func (p *vectorPlay) questions() (map[question]int, error) {
	type asked struct{ Type, Ref, ID string }
	var list []asked
	if err := json.Unmarshal(p.vector.Frame, &list); err != nil {
		list = make([]asked, 1)
		if err := json.Unmarshal(p.vector.Frame, &list[0]); err != nil {
			return nil, p.wrong("a valid vector is JSON: " + err.Error())
		}
	}
	open := map[question]int{}
	for _, a := range list {
		q := question{ref: a.Ref}
		if a.Type == wire.TypeRequest {
			q.id = a.ID
		}
		open[q]++
	}
	return open, nil
}
