// Package servertest is a Streamer server behind a gateway that simulates the
// faults of API Gateway and Lambda: frames are lost, doubled, overtaken and
// delayed, the gateway sends errors of its own, handshakes are throttled,
// connections end after 10 idle minutes and after 2 hours, are cut without a close
// frame, or become half-open, and the server is notified late or never that a
// client has left. Like net/http/httptest for clients of HTTP, it is a real server
// in the process of the test.
//
//	s := servertest.New(t, router, &servertest.Options{
//		Seed:   42,
//		Faults: servertest.Rough(),
//	})
//	c := myclient.Dial(s.URL, s.Token("acme", "ann"))
//	// … make calls, and check that each ends exactly once
//
// Behind the gateway is the real server, package server, with the router's real
// handlers; only the network has faults. Nothing that the server has acknowledged
// is lost, so a client that follows the protocol gets the right end of every
// accepted call, with any faults. A client that does not will fail.
//
// There are three kinds of faults. Random: [Options.Faults] holds their rates and
// [Options.Seed] the seed; the same seed chooses the same fault for the n-th frame
// of the m-th connection. Scripted: [Gateway.Next] applies a fault to the next
// matching frame. Manual: [Gateway.CutAll], [Gateway.GoAwayAll] and
// [Gateway.HalfOpenAll] apply a fault to all connections now, and
// [Gateway.Advance] moves the gateway's clock. [Gateway.Log] returns what happened
// to each frame; [New] prints the end of it when the test has failed.
//
// To test limits of hours, move the gateway's clock with [Gateway.Advance], or run
// everything in a bubble of testing/synctest: with [Options.Pipes] the server
// listens in memory, and clients connect with [Server.DialContext].
//
// [NewGateway] puts the gateway in front of any handler that serves the
// protocol, such as a server of your own configuration. `streamer demo
// --hostile` is a server to try with a client in any language.
package servertest
