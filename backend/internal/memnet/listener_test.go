package memnet

import (
	"context"
	"errors"
	"io"
	"net"
	"net/http"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"go.uber.org/goleak"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

func TestListenerServesHTTPInABubble(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		l := NewListener()
		web := &http.Server{Handler: http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
			time.Sleep(time.Hour) // the bubble's clock advances while the client waits
			_, _ = io.WriteString(w, "served")
		})}
		done := make(chan error)
		go func() { done <- web.Serve(l) }()
		client := &http.Client{Transport: &http.Transport{DialContext: l.DialContext, DisableKeepAlives: true}}
		response, err := client.Get("http://streamer.test/")
		require.NoError(t, err)
		body, err := io.ReadAll(response.Body)
		assert.NoError(t, err)
		assert.Equal(t, "served", string(body))
		_ = response.Body.Close()
		_ = web.Close()
		assert.ErrorIs(t, <-done, http.ErrServerClosed)
	})
}

func TestClosedListener(t *testing.T) {
	l := NewListener()
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	_, err := l.DialContext(ctx, "", "")
	assert.ErrorIs(t, err, context.Canceled, "nobody accepts")
	assert.NoError(t, errors.Join(l.Close(), l.Close()))
	_, err = l.Accept()
	assert.ErrorIs(t, err, net.ErrClosed)
	_, err = l.DialContext(t.Context(), "", "")
	assert.ErrorIs(t, err, net.ErrClosed)
}
