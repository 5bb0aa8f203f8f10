package server_test

import (
	"bytes"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"

	"github.com/pay-theory/streamer/backend/internal/wire"
	"github.com/pay-theory/streamer/backend/server"
	"github.com/stretchr/testify/require"
)

// wrapped is the ResponseWriter of a usual middleware, which has no Hijack.
type wrapped struct{ http.ResponseWriter }

func (w wrapped) Unwrap() http.ResponseWriter { return w.ResponseWriter }

// hidden is one of a middleware that has no Unwrap either.
type hidden struct{ http.ResponseWriter }

func TestUpgradeBehindMiddleware(t *testing.T) {
	var log bytes.Buffer
	h := start(t, server.Options{Logger: slog.New(slog.NewTextHandler(&log, nil))})
	serve := func(middleware func(http.ResponseWriter) http.ResponseWriter) {
		web := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			h.server.Handler().ServeHTTP(middleware(w), r)
		}))
		t.Cleanup(web.Close)
		h.url = "ws" + strings.TrimPrefix(web.URL, "http")
	}
	serve(func(w http.ResponseWriter) http.ResponseWriter { return wrapped{wrapped{w}} })
	h.dial("ann").pings()

	serve(func(w http.ResponseWriter) http.ResponseWriter { return hidden{w} })
	status, code, _ := h.refused(bearer("ann"))
	require.Equal(t, http.StatusInternalServerError, status)
	require.Equal(t, wire.CodeUnavailable, code)
	require.Contains(t, log.String(), "it needs Hijack or Unwrap")
}
