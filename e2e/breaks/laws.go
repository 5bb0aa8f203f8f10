package main

// Where the laws are tested.
const (
	engineTests  = "./backend/internal/engine"
	memoryTests  = "./backend/store/memory"
	sqliteTests  = "./backend/store/embedded"
	deliverTests = "./backend/internal/deliver"
	wireTests    = "./backend/internal/wire"
	sessionTests = "./backend/internal/session"
	serverTests  = "./backend/server"
	storyTests   = "./backend/conformance"
	followTests  = "./client-go/internal/follow"
	clientTests  = "./client-go/internal/session"
)

// story is the name of a transcript's test with a fake clock.
func story(name string) string { return "TestServerInBubble/" + name + "$" }

// laws are the laws of the engine, from 1 to 14.
func laws() []Break {
	return append(lawsOfStorage(), lawsOfRunning()...)
}

func lawsOfStorage() []Break {
	return []Break{
		{
			Law: "L01", What: "a call that could not be stored is acknowledged",
			File: "backend/internal/engine/submit.go",
			Old:  "e.entered(r.Key, nil)\n\t\tw.answer(refusal(err))", New: "e.entered(r.Key, nil)\n\t\tw.answer(Answer{Kind: Accepted, State: got.State})",
			Package: engineTests, Run: "TestLaw01NothingAcknowledgedIsLost",
		},
		{
			Law: "L01", What: "the file is opened with synchronous=OFF",
			File: "backend/store/embedded/open.go",
			Old:  "PRAGMA synchronous = FULL", New: "PRAGMA synchronous = OFF",
			Package: sqliteTests, Run: "TestOneWayDoors",
		},
		{
			Law: "L02", What: "the fence is not compared when a Record comes",
			File: "backend/store/transition.go",
			Old:  "if s.Fence != fence || s.Status != Running {", New: "if s.Status != Running {",
			Package: memoryTests, Run: "TestRequestQueue",
		},
		{
			Law: "L02", What: "the fence is not compared when an outcome comes",
			File: "backend/store/transition.go",
			Old:  "case s.Fence != fence:\n\t\treturn s, nil, false, false, ErrFenced", New: "case false:\n\t\treturn s, nil, false, false, ErrFenced",
			Package: memoryTests, Run: "TestRequestQueue",
		},
		{
			Law: "L02", What: "a running call is claimed although its lease holds",
			File: "backend/store/transition.go",
			Old:  "case s.Status == Running && leased:", New: "case false && leased:",
			Package: memoryTests, Run: "TestRequestQueue",
		},
		{
			Law: "L03", What: "a request that has ended is cancelled",
			File: "backend/store/transition.go",
			Old:  "if s.Status.Ended() {\n\t\treturn s, nil, ErrEnded\n\t}", New: "",
			Package: memoryTests, Run: "TestRequestQueue",
		},
		{
			Law: "L03", What: "the end is told before it is stored",
			File: "backend/internal/engine/attempt.go",
			Old:  "var state store.State\n\terr := a.e.persist(", New: "var state store.State\n\tif o.End != nil {\n\t\tstate.Key, state.LastSeq = a.key, a.record.next\n\t\ta.e.Teller.Events(a.e.ctx, &state, o.End.Event(state.LastSeq))\n\t}\n\terr := a.e.persist(",
			Package: engineTests, Run: "TestLaw03ToldWhenStored",
		},
		{
			Law: "L04", What: "a stored id is not looked for before an inline run",
			File: "backend/internal/engine/submit.go",
			Old:  "if stored, err := e.known(r.Key); stored || err != nil {", New: "if stored, err := e.known(r.Key); false && (stored || err != nil) {",
			Package: storyTests, Run: story("duplicate-promoted"),
		},
		{
			Law: "L04", What: "a resend does not join the inline run that goes on",
			File: "backend/internal/engine/submit.go",
			Old:  "same := a.request.Subject == r.Subject && a.action == r.Action && string(a.request.Payload) == string(r.Payload)", New: "same := false",
			Package: engineTests, Run: "TestLaw04SameIDSameCall",
		},
		{
			Law: "L05", What: "every subject of a tenant may follow a call",
			File: "backend/internal/session/session.go",
			Old:  "if err == nil && !s.may(ctx, core.Follow, f, &state) {", New: "if err == nil && false {",
			Package: serverTests, Run: "TestLaw05TenantsAreWalls",
		},
		{
			Law: "L05", What: "a list shows the calls of the whole tenant",
			File: "backend/internal/session/decide.go",
			Old:  "Tenant: f.Tenant, Subject: f.Subject, Status:", New: "Tenant: f.Tenant, Status:",
			Package: serverTests, Run: "TestLaw05TenantsAreWalls",
		},
		{
			Law: "L06", What: "nobody counts the time without followers",
			File: "backend/internal/engine/abandon.go",
			Old:  "c.timer == nil && !b.stopped {\n\t\tc.timer = time.AfterFunc(c.after", New: "c.timer == nil && false {\n\t\tc.timer = time.AfterFunc(c.after",
			Package: engineTests, Run: "TestLaw06",
		},
		{
			Law: "L06", What: "a call without cancelAfterMs is cancelled when its caller leaves",
			File: "backend/internal/engine/submit.go",
			Old:  "if r.CancelAfter != nil && !got.State.Status.Ended() {\n\t\te.abandon.add(r.Key, *r.CancelAfter)", New: "if !got.State.Status.Ended() {\n\t\te.abandon.add(r.Key, time.Second)",
			Package: engineTests, Run: "TestLaw06",
		},
	}
}

func lawsOfRunning() []Break {
	return []Break{
		{
			Law: "L07", What: "suspects run beside each other",
			File: "backend/internal/engine/dispatch.go",
			Old:  "h, ok := e.schedule.pop(!e.alone)", New: "h, ok := e.schedule.pop(true)",
			Package: engineTests, Run: "TestLaw07PoisonIsContained",
		},
		{
			Law: "L07", What: "deaths are not bounded",
			File: "backend/internal/engine/dispatch.go",
			Old:  "case s.Deaths >= store.SuspectAfter+e.PoisonAfter:", New: "case false:",
			Package: engineTests, Run: "TestLaw07PoisonIsContained",
		},
		{
			Law: "L07", What: "a Continue is charged as a failure",
			File: "backend/internal/engine/outcome.go",
			Old:  "Code: core.CodeContinue}", New: "Code: core.CodeContinue, Failure: true}",
			Package: engineTests, Run: "TestOutcome",
		},
		{
			Law: "L08", What: "the oldest progress is kept, not the newest",
			File: "backend/internal/deliver/coalesce.go",
			Old:  "c.newest = p\n", New: "if c.newest == nil {\n\t\tc.newest = p\n\t}\n",
			Package: deliverTests, Run: "TestCoalescer",
		},
		{
			Law: "L08", What: "progress is not flushed before the end",
			File: "backend/internal/engine/attempt.go",
			Old:  "a.coalesce.Close()", New: "_ = a.coalesce",
			Package: engineTests, Run: "TestLaw08ProgressIsCheap",
		},
		{
			Law: "L08", What: "every report of progress is told",
			File: "backend/internal/deliver/coalesce.go",
			Old:  "if c.last.IsZero() || wait <= 0 {", New: "if true {",
			Package: deliverTests, Run: "TestCoalescer",
		},
		{
			Law: "L09", What: "Emit does not wait for the store",
			File: "backend/internal/engine/record.go",
			Old:  "for r.bytes > 0 && (r.bytes+len(data) > maxPendingBytes || len(r.pending) >= maxPendingEvents) {", New: "for false {",
			Package: engineTests, Run: "TestLaw09Bounded",
		},
		{
			Law: "L09", What: "who is behind is still sent events",
			File: "backend/internal/deliver/teller.go",
			Old:  "if subs[i].Live {", New: "if true {",
			Package: deliverTests, Run: "TestEventsReachTheLive",
		},
		{
			Law: "L09", What: "what waits for a slow reader is not bounded",
			File: "backend/server/outbox.go",
			Old:  "!force && o.bytes > 0 && o.bytes+size > o.limit", New: "false",
			Package: serverTests, Run: "TestOutbox|TestLaw09SlowReader",
		},
		{
			Law: "L10", What: "a refusal in a batch does not say which message it is of",
			File: "backend/server/conn.go",
			Old:  "say.Message.Index = &index", New: "_ = index",
			Package: storyTests, Run: story("batch"),
		},
		{
			Law: "L11", What: "a shutdown charges a retry",
			File: "backend/internal/engine/outcome.go",
			Old:  "return store.Outcome{Due: v.now, Code: core.CodeShutdown}", New: "return store.Outcome{Due: v.now, Code: core.CodeShutdown, Failure: true}",
			Package: engineTests, Run: "TestLaw11Goodbye|TestOutcome",
		},
		{
			Law: "L11", What: "a connection is closed without a goodbye",
			File: "backend/server/conn.go",
			Old:  "if reason != \"\" {\n\t\tc.say(", New: "if false {\n\t\tc.say(",
			Package: storyTests, Run: story("idle"),
		},
		{
			Law: "L12", What: "the sweeper does not read the queue",
			File: "backend/internal/engine/sweep.go",
			Old:  "e.push(hints...)", New: "_ = hints",
			Package: engineTests, Run: "TestLaw12QueuesCarryHints",
		},
		{
			Law: "L13", What: "the end of an ended call is not told again",
			File: "backend/internal/engine/dispatch.go",
			Old:  "case errors.Is(err, store.ErrEnded):\n\t\te.tellEnd(h.Key)", New: "case errors.Is(err, store.ErrEnded):",
			Package: engineTests, Run: "TestLaw13ToldBeforeLettingGo",
		},
		{
			Law: "L14", What: "a repeated Record is taken for a new one",
			File: "backend/store/transition.go",
			Old:  "if r.Segment != nil && r.Segment.Last == s.LastSeq {\n\t\treturn s, true, nil\n\t}", New: "",
			Package: memoryTests, Run: "TestRequestQueue",
		},
		{
			Law: "L14", What: "a segment may leave a gap",
			File: "backend/store/transition.go",
			Old:  "if g.First != first {", New: "if false {",
			Package: memoryTests, Run: "TestRequestQueue",
		},
	}
}
