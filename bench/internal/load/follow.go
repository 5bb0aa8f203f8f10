package load

import (
	"context"
	"time"
)

// Each has run work with every connection, in a goroutine of its own, until all
// have returned. When one fails or ctx ends, the connections are cut off.
func Each(ctx context.Context, conns []*Conn, run func(place int, c *Conn) error) error {
	ended := make(chan error, len(conns))
	for i, conn := range conns {
		go func() { ended <- run(i, conn) }()
	}
	for running := len(conns); running > 0; {
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

// Follow sends one request on each connection and hands every answer to take,
// with the connection's place and the time in Unix nanoseconds, until all
// requests have ended. take is called by a goroutine for each connection.
func Follow(ctx context.Context, conns []*Conn, t Template, take func(place int, at int64, a *Answer)) error {
	return Each(ctx, conns, func(place int, c *Conn) error {
		return c.follow(&t, func(at int64, a *Answer) { take(place, at, a) })
	})
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
		for a := range Answers(frame) {
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

// Ask sends a message and hands every frame that comes to take, until take
// returns true.
func (c *Conn) Ask(text []byte, take func(frame []byte) (bool, error)) error {
	if err := c.Send(text); err != nil {
		return err
	}
	for {
		frame, err := c.read()
		if err != nil {
			return err
		}
		if done, err := take(frame); done || err != nil {
			return err
		}
	}
}
