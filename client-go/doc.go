// Package client calls actions of a Streamer server over a WebSocket and
// follows them until they are done, however long that takes.
//
// A [Client] keeps one connection open, and connects again when it is lost. An
// [Action] names a handler together with the types of its parameters, chunks
// and result:
//
//	const Generate client.Action[Params, Row, Report] = "report.generate"
//
//	c, err := client.Dial(ctx, "wss://example.com/ws", &client.Options{Token: fetchToken})
//	report, err := Generate.With(params).Await(ctx, c)
//
// [Request.Await] waits for the result; [Request.Start] returns a [Call] whose
// events can be read one by one; [Request.Collect] returns chunks and result. A
// fast call is answered in one round trip. A slow one is stored by the server:
// it survives lost connections and restarts of the server and of the client,
// and any client of the same caller can follow it by its id with
// [Action.Attach].
//
// # Disconnect, detach, cancel
//
// These are three different things. A lost connection changes nothing: the
// client connects again and continues where it was. To detach ([Call.Detach],
// or the end of the context given to Await or Collect) is to stop following;
// the call continues. To cancel ([Call.Cancel]) is to stop the work.
//
// # Events
//
// A reader gets every durable event exactly once and in order. When an attempt
// fails, the next one begins with an attempt event that says how many of the
// chunks read before, counted from the last, are discarded. Of progress a
// reader gets the newest. There is exactly one end.
//
// # Errors
//
// A refusal of the server and the failure of a call are an [*Error]; its Code
// says which, and Retryable whether trying again can help. Await and Collect
// return a [*DetachedError] when their context ends first.
//
// # Concurrency
//
// All methods of a [Client] and of a [Call] are safe for concurrent use.
// Callbacks run in the goroutine that waits for the call, not in the one that
// reads the connection: they may block, and may use the client.
package client
