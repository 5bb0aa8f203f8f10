package server

import (
	"context"
	"net/http"
	"time"

	"github.com/pay-theory/streamer/backend/internal/wire"
	"github.com/pay-theory/streamer/backend/store"
)

// newMux returns a mux that answers /healthz and /readyz.
func (s *Server) newMux() *http.ServeMux {
	mux := http.NewServeMux()
	mux.HandleFunc("GET /healthz", s.health)
	mux.HandleFunc("GET /readyz", s.ready)
	return mux
}

// health says that the process answers.
func (s *Server) health(w http.ResponseWriter, _ *http.Request) {
	w.Header().Set("Content-Type", "text/plain; charset=utf-8")
	_, _ = w.Write([]byte("ok\n"))
}

// ready says whether calls can be taken: it asks the store.
func (s *Server) ready(w http.ResponseWriter, r *http.Request) {
	if s.draining.Load() {
		refuse(w, http.StatusServiceUnavailable, wire.CodeUnavailable, shuttingDown)
		return
	}
	ctx, cancel := context.WithTimeout(r.Context(), 5*time.Second)
	defer cancel()
	if checker, ok := s.options.Queue.(store.Checker); ok {
		if err := checker.Check(ctx); err != nil {
			s.options.Logger.Warn("not ready", "error", err)
			refuse(w, http.StatusServiceUnavailable, wire.CodeUnavailable, "the store cannot be written")
			return
		}
	}
	s.health(w, r)
}
