package load

import (
	"bytes"
	"fmt"
	"time"
)

// Centrifuge subscribes to a channel of a centrifuge server in its JSON
// protocol, and hands the number in each publication to take, with the time in
// Unix nanoseconds, until take returns true. subscribed is called when the
// server has confirmed it. An empty channel: it connects, and returns.
func Centrifuge(c *Conn, channel string, subscribed func(), take func(at, number int64) bool) error {
	return c.Exchange([]byte(`{"id":1,"connect":{}}`), func(frame []byte) (bool, error) {
		at := time.Now().UnixNano()
		// A frame holds a message on each line.
		for line := range bytes.Lines(frame) {
			holds := func(key string) bool { return bytes.Contains(line, []byte(key)) }
			switch {
			case holds(`"error":{`):
				return false, fmt.Errorf("the server answered %.200s", line)
			case holds(`"connect":{`) && channel == "":
				return true, nil
			case holds(`"connect":{`):
				if err := c.Send(fmt.Appendf(nil, `{"id":2,"subscribe":{"channel":%q}}`, channel)); err != nil {
					return false, err
				}
			case holds(`"subscribe":{`):
				subscribed()
			default:
				_, data, found := bytes.Cut(line, []byte(`"data":`))
				if found && take(at, leadingNumber(data)) {
					return true, nil
				}
			}
		}
		return false, nil
	})
}
