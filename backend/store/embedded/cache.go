package embedded

import "github.com/pay-theory/streamer/backend/store"

// Bounds of the writer's cache. A full one takes about 16 MiB.
const (
	cacheEntries = 8192
	cacheInput   = 1024 // bytes of an input and its metadata
)

// cache holds requests that have not ended, as the writer's transaction sees
// them, so that a transition needs no read. Entries are never changed, only
// replaced. It is cleared whenever a transaction is rolled back.
type cache map[store.Key]*entry

// putEntry adds or replaces an entry, or deletes it if the request has ended. A
// full cache drops an arbitrary entry first.
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
