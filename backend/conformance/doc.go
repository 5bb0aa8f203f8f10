// Package conformance plays the transcripts of contract/sessions: what is
// sent, what must come back, and what goes wrong in between. [Play] plays one
// against a server, [PlayClient] one against a client; contract/sessions/README.md
// describes the format.
//
// The player knows no sockets, starts no goroutines and reads no clock but
// that of context deadlines, so that it plays inside a testing/synctest bubble
// as well as against a server far away. What it plays against is a [Target] or
// a [ClientTarget]: a small interface, with optional roles for what not every
// server or client can be made to do. A transcript that needs a role which the
// target does not play is skipped aloud.
//
// Two targets are ready-made: [Remote] is any server by its URL, [ClientProcess]
// any client in a process of its own. [Suite] plays many transcripts, and
// counts; what is known to fail is in [KnownFailures]. The transcripts
// themselves are in package sessions.
//
// The handlers that the transcripts call are in package actions beside it.
package conformance
