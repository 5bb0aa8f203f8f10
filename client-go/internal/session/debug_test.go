package session
import "fmt"
func (w *world) dump() {
	for id, s := range w.m.streams {
		fmt.Printf("stream %s live=%v known=%v on=%v sent=%+v later=%v timer=%v st=%+v calls=%d\n", id, s.Live(), s.Known, s.on!=nil, s.sent, s.later, s.timer, s.State, len(s.calls))
		for _, c := range s.calls { fmt.Printf("   reader %+v\n", c.Reader) }
		fmt.Println("  want", s.Want(w.now), s.Deadline(w.now))
	}
	for id, c := range w.server.calls { fmt.Println("server", id, c.last(), c.ended(), c.epoch, w.server.subs) }
	fmt.Println("conn", w.m.conn, w.m.dialing, w.m.next())
}
func (w *world) dump2() { for _, c := range w.all { if !c.Reader.Over() { fmt.Printf("%s submitted=%v removed=%v %+v end=%+v\n", c.ID(), c.submitted, c.s.removed, c.Reader, c.Reader.End()) } } }
