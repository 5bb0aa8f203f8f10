package servertest

import "math/rand/v2"

// verdict is the fault of a frame, a handshake or a close; the zero value: none.
type verdict struct {
	fault Fault
	// part is a random number from 0 to 1 for the random parameter of the fault,
	// such as its duration.
	part float64
}

// randomFault chooses a fault at random. The result depends only on the arguments,
// so a seed chooses the same fault for the same frame, regardless of earlier ones.
func randomFault(seed uint64, rates Faults, at moment, conn int, from Side, n int) verdict {
	key := uint64(at)
	for _, b := range []byte(from) {
		key = key<<8 | uint64(b)
	}
	random := rand.New(rand.NewPCG(scatter(seed^key), scatter(uint64(conn)<<32^uint64(n))))
	u, part := random.Float64(), random.Float64()
	for _, fault := range order[at] {
		if u -= rates[fault]; u < 0 {
			return verdict{fault, part}
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
