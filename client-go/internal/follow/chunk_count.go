package follow

// tally counts the chunks that a reader was handed and that are not void. What
// a mark keeps stays for good, since keep never falls: so only the chunks
// behind the newest mark need their seqs known, and these have no gaps.
type chunkCount struct {
	kept        int
	first, last uint64 // the run behind the newest mark; first 0: none
}

func (t *chunkCount) sinceMark() int {
	if t.first == 0 {
		return 0
	}
	return int(t.last - t.first + 1)
}

func (t *chunkCount) total() int { return t.kept + t.sinceMark() }

// add counts a chunk that is handed.
func (t *chunkCount) addChunk(seq uint64) {
	if t.first != 0 && seq == t.last+1 {
		t.last = seq
		return
	}
	t.kept += t.sinceMark()
	t.first, t.last = seq, seq
}

// void takes away the chunks behind keep and tells how many they were.
func (t *chunkCount) discardAfter(keep uint64) (n int) {
	switch {
	case t.first == 0 || keep >= t.last:
	case keep < t.first:
		n = t.sinceMark()
	default:
		n = int(t.last - keep)
	}
	t.kept += t.sinceMark() - n
	t.first, t.last = 0, 0
	return n
}

// clear takes away all and tells how many they were.
func (t *chunkCount) reset() (n int) {
	n = t.total()
	*t = chunkCount{}
	return n
}
