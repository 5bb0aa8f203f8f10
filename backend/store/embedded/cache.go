package embedded

import "github.com/pay-theory/streamer/backend/store"

// Bounds of the writer's cache: about 16 MiB when all is full.
const (
	cacheEntries = 8192
	cacheInput   = 1024 // bytes of an input with its metadata
)

// cache holds requests that have not ended as the writer's transaction sees
// them, so that a transition needs no reading. Entries are never changed, only
// replaced. It is emptied whenever a transaction is rolled back.
type cache map[store.Key]*entry

// putEntry adds or replaces an entry, or takes it out if the request has ended. A
// full cache loses any one entry for it.
func (c cache) putEntry(e *entry) {
	if e.state.Status.Ended() {
		delete(c, e.state.Key)
		return
	}
	if _, ok := c[e.state.Key]; !ok && len(c) >= cacheEntries {
		for key := range c {
			delete(c, key)
			break
		}
	}
	c[e.state.Key] = e
}
