// Package conformance plays the transcripts of contract/sessions: what is
// sent, what must come back, and what goes wrong in between. [Play] plays one
// against a server, [PlayClient] one against a client; contract/sessions/README.md
// describes the format.
//
// The player uses no sockets, starts no goroutines and reads no clock but that
// of context deadlines, so it can play inside a testing/synctest bubble as well
// as against a remote server. It plays against a [Target] or a [ClientTarget],
// small interfaces with an [Ability] for each thing that not every server or
// client can do. A transcript that needs an ability which the target lacks is
// skipped, and says so.
//
// [Remote] is any server by its URL, [ClientProcess] any client in a process of
// its own. [Suite] plays many transcripts and counts. The transcripts are in
// package sessions, and the handlers that they call in package actions.
//
// The module is versioned with the command streamer, and makes no promise of
// compatibility.
package conformance
