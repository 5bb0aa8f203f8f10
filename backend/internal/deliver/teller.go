package deliver

import (
	"context"
	"errors"
	"log/slog"
	"time"

	"github.com/pay-theory/streamer/backend/internal/wire"
	"github.com/pay-theory/streamer/backend/store"
)

// Teller tells followers. It is safe for concurrent use.
type Teller struct {
	subs   store.SubscriptionStore
	poster Poster
	log    *slog.Logger
	now    func() time.Time

	// unfollowed is called when the last follower of a stream has left,
	// followed when a first one has come.
	unfollowed func(store.Key)
	followed   func(store.Key)
}

// NewTeller returns a teller that finds followers in subs.
func NewTeller(subs store.SubscriptionStore, poster Poster, log *slog.Logger) *Teller {
	return &Teller{
		subs: subs, poster: poster, log: log, now: time.Now,
		unfollowed: func(store.Key) {}, followed: func(store.Key) {},
	}
}

// Watch sets who is told that a stream's last follower has left, or that a
// follower has come. It must be called before the teller is used.
func (t *Teller) Watch(followed, unfollowed func(store.Key)) {
	t.followed, t.unfollowed = followed, unfollowed
}

// Follow makes a connection follow a stream. Not live, it gets state alone.
func (t *Teller) Follow(ctx context.Context, a Address, subject, stream string, live bool) error {
	_, err := t.subs.Subscribe(ctx, store.Subscription{
		Tenant: a.Tenant, Stream: stream, Connection: a.Connection, Subject: subject, Since: t.now(), Live: live,
	})
	if err != nil {
		return err
	}
	if !t.poster.Alive(a) {
		// It left while its message was on the way, and whoever cleaned up
		// behind it did not see this: nobody would be taken for a follower.
		return t.Unfollow(ctx, a, stream)
	}
	t.followed(store.Key{Tenant: a.Tenant, ID: stream})
	return nil
}

// Unfollow ends what Follow began.
func (t *Teller) Unfollow(ctx context.Context, a Address, stream string) error {
	removed, err := t.subs.Unsubscribe(ctx, a.Tenant, stream, a.Connection)
	if err == nil && removed {
		t.left(ctx, store.Key{Tenant: a.Tenant, ID: stream})
	}
	return err
}

// Leave ends all that a connection follows.
func (t *Teller) Leave(ctx context.Context, a Address) error {
	dropped, err := t.subs.Drop(ctx, a.Tenant, a.Connection)
	for i := range dropped {
		t.left(ctx, store.Key{Tenant: a.Tenant, ID: dropped[i].Stream})
	}
	return err
}

// Followed tells whether anybody follows a stream.
func (t *Teller) Followed(ctx context.Context, k store.Key) bool {
	subs, err := t.subs.Subscribers(ctx, k.Tenant, k.ID)
	return err != nil || len(subs) > 0
}

func (t *Teller) left(ctx context.Context, k store.Key) {
	if !t.Followed(ctx, k) {
		t.unfollowed(k)
	}
}

// Events tells the live followers of a stream about events that are durable.
// After the end nobody follows the stream any more, but who still pages.
func (t *Teller) Events(ctx context.Context, s *store.State, events ...store.Event) {
	subs := t.subscribers(ctx, s.Key)
	if len(subs) == 0 || len(events) == 0 {
		return
	}
	messages := make([][]byte, len(events))
	ended := false
	for i := range events {
		m := Message(s.ID, s.Accepted, &events[i])
		messages[i] = m.Append(make([]byte, 0, 128+len(events[i].Data)))
		ended = ended || events[i].Kind == store.Result || events[i].Kind == store.Error
	}
	for i := range subs {
		if subs[i].Live {
			t.post(ctx, &subs[i], s, messages, ended)
		}
	}
}

// post sends a follower the messages, or ends its liveness when it is behind.
func (t *Teller) post(ctx context.Context, sub *store.Subscription, s *store.State, messages [][]byte, ended bool) {
	a := Address{sub.Tenant, sub.Connection}
	err := t.poster.Post(a, messages...)
	switch {
	case errors.Is(err, ErrFull):
		pages := *sub
		pages.Live = false
		if _, err := t.subs.Subscribe(ctx, pages); err != nil {
			t.log.Warn("a follower could not be set to paging", "id", s.ID, "error", err)
		}
		lag := wire.ServerMessage{Type: wire.TypeLag, ID: s.ID, LastSeq: s.LastSeq}
		err = t.poster.Put(a, Slot{s.ID, wire.TypeLag}, lag.Append(nil))
	case err == nil && ended:
		_, _ = t.subs.Unsubscribe(ctx, sub.Tenant, sub.Stream, sub.Connection)
	}
	if errors.Is(err, ErrGone) {
		_ = t.Leave(ctx, a)
	}
}

// Progress tells all followers the newest progress.
func (t *Teller) Progress(ctx context.Context, k store.Key, p *store.Progress) {
	subs := t.subscribers(ctx, k)
	if len(subs) == 0 {
		return
	}
	m := ProgressMessage(k.ID, p)
	message := m.Append(make([]byte, 0, 160+len(p.Message)))
	for i := range subs {
		a := Address{subs[i].Tenant, subs[i].Connection}
		if err := t.poster.Put(a, Slot{k.ID, wire.TypeProgress}, message); errors.Is(err, ErrGone) {
			_ = t.Leave(ctx, a)
		}
	}
}

func (t *Teller) subscribers(ctx context.Context, k store.Key) []store.Subscription {
	subs, err := t.subs.Subscribers(ctx, k.Tenant, k.ID)
	if err != nil {
		t.log.Warn("followers could not be read", "id", k.ID, "error", err)
	}
	return subs
}
