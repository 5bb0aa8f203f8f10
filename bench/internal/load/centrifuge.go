package load

import (
	"bytes"
	"fmt"
	"time"
)

var (
	connectReply   = []byte(`"connect":{`)
	subscribeReply = []byte(`"subscribe":{`)
	dataKey        = []byte(`"data":`)
	errorKey       = []byte(`"error":{`)
	centrifugePing = []byte(`{}`)
)

// Centrifuge subscribes to a channel of a centrifuge server in its JSON
// protocol, and hands the digits of each publication to take, with the time in
// Unix nanoseconds, until take returns true. subscribed is called when the
// server has said that it is. An empty channel: it connects alone, and answers
// pings until the connection is closed.
func Centrifuge(c *Conn, channel string, subscribed func(), take func(at int64, data []byte) bool) error {
	return c.Ask([]byte(`{"id":1,"connect":{}}`), func(frame []byte) (bool, error) {
		at := time.Now().UnixNano()
		// A frame holds a message on each line.
		for line := range bytes.Lines(frame) {
			switch line = bytes.TrimSpace(line); {
			case bytes.Equal(line, centrifugePing):
				if err := c.Send(centrifugePing); err != nil {
					return false, err
				}
			case bytes.Contains(line, errorKey):
				return false, fmt.Errorf("the server answered %.200s", line)
			case bytes.Contains(line, connectReply) && channel == "", bytes.Contains(line, subscribeReply):
				subscribed()
			case bytes.Contains(line, connectReply):
				if err := c.Send(fmt.Appendf(nil, `{"id":2,"subscribe":{"channel":%q}}`, channel)); err != nil {
					return false, err
				}
			default:
				_, data, found := bytes.Cut(line, dataKey)
				n := 0
				for n < len(data) && '0' <= data[n] && data[n] <= '9' {
					n++
				}
				if found && take(at, data[:n]) {
					return true, nil
				}
			}
		}
		return false, nil
	})
}
