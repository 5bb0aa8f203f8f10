package follow

// chunkCount counts the chunks that a reader has returned and that are not
// discarded. What an attempt mark keeps is never discarded later, because keep
// never decreases. So only the seqs of the chunks after the newest mark are
// needed, and these are consecutive.
type chunkCount struct {
	kept      int
	sinceMark int    // the chunks after the newest mark
	last      uint64 // the seq of the last of them
}

func (c *chunkCount) total() int { return c.kept + c.sinceMark }

// addChunk counts a chunk.
func (c *chunkCount) addChunk(seq uint64) {
	if seq != c.last+1 {
		c.kept, c.sinceMark = c.total(), 0
	}
	c.sinceMark++
	c.last = seq
}

// discardAfter removes the chunks after keep and returns how many they were.
func (c *chunkCount) discardAfter(keep uint64) (n int) {
	if keep < c.last {
		n = int(min(uint64(c.sinceMark), c.last-keep))
	}
	c.kept, c.sinceMark = c.total()-n, 0
	return n
}

// reset removes all chunks and returns how many they were.
func (c *chunkCount) reset() (n int) {
	n = c.total()
	*c = chunkCount{}
	return n
}
