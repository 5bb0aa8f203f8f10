package latency

import (
	"math"
	"math/rand/v2"
	"slices"
	"testing"
	"time"

	"go.uber.org/goleak"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// Quantiles are those of the sorted values, but for the width of a bucket.
func TestQuantilesAreNearTheTruth(t *testing.T) {
	random := rand.New(rand.NewPCG(1, 2))
	for _, n := range []int{1, 2, 10, 1000, 20_000} {
		var sum, half Histogram
		values := make([]time.Duration, n)
		for i := range values {
			values[i] = time.Duration(math.Exp(random.Float64() * 24)) // 1 ns to 26 s
			if i%2 == 0 {
				sum.Record(values[i])
			} else {
				half.Record(values[i])
			}
		}
		sum.Add(&half)
		slices.Sort(values)
		if got := sum.Count(); got != uint64(n) {
			t.Fatalf("%d values were counted as %d", n, got)
		}
		if got := sum.Max(); got != values[n-1] {
			t.Errorf("the longest of %d is %v, not %v", n, values[n-1], got)
		}
		for _, q := range []float64{0, 0.5, 0.9, 0.99, 0.999, 1} {
			want := values[min(int(q*float64(n)), n-1)]
			got := sum.Quantile(q)
			if wrong := math.Abs(float64(got-want)) / float64(want); wrong > 0.016 && got-want > 1 {
				t.Errorf("quantile %v of %d is %v, not %v", q, n, want, got)
			}
		}
	}
}

// Buckets follow each other without a gap and in order.
func TestBucketsAreInOrder(t *testing.T) {
	last := -1
	for n := time.Duration(0); n < 1<<13; n++ {
		b := bucket(n)
		if b != last && b != last+1 {
			t.Fatalf("%d falls into bucket %d, the one before into %d", n, b, last)
		}
		last = b
	}
	for i := range buckets {
		if got := bucket(middle(i)); got != i {
			t.Fatalf("the middle of bucket %d lies in bucket %d", i, got)
		}
	}
}

func TestWhatIsOutOfRangeIsCounted(t *testing.T) {
	var h Histogram
	if h.Quantile(0.5) != 0 {
		t.Error("an empty histogram has quantiles")
	}
	h.Record(-time.Second)
	h.Record(time.Hour)
	if h.Count() != 2 || h.Quantile(0) != 0 || h.Quantile(1) < 68*time.Second {
		t.Errorf("count %d, quantiles %v to %v", h.Count(), h.Quantile(0), h.Quantile(1))
	}
}
