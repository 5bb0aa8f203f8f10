// Package client calls actions of a Streamer server over a WebSocket and
// follows them until they are done, however long that takes.
//
// A [Client] keeps one connection open, and comes back by itself when it is
// lost. An [Action] names a handler together with the types of what goes in
// and comes out:
//
//	const Generate client.Action[Params, Row, Report] = "report.generate"
//
//	c, err := client.Dial(ctx, "wss://example.com/ws", &client.Options{Token: fetchToken})
//	report, err := Generate.With(params).Await(ctx, c)
//
// [Request.Await] waits for the result; [Request.Start] returns a [Call] whose
// events can be read one by one; [Request.Collect] gathers chunks and result.
// A quick call is answered in one round trip. A slow one is stored by the
// server and survives lost connections, restarts on both sides, and the client
// itself: [Action.Attach] follows it from anywhere by its id.
//
// # Disconnect, detach, cancel
//
// These are three things. Losing the connection changes nothing: the client
// reconnects and goes on where it was. Detaching ([Call.Detach], or the end of
// the context given to Await or Collect) stops listening; the call goes on.
// Cancelling ([Call.Cancel]) stops the work.
//
// # What a reader sees
//
// Every durable event is handed on exactly once and in order. When an attempt
// of a handler dies, the next one begins with an attempt event that tells how
// many of the chunks handed on before, counted from the last, are void.
// Progress is state, not history: a reader sees the newest. There is exactly
// one end.
//
// # Errors
//
// What a server refuses, and how a call fails, is an [*Error]; its Code tells
// which, and whether trying again can help. Await and Collect return a
// [*DetachedError] when their context ends first.
//
// # Concurrency
//
// All methods of a [Client] and of a [Call] are safe for concurrent use.
// Callbacks run in the goroutine that waits for the call, never in the one
// that reads the connection: they may block, and may use the client.
package client
