package cli

import (
	"context"
	"encoding/json"
	"strconv"
	"strings"
	"testing"

	"github.com/pay-theory/streamer/client-go"
)

// A hostile demo prints its seed and its faults. Calls end all the same, and the
// demo shuts down.
func TestDemoHostile(t *testing.T) {
	dir := t.TempDir()
	// This seed refuses the first handshakes, and loses no early frame, so that the
	// test does not wait for a lost answer to be sent again.
	p := newProgram("").start("demo", "--port", "0", "--admin-port", "0", "--dir", dir, "--hostile=677", "--grace", "100ms")
	url := p.out.await(t, `(ws://127\.0\.0\.1:\d+)\n`)[1]
	token := p.out.await(t, `Token +(\S+)\n`)[1]
	p.out.await(t, `hostile .*--hostile=677 `)
	c, err := client.New(url, &client.Options{Token: func(context.Context) (string, error) { return token, nil }})
	if err != nil {
		t.Fatal(err)
	}
	for n := range 5 {
		if got, err := client.Do[json.RawMessage](t.Context(), c, "echo", n); err != nil || string(got) != strconv.Itoa(n) {
			t.Errorf("the result of call %d is %s, %v", n, got, err)
		}
	}
	p.out.await(t, `✗ .*#1 → handshake  THROTTLE  answered \d+`)
	if err := c.Close(t.Context()); err != nil {
		t.Error(err)
	}
	p.interrupt()
	p.wait(t, exitOK)

	p = newProgram("").start("demo", "--port", "0", "--admin-port", "0", "--dir", dir, "--hostile", "--quiet")
	p.out.await(t, `--hostile=\d+ `)
	p.interrupt()
	p.wait(t, exitOK)

	p = newProgram("").start("demo", "--hostile=rain", "--dir", dir)
	p.wait(t, exitUsage)
	mustContain(t, p.err.String(), "the seed must be a whole number")
	if strings.Count(p.err.String(), "\n") != 1 {
		t.Errorf("standard error is %q", p.err)
	}
}
