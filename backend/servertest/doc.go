// Package servertest is a Streamer server that treats its clients as API
// Gateway and Lambda do on a bad day: frames are lost, doubled, overtaken and
// delayed, a gateway's own errors stand among the messages, handshakes are
// throttled, connections end after 10 idle minutes and after 2 hours, are cut
// without a word, or fall silent and stay open, and the server learns late or
// never that a client has left. It is to clients what net/http/httptest is to
// clients of HTTP: real, in process, and made for tests.
//
//	s := servertest.New(t, router, &servertest.Options{
//		Seed:   42,
//		Faults: servertest.Rough(),
//	})
//	c := myclient.Dial(s.URL, s.Token("acme", "ann"))
//	// … make calls, and see that each comes to its one end
//
// What is behind the gateway is the real server, package server, with the
// router's real handlers; only the network in front of it is bad. Nothing that
// the server has acknowledged is lost, so a client that keeps the protocol's
// rules comes to the right end of every call that was accepted, whatever the
// gateway does. One that does not can be seen to fail.
//
// Faults come in three ways. By chance: [Options.Faults] gives each its rate,
// and [Options.Seed] says which chance; the same seed does the same to the n-th
// frame of the m-th connection. By script: [Gateway.Next] does one fault to the
// next frame that matches. By hand: [Gateway.CutAll], [Gateway.GoAwayAll] and
// [Gateway.HalfOpenAll] do it to all connections now, and [Gateway.Advance]
// moves the gateway's clock. [Gateway.Log] tells what was done to which frame;
// [New] prints the end of it when the test has failed.
//
// Two hours are long for a test. Either move the gateway's clock by
// [Gateway.Advance], or run everything in a bubble of testing/synctest: with
// [Options.Pipes] the server listens in memory, and [Server.DialContext] is how
// clients reach it.
//
// [NewGateway] puts the gateway in front of any handler that serves the
// protocol, such as a server of your own configuration. `streamer demo
// --hostile` is a server to try with a client in any language.
package servertest
