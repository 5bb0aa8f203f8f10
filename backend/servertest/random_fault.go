package servertest

import (
	"math/rand/v2"
	"time"
)

// verdict is the fault of a frame, a handshake or a close; the zero value: none.
type verdict struct {
	fault Fault
	// part is a random number from 0 to 1 for the random parameter of the fault,
	// such as its duration.
	part float64
	// last is the scripted fault that ends with this verdict, or nil.
	last *rule
}

// partOf returns the randomly chosen part of a duration.
func (v verdict) partOf(d time.Duration) time.Duration {
	return time.Duration(float64(d) * v.part).Round(time.Millisecond)
}

// done reports to the test that the fault has been applied.
func (v verdict) done() {
	if v.last != nil {
		close(v.last.done)
	}
}

// randomFault chooses a fault at random. The result depends only on the seed, the
// rates, and the numbers and side of the occasion, so a seed chooses the same fault
// for the same frame, regardless of earlier ones.
func randomFault(seed uint64, rates Faults, o *occasion) verdict {
	key := uint64(o.at)
	for _, b := range []byte(o.from) {
		key = key<<8 | uint64(b)
	}
	random := rand.New(rand.NewPCG(scatter(seed^key), scatter(uint64(o.conn)<<32^uint64(o.n))))
	u, part := random.Float64(), random.Float64()
	for _, fault := range order[o.at] {
		if u -= rates[fault]; u < 0 {
			return verdict{fault: fault, part: part}
		}
	}
	return verdict{part: part}
}

// scatter hashes x with the finalizer of SplitMix64.
func scatter(x uint64) uint64 {
	x += 0x9e3779b97f4a7c15
	x = (x ^ x>>30) * 0xbf58476d1ce4e5b9
	x = (x ^ x>>27) * 0x94d049bb133111eb
	return x ^ x>>31
}
