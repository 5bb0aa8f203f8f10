package e2e

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"net/http"
	"slices"
	"strings"
	"sync"
	"testing"
	"text/tabwriter"
	"time"

	"github.com/pay-theory/streamer/client-go"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

// mostGrowth is by how many bytes the server may grow during one attack. It is
// generous: the race detector multiplies memory, and garbage counts.
const mostGrowth = 192 << 20

// attack is what one attacker does. It returns, for people, what that got; what
// must not be it fails.
type attack struct {
	name string
	run  func(a *assault) string
}

// assault is an attack while it goes on.
type assault struct {
	*testing.T
	*attacked
	// token is the attacker's own, of a tenant of her own.
	token string
	// others are who must not notice.
	others *neighbour
}

// othersCall waits until the others have made some more calls.
func (a *assault) othersCall() {
	a.Helper()
	a.others.await(a.T, a.others.calls()+fewCalls)
}

var attacks = slices.Concat(floods, slowAttacks, frameAttacks, tokenAttacks, isolationAttacks)

// A real server, a process of its own, is attacked in every way that its
// authors could think of. Each attack gets what it deserves, the server's
// memory stays within bounds, and all the while another user calls, who must
// not notice: each of their calls succeeds. Nothing is asserted of how fast.
func TestAttack(t *testing.T) {
	if testing.Short() {
		t.Skip("takes half a minute")
	}
	s := startAttacked(t)
	n := newNeighbour(t, s)
	n.await(t, 500)
	before := n.window()
	var table strings.Builder
	w := tabwriter.NewWriter(&table, 0, 0, 2, ' ', 0)
	_, _ = fmt.Fprintf(w, "ATTACK\tWHAT IT GOT\tSERVER, MB\tOTHERS: CALLS\tp50\t× calm\tp99\t× calm\n")
	_, _ = fmt.Fprintf(w, "(none)\t\t%s\t%s\n", megabytes(s.memory()), before.columns(before))
	for i, at := range attacks {
		t.Run(at.name, func(t *testing.T) {
			a := &assault{t, s, s.mint(fmt.Sprintf("mallory-%d", i), "mallory"), n}
			_ = n.window()
			grown := watchMemory(s)
			got := at.run(a)
			first, peak := grown()
			during := n.window()
			require.NoError(t, during.err, "another user's call has failed")
			require.Less(t, peak-first, int64(mostGrowth), "the server has grown by too much")
			a.served()
			_, _ = fmt.Fprintf(w, "%s\t%s\t%s → %s\t%s\n", at.name, got, megabytes(first), megabytes(peak), during.columns(before))
		})
	}
	n.quit()
	s.stop(t)
	require.NoError(t, w.Flush())
	t.Logf("other users' calls while somebody attacks; calm is before the first attack\n%s", &table)
	s.requireNoSecrets(t)
}

// served asserts that the attacker herself is served as soon as she behaves.
func (a *assault) served() {
	a.Helper()
	require.EventuallyWithT(a, func(c *assert.CollectT) {
		p, err := a.open(a.token)
		require.NoError(c, err)
		defer func() { _ = p.Close() }()
		require.NoError(c, p.writeText(`{"type":"ping"}`))
		m, err := p.next()
		require.NoError(c, err)
		require.Equal(c, "pong", m.Type)
	}, waitFor, 50*time.Millisecond, "no client is served any more")
}

// dial opens a socket that the attack needs.
func (a *assault) dial(token string, message ...any) *rawSocket {
	a.Helper()
	p, err := a.open(token)
	require.NoError(a, err, message...)
	a.Cleanup(func() { _ = p.Close() })
	return p
}

func (a *assault) send(p *rawSocket, format string, args ...any) {
	a.Helper()
	require.NoError(a, p.writeText(format, args...))
}

func (a *assault) write(p *rawSocket, b []byte) {
	a.Helper()
	_, err := p.Write(b)
	require.NoError(a, err)
}

func (a *assault) next(p *rawSocket) reply {
	a.Helper()
	m, err := p.next()
	require.NoError(a, err)
	return m
}

// countReplies reads n messages, and counts them.
func (a *assault) countReplies(p *rawSocket, n int, got *outcomeCounts) {
	a.Helper()
	for range n {
		m := a.next(p)
		got.add(m.kind())
	}
}

// withSockets does something with four sockets at the same time.
func (a *assault) withSockets(do func(p *rawSocket)) {
	var running sync.WaitGroup
	for range 4 {
		p := a.dial(a.token)
		running.Go(func() { do(p) })
	}
	running.Wait()
}

func (a *assault) roundTrip(p *rawSocket, format string, args ...any) reply {
	a.Helper()
	a.send(p, format, args...)
	return a.next(p)
}

func megabytes(n int64) string {
	if n == 0 {
		return "?"
	}
	return fmt.Sprintf("%d", n>>20)
}

// watchMemory returns a function that ends the watch, and returns the memory at
// the start and the most there was.
func watchMemory(s *attacked) func() (first, peak int64) {
	first := s.memory()
	peak := first
	ctx, quit := context.WithCancel(context.Background())
	var watching sync.WaitGroup
	watching.Go(func() {
		for pause(ctx, 10*time.Millisecond) {
			peak = max(peak, s.memory())
		}
	})
	return func() (int64, int64) {
		quit()
		watching.Wait()
		return first, max(peak, s.memory())
	}
}

type outcomeCounts struct {
	mu  sync.Mutex
	got map[string]int
}

func (c *outcomeCounts) add(what string) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.got == nil {
		c.got = map[string]int{}
	}
	c.got[what]++
}

// note counts what an error says: a refused handshake, or the end of a
// connection.
func (c *outcomeCounts) note(err error) {
	var refused *refusal
	var end closed
	switch {
	case err == nil:
		c.add("ok")
	case errors.As(err, &refused), errors.As(err, &end):
		c.add(err.Error())
	default:
		c.add("cut off")
	}
}

func (c *outcomeCounts) count(what string) int {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.got[what]
}

func (c *outcomeCounts) String() string {
	c.mu.Lock()
	defer c.mu.Unlock()
	var parts []string
	for _, what := range slices.Sorted(maps.Keys(c.got)) {
		parts = append(parts, fmt.Sprintf("%d × %s", c.got[what], what))
	}
	return strings.Join(parts, ", ")
}

// neighbour is another user, of another tenant, who does what users do, with
// the real client: calls that are answered at once, calls that are stored, and
// now and then a new connection.
type neighbour struct {
	*attacked
	bearer string
	client *client.Client
	quit   func()

	mu   sync.Mutex
	seen window
}

// window is what a neighbour has seen for a while.
type window struct {
	took []time.Duration
	err  error
}

func newNeighbour(t *testing.T, s *attacked) *neighbour {
	t.Helper()
	n := &neighbour{attacked: s, bearer: s.mint("acme", "ann")}
	var err error
	n.client, err = client.New("ws://"+s.address, &client.Options{Header: http.Header{"Authorization": {"Bearer " + n.bearer}}})
	require.NoError(t, err)
	ctx, cancel := context.WithCancel(t.Context())
	var calling sync.WaitGroup
	calling.Go(func() {
		for i := 0; pause(ctx, time.Millisecond); i++ {
			n.call(ctx, i)
		}
	})
	n.quit = sync.OnceFunc(func() {
		cancel()
		calling.Wait()
		_ = n.client.Close(context.Background())
	})
	t.Cleanup(n.quit)
	return n
}

// call does the i-th thing, and notes what it has seen. How long that may take
// only catches what hangs.
func (n *neighbour) call(ctx context.Context, i int) {
	limited, cancel := context.WithTimeout(ctx, 5*waitFor)
	defer cancel()
	begun := time.Now()
	var err error
	switch {
	case i%50 == 49:
		var p *rawSocket
		if p, err = n.open(n.bearer); err == nil {
			err = p.Close()
		}
	case i%10 == 9:
		err = n.expect(limited, "later", i)
	default:
		err = n.expect(limited, "echo", i)
	}
	if ctx.Err() != nil {
		return
	}
	n.mu.Lock()
	defer n.mu.Unlock()
	if i%50 != 49 { // a new connection is no call
		n.seen.took = append(n.seen.took, time.Since(begun))
	}
	if err != nil && n.seen.err == nil {
		n.seen.err = fmt.Errorf("call %d: %w", i, err)
	}
}

func (n *neighbour) expect(ctx context.Context, action string, i int) error {
	got, err := client.Do[json.RawMessage](ctx, n.client, action, i)
	if err == nil && string(got) != fmt.Sprint(i) {
		err = fmt.Errorf("%d came back as %s", i, got)
	}
	return err
}

// await waits until so many calls were made.
func (n *neighbour) await(t *testing.T, calls int) {
	t.Helper()
	require.Eventually(t, func() bool {
		return n.calls() >= calls
	}, 5*waitFor, 10*time.Millisecond)
}

// calls is how many were made in this window.
func (n *neighbour) calls() int {
	n.mu.Lock()
	defer n.mu.Unlock()
	return len(n.seen.took)
}

// window returns what was seen since the last time.
func (n *neighbour) window() window {
	n.mu.Lock()
	defer n.mu.Unlock()
	seen := n.seen
	n.seen = window{}
	return seen
}

// quantile is one of 0..1; there are some calls.
func (w *window) quantile(q float64) time.Duration {
	sorted := slices.Sorted(slices.Values(w.took))
	return sorted[min(int(q*float64(len(sorted))), len(sorted)-1)]
}

// fewCalls are too few for a quantile.
const fewCalls = 20

func (w *window) columns(calm window) string {
	if len(w.took) < fewCalls {
		return fmt.Sprintf("%d\t–\t–\t–\t–", len(w.took))
	}
	ratio := func(q float64) string {
		return fmt.Sprintf("%.1f", float64(w.quantile(q))/float64(max(calm.quantile(q), 1)))
	}
	round := func(d time.Duration) time.Duration { return d.Round(10 * time.Microsecond) }
	return fmt.Sprintf("%d\t%s\t%s\t%s\t%s", len(w.took), round(w.quantile(0.5)), ratio(0.5), round(w.quantile(0.99)), ratio(0.99))
}
