package server

import (
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"io"
	"net/http"
	"strconv"
	"time"

	"github.com/pay-theory/streamer/backend/auth"
	"github.com/pay-theory/streamer/backend/internal/engine"
	"github.com/pay-theory/streamer/backend/internal/jsonscan"
	"github.com/pay-theory/streamer/backend/internal/wire"
	"github.com/pay-theory/streamer/backend/store"
)

// OperatorScope is what a token must have to speak to the admin handler.
const OperatorScope = "streamer:operate"

// DeadLetter is a call that ended because workers died running it, or its
// retries were used up, as operators see it.
type DeadLetter struct {
	Tenant   string    `json:"tenant"`
	ID       string    `json:"id"`
	Subject  string    `json:"subject"`
	Action   string    `json:"action"`
	Code     string    `json:"code"`
	Attempt  int       `json:"attempt"`
	Crashes  int       `json:"crashes"`
	Accepted time.Time `json:"accepted"`
	Ended    time.Time `json:"ended"`
	RetryOf  string    `json:"retryOf,omitempty"`
}

// DeadLetters is a page of them, the latest end first.
type DeadLetters struct {
	Dead []DeadLetter `json:"dead"`
	// Cursor fetches the next page; empty on the last.
	Cursor string `json:"cursor,omitempty"`
}

// RetryRequest names a dead letter to be run again.
type RetryRequest struct {
	Tenant string `json:"tenant"`
	ID     string `json:"id"`
}

// RetryResponse names the new request.
type RetryResponse struct {
	ID      string `json:"id"`
	RetryOf string `json:"retryOf"`
}

// AdminHandler serves operators, whose token has OperatorScope: GET /dead and
// POST /dead/retry. It belongs on a listener of its own, away from clients.
func (s *Server) AdminHandler() http.Handler {
	mux := s.newMux()
	mux.HandleFunc("GET /dead", s.operator(s.listDead))
	mux.HandleFunc("POST /dead/retry", s.operator(s.retryDead))
	return mux
}

// operator lets through whose token has the scope.
func (s *Server) operator(next http.HandlerFunc) http.HandlerFunc {
	return func(w http.ResponseWriter, r *http.Request) {
		token, ok := auth.FromRequest(r, false)
		if !ok {
			refuse(w, http.StatusUnauthorized, wire.CodeUnauthorized, "a bearer token is required")
			return
		}
		id, err := s.authenticate(r.Context(), token)
		if err != nil {
			code, text, status := authRefusal(err)
			refuse(w, status, code, text)
			return
		}
		if !id.HasScopes(OperatorScope) {
			refuse(w, http.StatusForbidden, wire.CodeForbidden, "the token lacks the scope "+OperatorScope)
			return
		}
		next(w, r)
	}
}

func (s *Server) listDead(w http.ResponseWriter, r *http.Request) {
	limit := 50
	if text := r.URL.Query().Get("limit"); text != "" {
		n, err := strconv.Atoi(text)
		if err != nil || n < 1 || n > 100 {
			refuse(w, http.StatusBadRequest, wire.CodeInvalidMessage, "limit is a number from 1 to 100")
			return
		}
		limit = n
	}
	operator, ok := s.options.Queue.(store.Operator)
	if !ok {
		refuse(w, http.StatusNotImplemented, wire.CodeUnsupported, "this store has no role for operators")
		return
	}
	dead, cursor, err := operator.DeadLetters(r.Context(), limit, r.URL.Query().Get("cursor"))
	if err != nil {
		refuseStore(w, err)
		return
	}
	page := DeadLetters{Dead: make([]DeadLetter, len(dead)), Cursor: cursor}
	for i, d := range dead {
		page.Dead[i] = DeadLetter{
			Tenant: d.Tenant, ID: d.ID, Subject: d.Subject, Action: d.Action, Code: d.Code, Attempt: d.Attempt, Crashes: d.CrashCount,
			Accepted: d.Accepted.UTC(), Ended: d.Ended.UTC(), RetryOf: d.RetryOf,
		}
	}
	answer(w, page)
}

// retryDead runs a dead letter again, once: however often it is asked for, the
// retry is one request, whose id follows from the dead letter's.
func (s *Server) retryDead(w http.ResponseWriter, r *http.Request) {
	in, err := decodeRetry(http.MaxBytesReader(w, r.Body, 4096))
	if err != nil {
		refuse(w, http.StatusBadRequest, wire.CodeInvalidMessage, err.Error()+"; the body is {\"tenant\": …, \"id\": …}")
		return
	}
	dead := store.Key{Tenant: in.Tenant, ID: in.ID}
	letter, _, err := s.options.Queue.Read(r.Context(), dead, 0, 0)
	if err != nil {
		refuseStore(w, err)
		return
	}
	id := retryID(&letter)
	state, err := s.engine.Retry(r.Context(), dead, id)
	switch {
	case err != nil:
		refuseStore(w, err)
		return
	case state.DeadLetter:
		refuse(w, http.StatusConflict, wire.CodeConflict, "it was retried as "+id+", which is a dead letter itself: retry that one")
		return
	}
	s.options.Logger.Info("a dead letter is retried", "tenant", in.Tenant, "id", id, "retryOf", in.ID)
	answer(w, RetryResponse{ID: id, RetryOf: in.ID})
}

// decodeRetry reads a RetryRequest strictly: exact names, each once, and no
// others.
func decodeRetry(body io.Reader) (in RetryRequest, err error) {
	text, err := io.ReadAll(body)
	if err != nil {
		return in, errors.New("the body is cut")
	}
	var s jsonscan.Scanner
	s.Reset(text, 1)
	if s.Peek() != '{' {
		return in, errors.New("the body is no JSON object")
	}
	fields := map[string]*string{"tenant": &in.Tenant, "id": &in.ID}
	for more := s.Enter('}'); more; more = s.More('}') {
		name, _ := s.FieldName()
		field, known := fields[string(name)]
		switch {
		case s.Err() != nil:
			return in, errors.New("the body is no JSON object")
		case !known:
			return in, errors.New("a field is unknown, or comes twice")
		}
		delete(fields, string(name))
		s.Peek()
		value, lone := s.String()
		if lone || s.Err() != nil {
			return in, errors.New("a field is not a string")
		}
		*field = string(value)
	}
	if s.Err() != nil {
		return in, errors.New("the body is cut")
	}
	if s.ExpectEnd(); s.Err() != nil {
		return in, errors.New("something follows the object")
	}
	if in.Tenant == "" || !wire.ValidID(in.ID) {
		return in, errors.New("the tenant is missing, or the id is none")
	}
	return in, nil
}

// retryID is the id of a dead letter's retry: its time is the letter's end, so
// that it is no older than what else is kept, and the rest a hash of the
// letter's key.
func retryID(letter *store.State) string {
	sum := sha256.Sum256([]byte("retry of\x00" + letter.Tenant + "\x00" + letter.ID))
	text := hex.EncodeToString(sum[:])
	return wire.NewIDAt(letter.Ended)[:14] + "7" + text[:3] + "-8" + text[3:6] + "-" + text[6:18]
}

func refuseStore(w http.ResponseWriter, err error) {
	switch {
	case errors.Is(err, store.ErrNotFound):
		refuse(w, http.StatusNotFound, wire.CodeNotFound, "there is no such call")
	case errors.Is(err, engine.ErrNotDead):
		refuse(w, http.StatusConflict, wire.CodeConflict, "the call is not a dead letter")
	case errors.Is(err, store.ErrCursor):
		refuse(w, http.StatusBadRequest, wire.CodeInvalidCursor, "the cursor was not made for this list")
	default:
		refuse(w, http.StatusServiceUnavailable, wire.CodeUnavailable, "the server cannot do it now")
	}
}

func answer(w http.ResponseWriter, v any) {
	w.Header().Set("Content-Type", "application/json")
	_ = json.NewEncoder(w).Encode(v)
}
