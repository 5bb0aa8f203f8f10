package memory

// Size tells how many connections and subscriptions are held, expired or not.
func (s *Store) Size() (n int) {
	for i := range s.connections {
		n += len(s.connections[i].m)
	}
	for i := range s.streams {
		for _, a := range s.streams[i].m {
			n += len(a.by)
		}
	}
	return n
}
