package server

import (
	"context"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

func TestPace(t *testing.T) {
	var p *pace
	require.False(t, p.quick(), "nothing is known")
	p = &pace{}
	for range trusted {
		require.False(t, p.quick())
		p.took(quick - 1)
	}
	require.True(t, p.quick())
	for range 100 {
		p.took(0)
	}
	for range 100 { // one in ten
		for range 9 {
			p.took(0)
		}
		p.took(time.Hour)
		require.True(t, p.quick())
	}
	for range 8 {
		p.took(time.Hour)
	}
	require.False(t, p.quick())
	for range 100 { // two in five
		for range 3 {
			p.took(0)
		}
		p.took(time.Hour)
		p.took(time.Hour)
		require.False(t, p.quick())
	}
}

type jobFunc func()

func (f jobFunc) do() { f() }

// Jobs never wait for each other, and a crew keeps no more goroutines than it
// may.
func TestCrew(t *testing.T) {
	ctx, cancel := context.WithCancel(t.Context())
	c := newCrew(ctx)
	for range 3 {
		var begun, done sync.WaitGroup
		all := make(chan struct{})
		for range 3 * maxSpare {
			begun.Add(1)
			done.Add(1)
			c.run(jobFunc(func() {
				defer done.Done()
				begun.Done()
				<-all
			}))
		}
		begun.Wait() // all at once
		close(all)
		done.Wait()
		require.LessOrEqual(t, len(c.spare), maxSpare)
	}
	cancel()
	c.busy.Wait()
}
