package memory

import "github.com/pay-theory/streamer/backend/store"

// ConnectionCount returns the number of stored connections, expired or not.
func (s *Store) ConnectionCount() int { return len(s.connections) }

// PlantOrphan stores a segment that no state covers, as a worker can leave it
// that was fenced, or crashed, between writing a body and its state.
func (s *Store) PlantOrphan(key store.Key, fence uint64, g store.Segment) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if r := s.requests[key]; r != nil {
		r.segments = append(r.segments, cloneSegment(&g, fence))
	}
}
