package load

import (
	"context"
	"time"
)

// Follow sends one request on each connection and hands every answer to take,
// with the connection's place and the time in Unix nanoseconds, until all
// requests have ended. take is called by a goroutine for each connection.
func Follow(ctx context.Context, conns []*Conn, t Template, take func(place int, at int64, a *Answer)) error {
	ended := make(chan error, len(conns))
	for i, conn := range conns {
		go func() { ended <- conn.follow(&t, func(at int64, a *Answer) { take(i, at, a) }) }()
	}
	running := len(conns)
	for running > 0 {
		select {
		case err := <-ended:
			running--
			if err != nil {
				_ = settle(conns, ended, running, true)
				return err
			}
		case <-ctx.Done():
			_ = settle(conns, ended, running, true)
			return ctx.Err()
		}
	}
	return nil
}

func (c *Conn) follow(t *Template, take func(at int64, a *Answer)) error {
	c.request(t, 0)
	if err := c.flush(); err != nil {
		return err
	}
	for {
		frame, err := c.read()
		if err != nil {
			return err
		}
		at := time.Now().UnixNano()
		for a := range answers(frame) {
			ended, err := a.end()
			if err != nil {
				return err
			}
			take(at, &a)
			if ended {
				return nil
			}
		}
	}
}
