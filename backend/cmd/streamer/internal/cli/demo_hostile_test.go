package cli

import (
	"context"
	"encoding/json"
	"strconv"
	"testing"

	"github.com/pay-theory/streamer/client-go"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

// A hostile demo prints its seed and its faults. Calls end all the same, and the
// demo shuts down.
func TestDemoHostile(t *testing.T) {
	dir := t.TempDir()
	// This seed refuses the first handshakes, and loses no early frame, so that the
	// test does not wait for a lost answer to be sent again.
	p := startDemo(dir, "--hostile=677", "--grace", "100ms")
	url := p.out.awaitURL(t)
	token := p.out.await(t, `Token +(\S+)\n`)[1]
	p.out.await(t, `hostile .*--hostile=677 `)
	c, err := client.New(url, &client.Options{Token: func(context.Context) (string, error) { return token, nil }})
	require.NoError(t, err)
	for n := range 5 {
		got, err := client.Do[json.RawMessage](t.Context(), c, "echo", n)
		assert.NoError(t, err)
		assert.Equal(t, strconv.Itoa(n), string(got))
	}
	p.out.await(t, `✗ .*#1 → handshake  THROTTLE  answered \d+`)
	assert.NoError(t, c.Close(t.Context()))
	p.interrupt()
	p.wait(t, exitOK)

	p = startDemo(dir, "--hostile", "--quiet")
	p.out.await(t, `--hostile=\d+ `)
	p.interrupt()
	p.wait(t, exitOK)

	p = run(t, exitUsage, "demo", "--hostile=rain", "--dir", dir)
	mustContain(t, p.err.String(), "the seed must be a whole number")
	isOneLine(t, p.err.String())
}
