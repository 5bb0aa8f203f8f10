package memory

import "github.com/pay-theory/streamer/backend/store"

// ConnectionCount returns how many connections are held, expired or not.
func (s *Store) ConnectionCount() (n int) {
	for i := range s.connections {
		n += len(s.connections[i].m)
	}
	return n
}

// PlantOrphan stores a segment that no state makes true: what a worker leaves
// that was fenced, or died, between a body and its state.
func (s *Store) PlantOrphan(key store.Key, fence uint64, g store.Segment) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if r := s.requests[key]; r != nil {
		r.segments = append(r.segments, cloneSegment(&g, fence))
	}
}
