package traffic

import (
	"io"
	"net"
	"testing"

	"go.uber.org/goleak"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// What goes both ways counts, on all connections of a counter.
func TestCounter(t *testing.T) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = l.Close() }()
	echoed := make(chan error, 2)
	go func() {
		for range 2 {
			conn, err := l.Accept()
			if err == nil {
				_, err = io.CopyN(conn, conn, 5)
				_ = conn.Close()
			}
			echoed <- err
		}
	}()
	var c Counter
	for range 2 {
		conn, err := c.Dial("tcp", l.Addr().String())
		if err != nil {
			t.Fatal(err)
		}
		if _, err := conn.Write([]byte("hello")); err != nil {
			t.Fatal(err)
		}
		if text, err := io.ReadAll(conn); err != nil || string(text) != "hello" {
			t.Errorf("%s, %v", text, err)
		}
		_ = conn.Close()
		if err := <-echoed; err != nil {
			t.Error(err)
		}
	}
	if c.Bytes() != 20 {
		t.Errorf("%d bytes are counted, not 20", c.Bytes())
	}
}
