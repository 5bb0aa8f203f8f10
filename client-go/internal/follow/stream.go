package follow

import (
	"slices"
	"time"

	"github.com/pay-theory/streamer/client-go/internal/wire"
)

const (
	// quietMin and quietMax bound for how long silence is not asked about.
	minSilence = 30 * time.Second
	maxSilence = 5 * time.Minute
	// stallBase and stallMax bound the wait after a page that brought nothing
	// though there was something to bring, or that was refused for now.
	stallBase = 250 * time.Millisecond
	stallMax  = 30 * time.Second
)

// Never is a time that does not come.
const NoDeadline = time.Duration(1<<63 - 1)

// Verb is what a stream wants to have said about it.
type Verb uint8

// What a stream can want.
const (
	Nothing Verb = iota
	Subscribe
	Unsubscribe
)

// Want is what a stream wants to have said, and for Subscribe from where.
type Command struct {
	Verb  Verb
	After uint64
	Epoch int64
}

// State is what a client knows of a call beside its events.
type State struct {
	Status          string
	Attempt         int
	LastSeq         uint64
	Due             int64
	CancelRequested bool
}

// Stream is one stream and all who read it over one connection.
type Stream struct {
	readers []*Reader
	epoch   int64
	// live tells that the server will send what comes.
	live bool
	// Known tells that the server is known to hold the stream.
	Known bool
	// Pausable tells that it may be unsubscribed while its reader is slow.
	Pausable bool
	State    State

	lastActivity, silenceLimit time.Duration
	retryAt                    time.Duration
	stalls                     int
}

// Join adds a reader.
func (s *Stream) AddReader(r *Reader) {
	s.readers = append(s.readers, r)
	r.behind = r.behind || s.State.LastSeq > r.position
}

// Leave takes a reader away.
func (s *Stream) RemoveReader(r *Reader) {
	if i := slices.Index(s.readers, r); i >= 0 {
		s.readers = slices.Delete(s.readers, i, i+1)
	}
}

// Live tells whether the server is known to send what comes.
func (s *Stream) IsLive() bool { return s.live }

// Adopt sets the epoch that the readers' positions belong to.
func (s *Stream) SetEpoch(epoch int64) { s.epoch = epoch }

// Epoch returns the epoch that the readers' positions belong to; 0: none yet.
func (s *Stream) Epoch() int64 { return s.epoch }

// hear notes a sign of life.
func (s *Stream) noteActivity(now time.Duration) { s.lastActivity, s.silenceLimit = now, minSilence }

// Ack takes the answer to a request that was accepted. live tells that the
// connection that it came on is the one in use.
func (s *Stream) OnAck(now time.Duration, m *wire.ServerMessage, live bool) {
	if s.epoch != m.Epoch && s.epoch != 0 && m.Epoch != 0 {
		s.restart(1)
	}
	if m.Epoch != 0 {
		s.epoch = m.Epoch
	}
	s.Known = true
	s.live = s.live || live
	if s.State.Status == "" {
		s.State.Status = "queued"
	}
	s.OnEvent(now, m, true)
}

// Event takes a durable event, or the inline end of a call that is not known
// to be stored. sure tells that the connection that it came on is known to
// speak of the readers' epoch: an event says nothing about that, so what
// overtakes the first page on a new connection is pulled instead.
func (s *Stream) OnEvent(now time.Duration, m *wire.ServerMessage, sameEpoch bool) {
	e, ok := eventOf(m)
	if !ok || e.Seq == 0 && s.Known {
		return
	}
	s.noteActivity(now)
	if !sameEpoch && s.epoch != 0 {
		s.State.LastSeq = max(s.State.LastSeq, e.Seq)
		return
	}
	s.Known = s.Known || e.Seq > 0
	s.updateState(&e)
	for _, r := range s.readers {
		r.offer(&e, now, false, false)
	}
}

// note keeps the state in step with an event.
func (s *Stream) updateState(e *Event) {
	s.State.LastSeq = max(s.State.LastSeq, e.Seq)
	switch e.Kind {
	case Chunk:
		s.setRunning(e.Attempt)
	case AttemptMark:
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

// Ended tells whether the call has reached its end.
func (s *Stream) Ended() bool {
	switch s.State.Status {
	case "succeeded", "failed", "cancelled":
		return true
	}
	return false
}

// Report takes a progress message.
func (s *Stream) OnProgress(now time.Duration, p *wire.Progress) {
	s.noteActivity(now)
	s.setRunning(p.Attempt)
	for _, r := range s.readers {
		r.setProgress(p)
	}
}

// Lag takes the news that the server has stopped sending events.
func (s *Stream) OnLag(now time.Duration, lastSeq uint64) {
	s.noteActivity(now)
	s.live = false
	s.State.LastSeq = max(s.State.LastSeq, lastSeq)
}

// Page takes a snapshot. asked tells that it answers the stream's last
// question, live that the connection that it came on is the one in use.
func (s *Stream) OnPage(now time.Duration, m *wire.ServerMessage, isAnswer, live bool) {
	more := m.More != nil && *m.More
	// Another epoch, or one that has lost what was seen.
	newHistory := s.epoch != 0 && (m.Epoch != s.epoch || m.Recovered != nil && !*m.Recovered)
	if newHistory && !isAnswer {
		s.live = false // a late one, perhaps; the next answer tells
		return
	}
	s.Known = true
	if newHistory {
		s.restart(m.Attempt)
	}
	s.epoch = m.Epoch
	before := s.lowestPosition()
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
		s.live = false
	case isAnswer && live:
		s.live = true
	}
	if isAnswer || s.silenceLimit == 0 {
		s.lastActivity, s.silenceLimit = now, max(s.silenceLimit, minSilence)
	}
	s.afterPage(now, more, isAnswer, before)
}

// take offers the events of a page to all readers. Those who have no room for
// a page keep what fits.
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

// settle tells after a page who is still behind, and puts off the next
// question if the page brought nothing though it should have.
func (s *Stream) afterPage(now time.Duration, more, isAnswer bool, before uint64) {
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
	case s.lowestPosition() > before:
		s.stalls, s.retryAt = 0, 0
		s.noteActivity(now)
	case behind && isAnswer:
		s.Postpone(now, 0)
	}
}

// Later puts off the next question, for longer each time in a row, and at
// least for the given time.
func (s *Stream) Postpone(now, atLeast time.Duration) {
	wait := min(stallMax, stallBase<<min(s.stalls, 10))
	s.stalls++
	s.retryAt = now + max(wait, atLeast)
}

// lowest is the lowest position of those who can take a page.
func (s *Stream) lowestPosition() uint64 {
	low := uint64(1<<64 - 1)
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

// Cut takes the news that the connection in use is gone, or another one is in
// use now.
func (s *Stream) OnDisconnect() {
	s.live = false
	s.stalls, s.retryAt = 0, 0
}

// Prove takes the news that the server holds the stream, from an event that
// came before the answer to the request. live is as in Ack.
func (s *Stream) OnAccepted(live bool) {
	s.Known = true
	s.live = s.live || live
}

// Stopped takes the news that the server has stopped sending on demand.
func (s *Stream) OnUnsubscribed() { s.live = false }

// Asked notes that what the stream wanted was sent.
func (s *Stream) OnCommandSent(now time.Duration, w Command) {
	if w.Verb == Subscribe && s.live && now >= s.lastActivity+s.silenceLimit {
		s.lastActivity, s.silenceLimit = now, min(maxSilence, 2*max(s.silenceLimit, minSilence))
	}
}

// Fail ends all readers from this side.
func (s *Stream) Fail(err *wire.ServerMessage) {
	for _, r := range s.readers {
		r.Fail(err)
	}
}

// Want returns what is to be said about the stream now. It may be said once
// everything said about it before was answered.
func (s *Stream) NextCommand(now time.Duration) Command {
	after, need, full, ready := uint64(1<<64-1), !s.live, false, 0
	for _, r := range s.readers {
		switch {
		case r.finished:
		case !r.canTakePage():
			full = full || r.behind
		default:
			ready++
			need = need || r.needsPage(now)
			after = min(after, r.position)
		}
	}
	silent := s.live && now >= s.lastActivity+s.silenceLimit
	switch {
	case ready > 0 && (need || silent):
		if now < s.retryAt {
			return Command{}
		}
		return Command{Subscribe, after, s.epoch}
	case ready == 0 && full && s.live && s.Pausable:
		return Command{Verb: Unsubscribe}
	}
	return Command{}
}

// Deadline returns when [Stream.Want] is to be asked again, if nothing comes.
func (s *Stream) Deadline(now time.Duration) time.Duration {
	at := NoDeadline
	ready := false
	for _, r := range s.readers {
		if r.finished || !r.canTakePage() {
			continue
		}
		ready = true
		switch {
		case r.behind || !s.live:
			at = min(at, max(now, s.retryAt))
		case r.gap:
			at = min(at, max(r.gapDeadline, s.retryAt))
		}
	}
	if ready && s.live {
		at = min(at, max(s.lastActivity+s.silenceLimit, s.retryAt))
	}
	return at
}
