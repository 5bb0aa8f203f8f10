package main

import (
	"context"
	"errors"
	"net/http"
	"time"

	"github.com/pay-theory/streamer/bench/internal/peer"
	client "github.com/pay-theory/streamer/client-go"
)

// walk is the action that clients follow.
const walk client.Action[peer.Step, int, int] = peer.Walk

// clientComeback has Go clients come back, with a connection each.
func (b *bench) clientComeback(ctx context.Context, n int) (_ *comeback, err error) {
	m, err := b.mortal(ctx, peer.Streamer, n)
	if err != nil {
		return nil, err
	}
	defer func() { stop(&err, m.peer) }()
	step := b.step(n)
	w, target := newWalkers(n), m.peer.Target
	o := &client.Options{Header: http.Header{"Authorization": {"Bearer " + target.Token}}}
	return w.kill(ctx, m, step, func(ctx context.Context, place int) error {
		w.handshakes <- struct{}{}
		c, err := client.Dial(ctx, target.URL, o)
		<-w.handshakes
		if err != nil {
			return err
		}
		err = w.follow(ctx, c, place, step)
		// There is nothing left to say goodbye about.
		gone, cancel := context.WithTimeout(context.WithoutCancel(ctx), time.Second)
		defer cancel()
		_ = c.Close(gone)
		if errors.Is(err, context.Canceled) || errors.Is(err, client.ErrClosed) {
			return nil
		}
		return err
	})
}

// follow makes a call and takes its events.
func (w *walkers) follow(ctx context.Context, c *client.Client, place int, step peer.Step) error {
	call, err := walk.With(step).Start(ctx, c)
	if err != nil {
		return err
	}
	me, walking, back := &w.each[place], false, false
	for e, err := range call.Events(ctx) {
		if err != nil {
			return err
		}
		switch e.Kind {
		case client.KindChunk:
			me.step(e.Seq, e.Chunk)
			if !walking {
				walking = true
				w.walking.arrive()
			}
		case client.KindAttempt:
			me.void(e.Attempt.Void)
		case client.KindEnd:
			me.end()
		case client.KindProgress:
			// It reports none.
		}
		if !back && (e.Kind == client.KindAttempt || e.Kind == client.KindEnd) {
			back = true
			w.back.arrive()
		}
	}
	last, err := call.Result(ctx)
	if err == nil && last != me.at() {
		me.gaps++
	}
	return err
}
