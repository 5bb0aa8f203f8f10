package quota

import (
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"go.uber.org/goleak"
	"pgregory.net/rapid"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// The pool is never overdrawn, a tenant that holds nothing gets a place unless
// others hold all, and a released place can be reserved again.
func TestPool(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		size := rapid.Int64Range(1, 200).Draw(t, "size")
		p := NewPool(int(size))
		shares := make([]Share, 4)
		var held [4][]int64
		var own [4]int64
		used := int64(0)
		for range rapid.IntRange(0, 500).Draw(t, "steps") {
			i := rapid.IntRange(0, len(shares)-1).Draw(t, "tenant")
			if last := len(held[i]) - 1; rapid.Bool().Draw(t, "give") && last >= 0 {
				n := held[i][last]
				held[i] = held[i][:last]
				p.Release(&shares[i], n)
				used, own[i] = used-n, own[i]-n
				continue
			}
			n := rapid.Int64Range(1, 5).Draw(t, "places")
			// One by one, each would have been fair.
			want := used+n <= size
			for j := range n {
				want = want && own[i]+j < ShareFactor*(size-used-j)
			}
			require.Equal(t, want, p.Reserve(&shares[i], n))
			if want {
				held[i] = append(held[i], n)
				used, own[i] = used+n, own[i]+n
			}
			require.LessOrEqual(t, used, size)
		}
		require.Equal(t, used, p.used.Load())
		for i := range shares {
			require.Equal(t, own[i] == 0, shares[i].IsEmpty())
		}
	})
}

// The first tenant gets four fifths of the pool, the next one four fifths of the
// rest.
func TestShares(t *testing.T) {
	p := NewPool(10_000)
	var shares [3]Share
	for i, want := range []int{8_000, 1_600, 320} {
		got := 0
		for p.Reserve(&shares[i], 1) {
			got++
		}
		require.Equal(t, want, got)
	}
	require.True(t, p.Reserve(nil, 1), "places without a share count, and have no fair share")
	require.EqualValues(t, 9_921, p.used.Load())
	full := NewPool(3)
	require.False(t, full.Reserve(nil, 4), "all or none")
	require.True(t, full.Reserve(nil, 3))
	require.False(t, full.Reserve(nil, 1))
	require.EqualValues(t, 3, full.used.Load())
}

func TestPoolIsSafe(t *testing.T) {
	p := NewPool(50)
	var shares [4]Share
	var tenants sync.WaitGroup
	for i := range shares {
		for range 4 {
			tenants.Go(func() {
				for range 2_000 {
					if p.Reserve(&shares[i], 1) {
						if p.used.Load() > 50+16 { // calls that are being refused count for a moment
							t.Error("overdrawn")
						}
						p.Release(&shares[i], 1)
					}
				}
			})
		}
	}
	tenants.Wait()
	require.Zero(t, p.used.Load())
}

// However its calls meet, one tenant does not get more than its fair share.
func TestSharesHoldTogether(t *testing.T) {
	for range 2000 {
		p, s := NewPool(100), &Share{}
		var got atomic.Int64
		var callers sync.WaitGroup
		for range 8 {
			callers.Go(func() {
				for range 12 {
					if p.Reserve(s, 1) {
						got.Add(1)
					}
				}
			})
		}
		callers.Wait()
		require.LessOrEqual(t, got.Load(), int64(80), "the only active tenant gets four places in five")
	}
}

var noon = time.Date(2026, 7, 1, 12, 0, 0, 0, time.UTC)

func TestRate(t *testing.T) {
	r := NewRate(10)
	require.True(t, r.IsFull(noon))
	for range 10 {
		require.Zero(t, r.Take(noon), "a second's worth at once")
	}
	require.False(t, r.IsFull(noon))
	require.Equal(t, 100*time.Millisecond, r.Take(noon))
	require.Equal(t, 100*time.Millisecond, r.Take(noon), "a refused event costs nothing")
	require.Equal(t, 30*time.Millisecond, r.Take(noon.Add(70*time.Millisecond)))
	require.Zero(t, r.Take(noon.Add(100*time.Millisecond)))
	require.NotZero(t, r.Take(noon.Add(100*time.Millisecond)))
	later := noon.Add(time.Hour)
	require.True(t, r.IsFull(later), "rest does not add up beyond a second")
	for range 10 {
		require.Zero(t, r.Take(later))
	}
	require.NotZero(t, r.Take(later))
	require.Zero(t, r.Take(noon), "a clock that was set back leaves no debt")
}

func TestDebt(t *testing.T) {
	r := NewRate(10)
	for range 10 {
		wait, deep := r.Debit(noon)
		require.Zero(t, wait)
		require.False(t, deep)
	}
	for i := range 10 {
		wait, deep := r.Debit(noon)
		require.Equal(t, time.Duration(i+1)*100*time.Millisecond, wait)
		require.False(t, deep)
	}
	wait, deep := r.Debit(noon)
	require.Equal(t, 1100*time.Millisecond, wait)
	require.True(t, deep, "the debt does not grow further")
	_, deep = r.Debit(noon.Add(100 * time.Millisecond))
	require.False(t, deep)
	wait, _ = r.Debit(noon.Add(3 * time.Second))
	require.Zero(t, wait)
}

func TestNoLimit(t *testing.T) {
	var none *Rate
	for _, r := range []*Rate{none, {}, NewRate(0), NewRate(-1)} {
		for range 1000 {
			require.Zero(t, r.Take(noon))
			wait, deep := r.Debit(noon)
			require.Zero(t, wait)
			require.False(t, deep)
		}
		require.True(t, r.IsFull(noon))
	}
}

// In any second no more than twice the rate gets through, and over a long time
// the rate itself.
func TestRateHolds(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		perSecond := rapid.IntRange(1, 1_000_000).Draw(t, "rate")
		r := NewRate(perSecond)
		var passed []time.Time
		now := noon
		for range rapid.IntRange(1, 300).Draw(t, "events") {
			now = now.Add(time.Duration(rapid.Int64Range(0, int64(4*time.Second)/int64(perSecond)).Draw(t, "gap")))
			if r.Take(now) == 0 {
				passed = append(passed, now)
			}
		}
		for i := range passed {
			n := 0
			for _, at := range passed[i:] {
				if at.Sub(passed[i]) < time.Second {
					n++
				}
			}
			require.LessOrEqual(t, n, 2*perSecond)
		}
		most := float64(perSecond) * (1 + now.Sub(noon).Seconds()) * 1.01
		require.LessOrEqual(t, float64(len(passed)), most+1)
	})
}

func BenchmarkTake(b *testing.B) {
	p := NewPool(1 << 30)
	var s Share
	r := NewRate(1 << 30)
	b.RunParallel(func(pb *testing.PB) {
		for pb.Next() {
			if p.Reserve(&s, 1) {
				p.Release(&s, 1)
			}
			r.Take(noon)
		}
	})
}
