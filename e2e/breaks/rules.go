package main

// serverRules are rules of the protocol that a server keeps.
func serverRules() []Break {
	out := append(rulesOfConnections(), rulesOfCalls()...)
	out = append(out, rulesOfStreams()...)
	return append(out, rulesOfCancelling()...)
}

func rulesOfConnections() []Break {
	return []Break{
		{
			Law: "§2", What: "a handshake without the subprotocol is taken",
			File: "backend/server/upgrade.go",
			Old:  "case !offered(r.Header.Values(\"Sec-Websocket-Protocol\")):", New: "case false:",
			Package: serverTests, Run: "TestHandshakes",
		},
		{
			Law: "§2", What: "any origin may connect",
			File: "backend/server/upgrade.go",
			Old:  "case !s.originAllowed(r):", New: "case false && !s.originAllowed(r):",
			Package: serverTests, Run: "TestHandshakes",
		},
		{
			Law: "§2", What: "an expired token's messages are served",
			File: "backend/internal/session/decide.go",
			Old:  "if !f.Expires.After(now) {", New: "if false {",
			Package: storyTests, Run: story("token-expires"),
		},
		{
			Law: "§2", What: "the connection of an expired token is never closed",
			File: "backend/server/conn.go",
			Old:  "expired := c.facts.Load().Expires.Add(expiredGrace)", New: "expired := c.facts.Load().Expires.Add(24 * time.Hour)",
			Package: storyTests, Run: story("token-expired-closes"),
		},
		{
			Law: "§2", What: "auth may change who one is",
			File: "backend/server/conn.go",
			Old:  "case !c.identity.Load().Same(id):", New: "case false:",
			Package: storyTests, Run: story("auth"),
		},
		{
			Law: "§3", What: "a binary frame is read as text",
			File: "backend/server/conn.go",
			Old:  "if kind != websocket.TextMessage {", New: "if false && kind != websocket.TextMessage {",
			Package: storyTests, Run: story("frames"),
		},
		{
			Law: "§3", What: "messages over 32 KiB are read",
			File: "backend/server/upgrade.go",
			Old:  "ws.SetReadLimit(wire.MaxClientMessage)", New: "ws.SetReadLimit(1 << 20)",
			Package: storyTests, Run: story("frames"),
		},
		{
			Law: "§3", What: "idle connections are kept",
			File: "backend/server/conn.go",
			Old:  "idle := time.Unix(0, c.heard.Load()).Add(o.IdleTimeout)", New: "idle := time.Unix(0, c.heard.Load()).Add(24 * time.Hour)",
			Package: storyTests, Run: story("idle"),
		},
		{
			Law: "§3", What: "a connection lives for ever",
			File: "backend/server/conn.go",
			Old:  "life := c.since.Add(o.MaxLife)", New: "life := c.since.Add(100 * o.MaxLife)",
			Package: storyTests, Run: story("life"),
		},
		{
			Law: "§10", What: "what one may not see is told apart from what is not there",
			File: "backend/internal/session/session.go",
			Old:  "&state) {\n\t\terr = store.ErrNotFound", New: "&state) {\n\t\terr = store.ErrCursor",
			Package: storyTests, Run: story("walls"),
		},
		{
			Law: "§11", What: "the text of any error reaches the caller",
			File: "backend/internal/engine/outcome.go",
			Old:  "var own *core.Error\n\tvar panicked", New: "end.Message = err.Error()\n\tvar own *core.Error\n\tvar panicked",
			Package: storyTests, Run: story("inline-error"),
		},
		{
			Law: "§11", What: "a scope that an action requires is not asked for",
			File: "backend/internal/session/decide.go",
			Old:  "case !f.allowed(action):", New: "case false && !f.allowed(action):",
			Package: storyTests, Run: story("forbidden"),
		},
	}
}

func rulesOfCalls() []Break {
	return []Break{
		{
			Law: "§4", What: "ids from the future are taken",
			File: "backend/internal/session/decide.go",
			Old:  "case at.After(now.Add(MaxFuture)):", New: "case false && at.IsZero():",
			Package: storyTests, Run: "TestServerInBubble/",
		},
		{
			Law: "§4", What: "ids older than the retention are run",
			File: "backend/internal/session/decide.go",
			Old:  "KnownOnly: at.Before(now.Add(-r.Retention)),", New: "KnownOnly: false,",
			Package: storyTests, Run: story("expired-id"),
		},
		{
			Law: "§5", What: "mode sync is let pass on a streaming action",
			File: "backend/internal/session/decide.go",
			Old:  "case m.Mode == wire.ModeSync && (action.Stream || action.Placement == core.Async):", New: "case false:",
			Package: storyTests, Run: story("sync-refused"),
		},
		{
			Law: "§5", What: "a call of mode sync may take as long as it likes",
			File: "backend/internal/engine/submit.go",
			Old:  "return min(r.Action.Timeout, core.SyncTimeout)", New: "return r.Action.Timeout",
			Package: storyTests, Run: story("sync-timeout"),
		},
		{
			Law: "§5", What: "an inline call is never promoted by its time",
			File: "backend/internal/engine/submit.go",
			Old:  "if r.promotable() {\n\t\ta.wind(e.Threshold)\n\t}", New: "",
			Package: storyTests, Run: story("promoted-by-time"),
		},
		{
			Law: "§5", What: "mode async is not stored first",
			File: "backend/internal/engine/submit.go",
			Old:  "case r.Async, r.KnownOnly,", New: "case r.KnownOnly,",
			Package: storyTests, Run: story("fast-async"),
		},
		{
			Law: "§6", What: "another payload under the same id is the same call",
			File: "backend/store/transition.go",
			Old:  "|| s.Action != n.Action || s.Hash != n.Hash {", New: "|| s.Action != n.Action {",
			Package: storyTests, Run: story("duplicate"),
		},
		{
			Law: "§6", What: "a hit by idempotency key does not name the id that was sent",
			File: "backend/internal/session/session.go",
			Old:  "m.For = r.ID", New: "m.For = \"\"",
			Package: storyTests, Run: story("idempotency"),
		},
		{
			Law: "§6", What: "what has expired is still there",
			File: "backend/store/transition.go",
			Old:  "return s.Status.Ended() && !now.Before(s.Ended.Add(retention))", New: "return false",
			Package: memoryTests, Run: "TestRequestQueue",
		},
	}
}

func rulesOfStreams() []Break {
	return []Break{
		{
			Law: "§7", What: "a page that is not the last leaves the subscription live",
			File: "backend/internal/session/session.go",
			Old:  "err = s.Teller.Follow(ctx, f.Address(), f.Subject, k.ID, false)", New: "",
			Package: sessionTests, Run: "TestPagesBeforeTheLastAreNotLive",
		},
		{
			Law: "§7", What: "a position in another epoch is taken for one in this",
			File: "backend/internal/session/session.go",
			Old:  "(e.Epoch == 0 || e.Epoch == state.Accepted.UnixMilli())", New: "true",
			Package: storyTests, Run: story("other-epoch"),
		},
		{
			Law: "§7", What: "the subscription goes live after the read, not before",
			File:    "backend/internal/session/session.go",
			Old:     "if err := s.Teller.Follow(ctx, f.Address(), f.Subject, k.ID, true); err != nil {\n\t\treturn s.failed(\"\", k.ID, err)\n\t}\n\tstate, events, err := s.Store.Read(ctx, k, after, wire.MaxPage)",
			New:     "state, events, err := s.Store.Read(ctx, k, after, wire.MaxPage)\n\tif err := s.Teller.Follow(ctx, f.Address(), f.Subject, k.ID, true); err != nil {\n\t\treturn s.failed(\"\", k.ID, err)\n\t}",
			Package: sessionTests, Run: "TestNoEventFallsBetweenPageAndLive",
		},
		{
			Law: "§7", What: "a retry keeps the chunks that it makes void",
			File: "backend/store/transition.go",
			Old:  "Keep: next.Keep, From: next.Keep + 1,", New: "Keep: next.LastSeq - 1, From: next.LastSeq,",
			Package: storyTests, Run: story("retry-voids"),
		},
	}
}

func rulesOfCancelling() []Break {
	return []Break{
		{
			Law: "§8", What: "a handler that ends well although it was cancelled counts as cancelled",
			File: "backend/internal/engine/outcome.go",
			Old:  "case v.err == nil:", New: "case v.err == nil && !errors.Is(v.cause, core.ErrCancelled):",
			Package: storyTests, Run: story("cancel-succeeds"),
		},
		{
			Law: "§8", What: "a deaf handler is waited for without end",
			File: "backend/internal/engine/attempt.go",
			Old:  "deaf := time.AfterFunc(a.e.Deaf, a.abandonHandler)", New: "deaf := time.AfterFunc(a.e.Deaf, func() {})",
			Package: storyTests, Run: story("cancel-deaf"),
		},
		{
			Law: "§8", What: "a cancel that overtakes its request is forgotten",
			File: "backend/store/transition.go",
			Old:  "case cancelled:\n\t\ts.CancelRequested = true\n\t\treturn s.end(CancelledEnd(), now)", New: "case false:",
			Package: storyTests, Run: story("cancel-overtakes"),
		},
		{
			Law: "§8", What: "a retry does not look at the cancel flag",
			File: "backend/store/transition.go",
			Old:  "if end == nil && next.CancelRequested {\n\t\tend = CancelledEnd()\n\t}", New: "",
			Package: memoryTests, Run: "TestRequestQueue",
		},
		{
			Law: "§8", What: "unsubscribe does not end listening",
			File: "backend/internal/session/session.go",
			Old:  "if err := s.Teller.Unfollow(ctx, f.Address(), e.ID); err != nil {", New: "if err := error(nil); err != nil {",
			Package: storyTests, Run: story("unsubscribe"),
		},
		{
			Law: "§8", What: "a delayed call starts at once",
			File: "backend/internal/engine/submit.go",
			Old:  "if r.Delay > 0 {\n\t\tn.NotBefore", New: "if false {\n\t\tn.NotBefore",
			Package: storyTests, Run: story("delay"),
		},
		{
			Law: "§8", What: "the deadline does not end a call that waits",
			File: "backend/internal/engine/dispatch.go",
			Old:  "for _, h := range e.schedule.advance(now) {\n\t\te.settled.Add(1)\n\t\tgo e.expire(h)\n\t}", New: "e.schedule.advance(now)",
			Package: engineTests, Run: "TestDeadlines",
		},
	}
}

// clientRules are rules of the protocol that the Go client keeps.
func clientRules() []Break {
	out := append(rulesOfSending(), rulesOfReading()...)
	return append(out, rulesOfConnecting()...)
}

func rulesOfSending() []Break {
	return []Break{
		{
			Law: "§3", What: "the client does not send again what nobody answers",
			File: "client-go/internal/session/message.go",
			Old:  "if msg.sync || msg.tries >= resends ||", New: "if true || msg.tries >= resends ||",
			Package: clientTests, Run: "TestRequestIsSentAgainThreeTimes|TestUnansweredIsSentAgain",
		},
		{
			Law: "§3", What: "the client sends a call of mode sync again that nobody answers",
			File: "client-go/internal/session/message.go",
			Old:  "if msg.sync || msg.tries >= resends ||", New: "if msg.tries >= resends ||",
			Package: clientTests, Run: "TestSync",
		},
		{
			Law: "§3", What: "a foreign frame makes nothing due",
			File: "client-go/internal/session/connection.go",
			Old:  "if msg.conn == a.c && !msg.sync && msg.tries < resends {", New: "if false {",
			Package: clientTests, Run: "TestForeignFrame",
		},
		{
			Law: "§3", What: "the client says two things about one id at a time",
			File: "client-go/internal/session/message.go",
			Old:  "if s.sent != nil {\n\t\tm.timers.stop(&s.timer)\n\t\treturn\n\t}", New: "",
			Package: clientTests, Run: "Test",
		},
	}
}

func rulesOfReading() []Break {
	return []Break{
		{
			Law: "§7", What: "doubles are handed on",
			File: "client-go/internal/follow/reader.go",
			Old:  "if r.over || e.Seq <= r.position && e.Seq != 0 {", New: "if r.over {",
			Package: followTests, Run: "Test",
		},
		{
			Law: "§7", What: "an event beyond a hole is handed on",
			File: "client-go/internal/follow/reader.go",
			Old:  "case e.first() <= r.position+1:\n\t\tr.accept(e, asked)", New: "case true:\n\t\tr.accept(e, asked)",
			Package: followTests, Run: "Test",
		},
		{
			Law: "§7", What: "a hole is pulled without a wait",
			File: "client-go/internal/follow/reader.go",
			Old:  "holeWait = 250 * time.Millisecond", New: "holeWait = time.Millisecond",
			Package: followTests, Run: "TestHoleIsPulledAfter250ms",
		},
		{
			Law: "§7", What: "a far hole is waited for",
			File: "client-go/internal/follow/reader.go",
			Old:  "holeSpan = 64", New: "holeSpan = 6400",
			Package: followTests, Run: "TestFarHoleIsPulledAtOnce",
		},
		{
			Law: "§7", What: "void chunks are not counted",
			File: "client-go/internal/follow/reader.go",
			Old:  "e.Void = r.tally.void(e.keep)", New: "r.tally.void(e.keep)",
			Package: followTests, Run: "Test",
		},
		{
			Law: "§7", What: "older progress replaces newer",
			File: "client-go/internal/follow/reader.go",
			Old:  "if r.over || p.Attempt < r.progress.Attempt || p.Attempt == r.progress.Attempt && p.Rev <= r.progress.Rev {", New: "if r.over {",
			Package: followTests, Run: "TestProgress",
		},
		{
			Law: "§7", What: "silence is not asked about",
			File: "client-go/internal/follow/stream.go",
			Old:  "quiet := s.live && now >= s.heard+s.quiet", New: "quiet := false",
			Package: followTests, Run: "TestQuietIsAskedAbout",
		},
		{
			Law: "§7", What: "another history is taken for a late page",
			File: "client-go/internal/follow/stream.go",
			Old:  "if other {\n\t\ts.restart(m.Attempt)\n\t}", New: "",
			Package: followTests, Run: "TestAnotherHistory",
		},
		{
			Law: "§7", What: "a lag is not heard",
			File: "client-go/internal/follow/stream.go",
			Old:  "s.hear(now)\n\ts.live = false\n\ts.State.LastSeq = max(s.State.LastSeq, lastSeq)", New: "s.hear(now)",
			Package: followTests, Run: "Test",
		},
	}
}

func rulesOfConnecting() []Break {
	return []Break{
		{
			Law: "§12", What: "the next connection is opened when the one before is gone, not before",
			File: "client-go/internal/session/connection.go",
			Old:  "m.timers.set(&c.life, now+m.t.Life-m.jitter(m.t.LifeSpread))", New: "",
			Package: clientTests, Run: "TestMakeBeforeBreak",
		},
		{
			Law: "§12", What: "the client connects again behind a fatal close code",
			File: "client-go/internal/session/connection.go",
			Old:  "if c.final || known && !again {", New: "if false && (c.final || known && !again) {",
			Package: clientTests, Run: "Test",
		},
		{
			Law: "§12", What: "no ping is sent",
			File: "client-go/internal/session/connection.go",
			Old:  "m.timers.set(&c.ping, now+m.t.Ping)\n\tm.timers.set(&c.life", New: "m.timers.set(&c.life",
			Package: clientTests, Run: "TestPing",
		},
		{
			Law: "§12", What: "the token is not renewed in band",
			File: "client-go/internal/session/auth.go",
			Old:  "m.timers.set(&c.refresh, max(c.until-min(m.t.Refresh, left/5), now+minRefresh))", New: "",
			Package: clientTests, Run: "TestToken",
		},
	}
}
