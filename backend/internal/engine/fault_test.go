package engine

import (
	"sync/atomic"
	"time"

	"github.com/pay-theory/streamer/backend/store"
	"github.com/pay-theory/streamer/backend/store/faultstore"
)

// before calls a function before each call of an operation, which fails with its
// error.
func before(which faultstore.Op, do func() error) faultstore.Hooks {
	return faultstore.Hooks{Before: func(op faultstore.Op, _ store.Key) error {
		if op != which {
			return nil
		}
		return do()
	}}
}

// after calls a function after each success of an operation, whose reply is lost
// if it returns an error.
func after(which faultstore.Op, do func() error) faultstore.Hooks {
	return faultstore.Hooks{After: faultstore.AfterSuccess(before(which, do).Before)}
}

func unavailable(yes bool) error {
	if yes {
		return store.ErrUnavailable
	}
	return nil
}

// fails has an operation fail while a condition holds.
func fails(which faultstore.Op, broken func() bool) faultstore.Hooks {
	return before(which, func() error { return unavailable(broken()) })
}

// holds has an operation wait until the store is open.
func holds(which faultstore.Op, open *atomic.Bool) faultstore.Hooks {
	return before(which, func() error {
		for !open.Load() {
			<-time.After(time.Millisecond) // fake
		}
		return nil
	})
}

// slowly delays an operation.
func slowly(d time.Duration, which faultstore.Op) faultstore.Hooks {
	return before(which, func() error {
		<-time.After(d) // fake
		return nil
	})
}

// losesReply loses the reply to the first success of an operation.
func losesReply(which faultstore.Op) faultstore.Hooks {
	var lost atomic.Bool
	return after(which, func() error { return unavailable(!lost.Swap(true)) })
}
