package follow

// tally counts the chunks that a reader was handed and that are not void. What
// a mark keeps stays for good, since keep never falls: so only the chunks
// behind the newest mark need their seqs known, and these have no gaps.
type tally struct {
	settled     int
	first, last uint64 // the run behind the newest mark; first 0: none
}

func (t *tally) run() int {
	if t.first == 0 {
		return 0
	}
	return int(t.last - t.first + 1)
}

func (t *tally) total() int { return t.settled + t.run() }

// add counts a chunk that is handed.
func (t *tally) add(seq uint64) {
	if t.first != 0 && seq == t.last+1 {
		t.last = seq
		return
	}
	t.settled += t.run()
	t.first, t.last = seq, seq
}

// void takes away the chunks behind keep and tells how many they were.
func (t *tally) void(keep uint64) (n int) {
	switch {
	case t.first == 0 || keep >= t.last:
	case keep < t.first:
		n = t.run()
	default:
		n = int(t.last - keep)
	}
	t.settled += t.run() - n
	t.first, t.last = 0, 0
	return n
}

// clear takes away all and tells how many they were.
func (t *tally) clear() (n int) {
	n = t.total()
	*t = tally{}
	return n
}
