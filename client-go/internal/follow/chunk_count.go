package follow

// chunkCount counts the chunks that a reader has returned and that are not
// discarded. What an attempt mark keeps is never discarded later, because keep
// never decreases. So only the seqs of the chunks after the newest mark are
// needed, and these are consecutive.
type chunkCount struct {
	kept        int
	first, last uint64 // the chunks after the newest mark; first is 0 if there are none
}

func (c *chunkCount) sinceMark() int {
	if c.first == 0 {
		return 0
	}
	return int(c.last - c.first + 1)
}

func (c *chunkCount) total() int { return c.kept + c.sinceMark() }

// addChunk counts a chunk.
func (c *chunkCount) addChunk(seq uint64) {
	if c.first != 0 && seq == c.last+1 {
		c.last = seq
		return
	}
	c.kept += c.sinceMark()
	c.first, c.last = seq, seq
}

// discardAfter removes the chunks after keep and returns how many they were.
func (c *chunkCount) discardAfter(keep uint64) (n int) {
	switch {
	case c.first == 0 || keep >= c.last:
	case keep < c.first:
		n = c.sinceMark()
	default:
		n = int(c.last - keep)
	}
	c.kept += c.sinceMark() - n
	c.first, c.last = 0, 0
	return n
}

// reset removes all chunks and returns how many they were.
func (c *chunkCount) reset() (n int) {
	n = c.total()
	*c = chunkCount{}
	return n
}
