package deliver

import (
	"context"
	"errors"
	"log/slog"
	"sync"
	"time"

	"github.com/pay-theory/streamer/backend/internal/wire"
	"github.com/pay-theory/streamer/backend/store"
)

// Notifier sends events and progress to subscribers. It is safe for concurrent
// use.
type Notifier struct {
	subscriptions store.SubscriptionStore
	log           *slog.Logger
	outboxes      sync.Map // Address → *Outbox
}

// New returns a notifier. Subscriptions nil: in memory.
func New(subscriptions store.SubscriptionStore, log *slog.Logger) *Notifier {
	if subscriptions == nil {
		subscriptions = NewSubscriptions(nil)
	}
	return &Notifier{subscriptions: subscriptions, log: log}
}

// Open adds a connection, which can be sent to until its outbox is closed.
func (n *Notifier) Open(a Address, opt OutboxOptions) *Outbox {
	o := &Outbox{address: a, opt: opt}
	n.outboxes.Store(a, o)
	return o
}

// outbox returns a connection's; nil: it is gone.
func (n *Notifier) outbox(a Address) *Outbox {
	o, ok := n.outboxes.Load(a)
	if !ok {
		return nil
	}
	return o.(*Outbox)
}

// Disconnect closes a connection's outbox and removes all its subscriptions. It
// returns the calls with CancelAfter that have lost their last subscriber. A
// subscription that is stored at the same time is removed by Subscribe.
func (n *Notifier) Disconnect(ctx context.Context, a Address) ([]Change, error) {
	if o := n.outbox(a); o != nil {
		o.Close()
		n.outboxes.Delete(a)
	}
	dropped, err := n.subscriptions.Drop(ctx, a.Tenant, a.Connection)
	var changes []Change
	for i := range dropped {
		if c := n.afterRemoval(ctx, &dropped[i]); c != (Change{}) {
			changes = append(changes, c)
		}
	}
	return changes, err
}

// Subscribe makes a connection follow a stream, or changes how it does. The
// change is First if the stream is Watched and had no other subscriber, and Last if
// it is Watched, the connection has ended meanwhile, and no other follows it.
func (n *Notifier) Subscribe(ctx context.Context, sub store.Subscription) (Change, error) {
	sub.Since = time.Now()
	added, err := n.subscriptions.Subscribe(ctx, sub)
	if err != nil {
		return Change{}, err
	}
	if o := n.outbox(Address{sub.Tenant, sub.Connection}); o == nil {
		// The connection ended while its message was on the way. Disconnect may
		// have missed this subscription, and no other call would remove it.
		return n.unsubscribe(ctx, &sub)
	}
	if !added || !sub.Watched {
		return Change{}, nil
	}
	all, err := n.subscriptions.Subscribers(ctx, sub.Tenant, sub.Stream)
	if err != nil || len(all) != 1 {
		return Change{}, err
	}
	return Change{Key: streamKey(&sub), First: true}, nil
}

// Unsubscribe ends what Subscribe began. The change is Last if the stream was
// Watched and has no subscriber any more.
func (n *Notifier) Unsubscribe(ctx context.Context, a Address, stream string) (Change, error) {
	sub := store.Subscription{Tenant: a.Tenant, Stream: stream, Connection: a.Connection}
	all, err := n.subscriptions.Subscribers(ctx, a.Tenant, stream)
	if err != nil {
		return Change{}, err
	}
	for i := range all {
		if all[i].Connection == a.Connection {
			sub.Watched = all[i].Watched
		}
	}
	return n.unsubscribe(ctx, &sub)
}

func (n *Notifier) unsubscribe(ctx context.Context, sub *store.Subscription) (Change, error) {
	removed, err := n.subscriptions.Unsubscribe(ctx, sub.Tenant, sub.Stream, sub.Connection)
	if err != nil || !removed {
		return Change{}, err
	}
	return n.afterRemoval(ctx, sub), nil
}

func (n *Notifier) afterRemoval(ctx context.Context, sub *store.Subscription) Change {
	if !sub.Watched || n.HasSubscribers(ctx, streamKey(sub)) {
		return Change{}
	}
	return Change{Key: streamKey(sub), Last: true}
}

func streamKey(sub *store.Subscription) store.Key {
	return store.Key{Tenant: sub.Tenant, ID: sub.Stream}
}

// HasSubscribers reports whether a connection follows a stream. If that is not
// known, it reports true.
func (n *Notifier) HasSubscribers(ctx context.Context, k store.Key) bool {
	all, err := n.subscriptions.Subscribers(ctx, k.Tenant, k.ID)
	return err != nil || len(all) > 0
}

// Publish sends durable events to the live subscribers of their stream. After
// the end only connections that still page follow the stream.
func (n *Notifier) Publish(ctx context.Context, s *store.State, events ...store.Event) {
	if len(events) == 0 {
		return
	}
	last := events[len(events)-1].Kind
	ended := last == store.Result || last == store.Error
	read := n.subscriptions.Subscribers
	if ended {
		read = n.subscriptions.End
	}
	all, err := read(ctx, s.Tenant, s.ID)
	if err != nil {
		n.log.Warn("subscribers could not be read", "id", s.ID, "error", err)
		return
	}
	var messages [][]byte
	for i := range all {
		if !all[i].Live {
			continue
		}
		o := n.outbox(Address{all[i].Tenant, all[i].Connection})
		if o == nil {
			continue
		}
		if messages == nil {
			messages = encode(s, events)
		}
		if err := o.Append(messages...); errors.Is(err, ErrFull) {
			n.sendLag(ctx, o, s)
		}
	}
}

func encode(s *store.State, events []store.Event) [][]byte {
	messages := make([][]byte, len(events))
	for i := range events {
		m := Message(s.ID, s.Accepted, &events[i])
		messages[i] = m.Append(make([]byte, 0, 128+len(events[i].Data)))
	}
	return messages
}

// sendLag makes a subscriber that is behind page the events. After the end it has no
// subscription any more, and needs none to page.
func (n *Notifier) sendLag(ctx context.Context, o *Outbox, s *store.State) {
	if err := n.subscriptions.Pause(ctx, s.Tenant, s.ID, o.address.Connection); err != nil {
		n.log.Warn("a subscription could not be set to paging", "id", s.ID, "error", err)
	}
	lag := wire.ServerMessage{Type: wire.TypeLag, ID: s.ID, LastSeq: s.LastSeq}
	_ = o.Put(CoalesceKey{s.ID, wire.TypeLag}, lag.Append(nil))
}

// progress sends progress to all subscribers, live or not.
func (n *Notifier) progress(ctx context.Context, k store.Key, p *store.Progress) {
	all, err := n.subscriptions.Subscribers(ctx, k.Tenant, k.ID)
	if err != nil {
		n.log.Warn("subscribers could not be read", "id", k.ID, "error", err)
	}
	if len(all) == 0 {
		return
	}
	m := ProgressMessage(k.ID, p)
	data := m.Append(make([]byte, 0, 160+len(p.Message)))
	for i := range all {
		if o := n.outbox(Address{all[i].Tenant, all[i].Connection}); o != nil {
			_ = o.Put(CoalesceKey{k.ID, wire.TypeProgress}, data)
		}
	}
}
