package servertest

import "math/rand/v2"

// verdict is what befalls a frame, a handshake or a close; the zero value:
// nothing.
type verdict struct {
	fault Fault
	// part is a random number from 0 to 1 for what is left to chance in the
	// fault, such as for how long.
	part float64
}

// roll decides by chance. It depends on nothing but its arguments, so that a
// seed decides the same of the same frame, whatever happened before.
func roll(seed uint64, rates Faults, at moment, conn int, from Side, n int) verdict {
	key := uint64(at)
	for _, b := range []byte(from) {
		key = key<<8 | uint64(b)
	}
	dice := rand.New(rand.NewPCG(scatter(seed^key), scatter(uint64(conn)<<32^uint64(n))))
	u, part := dice.Float64(), dice.Float64()
	for _, fault := range order[at] {
		if u -= rates[fault]; u < 0 {
			return verdict{fault, part}
		}
	}
	return verdict{part: part}
}

// scatter spreads neighbours over all numbers (the finalizer of SplitMix64).
func scatter(x uint64) uint64 {
	x += 0x9e3779b97f4a7c15
	x = (x ^ x>>30) * 0xbf58476d1ce4e5b9
	x = (x ^ x>>27) * 0x94d049bb133111eb
	return x ^ x>>31
}
