package follow

import (
	"math"
	"slices"
	"time"

	"github.com/pay-theory/streamer/client-go/internal/wire"
)

const (
	// minSilence and maxSilence bound how long a live stream may be silent
	// before the client asks for its state.
	minSilence = 30 * time.Second
	maxSilence = 5 * time.Minute
	// stallBase and stallMax bound the wait after a page that had no new
	// events although there should be some, or that was refused temporarily.
	stallBase = 250 * time.Millisecond
	stallMax  = 30 * time.Second
)

// NoDeadline is the deadline of something that is not due.
const NoDeadline = time.Duration(math.MaxInt64)

// Verb is the type of a [Command].
type Verb uint8

// Commands of a stream.
const (
	Nothing Verb = iota
	Subscribe
	Unsubscribe
)

// Command is what to send for a stream. After and Epoch are set for Subscribe.
type Command struct {
	Verb  Verb
	After uint64
	Epoch int64
}

// State is what is known of a call in addition to its events.
type State struct {
	Status          string
	Attempt         int
	LastSeq         uint64
	Due             int64
	CancelRequested bool
}

// Stream is one stream and all its readers on one client.
type Stream struct {
	readers []*Reader
	// Epoch is that of the readers' positions; 0 if there is none yet.
	Epoch int64
	// Live is true if the server is known to send new events.
	Live bool
	// Known is true if the server is known to hold the stream.
	Known bool
	// Pausable is true if the client may unsubscribe while its reader is slow.
	Pausable bool
	State    State

	lastActivity, silenceLimit time.Duration
	retryAt                    time.Duration
	stalls                     int
}

// AddReader adds a reader.
func (s *Stream) AddReader(r *Reader) {
	s.readers = append(s.readers, r)
	r.behind = r.behind || s.State.LastSeq > r.position
}

// RemoveReader removes a reader.
func (s *Stream) RemoveReader(r *Reader) {
	if i := slices.Index(s.readers, r); i >= 0 {
		s.readers = slices.Delete(s.readers, i, i+1)
	}
}

// noteActivity records that something was received for the stream, isSilent
// says whether nothing was for too long.
func (s *Stream) noteActivity(now time.Duration)  { s.lastActivity, s.silenceLimit = now, minSilence }
func (s *Stream) isSilent(now time.Duration) bool { return now >= s.lastActivity+s.silenceLimit }

// OnAck handles the ack of a request. live says that it came on the connection
// in use.
func (s *Stream) OnAck(now time.Duration, m *wire.ServerMessage, live bool) {
	if s.Epoch != m.Epoch && s.Epoch != 0 && m.Epoch != 0 {
		s.restart(1)
	}
	if m.Epoch != 0 {
		s.Epoch = m.Epoch
	}
	s.OnAccepted(live)
	if s.State.Status == "" {
		s.State.Status = "queued"
	}
	s.OnEvent(now, m, true)
}

// OnEvent handles a durable event, or the inline end of a call that is not
// known to be stored. An event does not name its epoch. sameEpoch says that
// the connection that it came on is known to send the readers' epoch; an event
// that comes before the first page on a new connection is not used, but
// fetched with the page.
func (s *Stream) OnEvent(now time.Duration, m *wire.ServerMessage, sameEpoch bool) {
	e, ok := eventOf(m)
	if !ok || e.Seq == 0 && s.Known {
		return
	}
	s.noteActivity(now)
	if !sameEpoch && s.Epoch != 0 {
		s.State.LastSeq = max(s.State.LastSeq, e.Seq)
		return
	}
	s.Known = s.Known || e.Seq > 0
	s.updateState(&e)
	for _, r := range s.readers {
		r.offer(&e, now, false, false)
	}
}

// updateState updates the state with an event.
func (s *Stream) updateState(e *Event) {
	s.State.LastSeq = max(s.State.LastSeq, e.Seq)
	switch e.Kind {
	case Chunk, AttemptMark:
		s.setRunning(e.Attempt)
	case End:
		s.State.Due = 0
		switch {
		case e.Err == nil:
			s.State.Status = "succeeded"
		case e.Err.Code == wire.CodeCancelled:
			s.State.Status = "cancelled"
		default:
			s.State.Status = "failed"
		}
	}
}

func (s *Stream) setRunning(attempt int) {
	if attempt < s.State.Attempt || s.Ended() {
		return
	}
	s.State.Status, s.State.Attempt, s.State.Due = "running", attempt, 0
}

// Ended says whether the call has ended.
func (s *Stream) Ended() bool {
	status := s.State.Status
	return status == "succeeded" || status == "failed" || status == "cancelled"
}

// OnProgress handles a progress message.
func (s *Stream) OnProgress(now time.Duration, p *wire.Progress) {
	s.noteActivity(now)
	s.setRunning(p.Attempt)
	for _, r := range s.readers {
		r.setProgress(p)
	}
}

// OnLag handles a lag message: the server has stopped sending events.
func (s *Stream) OnLag(now time.Duration, lastSeq uint64) {
	s.noteActivity(now)
	s.Live = false
	s.State.LastSeq = max(s.State.LastSeq, lastSeq)
}

// OnPage handles a snapshot. isAnswer says that it answers the stream's last
// subscribe, live that it came on the connection in use.
func (s *Stream) OnPage(now time.Duration, m *wire.ServerMessage, isAnswer, live bool) {
	more := m.More != nil && *m.More
	// Another epoch, or the same one without events that were read.
	newHistory := s.Epoch != 0 && (m.Epoch != s.Epoch || m.Recovered != nil && !*m.Recovered)
	if newHistory && !isAnswer {
		s.Live = false // it may be an old one; the next answer shows
		return
	}
	s.Known = true
	if newHistory {
		s.restart(m.Attempt)
	}
	s.Epoch = m.Epoch
	previousPosition := s.lowestPosition()
	s.offerPage(now, m.Events)
	if m.LastSeq >= s.State.LastSeq && !s.Ended() {
		s.State = State{
			Status: m.Status, Attempt: m.Attempt, LastSeq: m.LastSeq,
			Due: m.Due, CancelRequested: m.CancelRequested,
		}
	}
	if m.Progress != nil {
		for _, r := range s.readers {
			r.setProgress(m.Progress)
		}
	}
	switch {
	case more:
		s.Live = false
	case isAnswer && live:
		s.Live = true
	}
	if isAnswer || s.silenceLimit == 0 {
		s.lastActivity, s.silenceLimit = now, max(s.silenceLimit, minSilence)
	}
	s.afterPage(now, more, isAnswer, previousPosition)
}

// offerPage offers the events of a page to all readers. Readers without room
// for a whole page keep what fits.
func (s *Stream) offerPage(now time.Duration, events []wire.ServerMessage) {
	for i := range events {
		if e, ok := eventOf(&events[i]); ok {
			s.updateState(&e)
		}
	}
	for _, r := range s.readers {
		takesPage := r.canTakePage()
		for i := range events {
			if e, ok := eventOf(&events[i]); ok && e.Seq > 0 {
				r.offer(&e, now, true, takesPage)
			}
		}
	}
}

// afterPage updates after a page which readers still lack events, and
// postpones the next subscribe if the page had nothing new although it should
// have.
func (s *Stream) afterPage(now time.Duration, more, isAnswer bool, previousPosition uint64) {
	behind := more
	for _, r := range s.readers {
		if r.finished {
			continue
		}
		r.drainEarly(now)
		r.behind = s.State.LastSeq > r.position && !(r.gap && now < r.gapDeadline)
		if r.gap && isAnswer {
			r.gapDeadline = max(r.gapDeadline, now+gapWait)
		}
		behind = behind || r.behind
		r.dropBuffer()
	}
	switch {
	case s.lowestPosition() > previousPosition:
		s.stalls, s.retryAt = 0, 0
		s.noteActivity(now)
	case behind && isAnswer:
		s.Postpone(now, 0)
	}
}

// Postpone delays the next subscribe: longer each time in a row, and at least
// by atLeast.
func (s *Stream) Postpone(now, atLeast time.Duration) {
	wait := min(stallMax, stallBase<<min(s.stalls, 10))
	s.stalls++
	s.retryAt = now + max(wait, atLeast)
}

// lowestPosition returns the lowest position of the readers that can take a
// page.
func (s *Stream) lowestPosition() uint64 {
	low := uint64(math.MaxUint64)
	for _, r := range s.readers {
		if !r.finished && r.canTakePage() {
			low = min(low, r.position)
		}
	}
	return low
}

// restart begins a new history for all readers.
func (s *Stream) restart(attempt int) {
	s.State = State{}
	for _, r := range s.readers {
		r.Restart(attempt)
	}
}

// OnDisconnect says that the connection in use was lost or replaced.
func (s *Stream) OnDisconnect() {
	s.Live = false
	s.stalls, s.retryAt = 0, 0
}

// OnAccepted says that an event has come before the answer to the request,
// which shows that the server holds the stream. live is as in OnAck.
func (s *Stream) OnAccepted(live bool) {
	s.Known = true
	s.Live = s.Live || live
}

// OnCommandSent says that a command of the stream was sent.
func (s *Stream) OnCommandSent(now time.Duration, w Command) {
	if w.Verb == Subscribe && s.Live && s.isSilent(now) {
		s.lastActivity, s.silenceLimit = now, min(maxSilence, 2*max(s.silenceLimit, minSilence))
	}
}

// NextCommand returns what to send for the stream now. It may be sent once
// everything that was sent before for the stream is answered.
func (s *Stream) NextCommand(now time.Duration) Command {
	need, full, ready := !s.Live || s.isSilent(now), false, false
	for _, r := range s.readers {
		switch {
		case r.finished:
		case !r.canTakePage():
			full = full || r.behind
		default:
			ready = true
			need = need || r.needsPage(now)
		}
	}
	switch {
	case ready && need && now >= s.retryAt:
		return Command{Subscribe, s.lowestPosition(), s.Epoch}
	case !ready && full && s.Live && s.Pausable:
		return Command{Verb: Unsubscribe}
	}
	return Command{}
}

// Deadline returns when to call [Stream.NextCommand] again if nothing is
// received before.
func (s *Stream) Deadline(now time.Duration) time.Duration {
	at := NoDeadline
	ready := false
	for _, r := range s.readers {
		if r.finished || !r.canTakePage() {
			continue
		}
		ready = true
		switch {
		case r.behind || !s.Live:
			at = min(at, max(now, s.retryAt))
		case r.gap:
			at = min(at, max(r.gapDeadline, s.retryAt))
		}
	}
	if ready && s.Live {
		at = min(at, max(s.lastActivity+s.silenceLimit, s.retryAt))
	}
	return at
}
