package cli

import (
	"testing"

	"github.com/stretchr/testify/assert"
)

func TestInterruptDetaches(t *testing.T) {
	d := startTestDemo(t)
	p := d.start("call", "wait", "--json")
	id := p.out.await(t, `"type":"chunk","id":"([^"]+)"`)[1]
	p.interrupt()
	p.wait(t, exitInterrupted)
	follow := "streamer follow --url " + d.url + " --dir " + d.dir + " " + id
	mustContain(t, p.err.String(), "stopped following; the call continues", follow, "streamer cancel --url")
	assert.NotContains(t, p.err.String(), "streamer: ", "an interrupt is printed as an error")
	mustContain(t, d.output("list", "--status", "running"), id)

	f := d.start("follow", id)
	f.out.await(t, `"i":1`)
	f.interrupt()
	f.wait(t, exitInterrupted)
	d.run(exitOK, "cancel", id)
}

func TestInterruptCancels(t *testing.T) {
	d := startTestDemo(t)
	p := d.start("call", "wait", "--cancel-on-interrupt")
	p.out.await(t, `"i":1`)
	p.interrupt()
	p.wait(t, exitCancelled)
	mustContain(t, p.err.String(), "cancelling; Ctrl-C again stops following", "streamer: cancelled")

	// The second interrupt stops following a handler that ignores its context.
	p = d.start("call", "deaf", `{"ms": 1500}`, "--cancel-on-interrupt")
	p.out.await(t, `"i":1`)
	p.interrupt()
	p.err.await(t, "cancelling")
	p.interrupt()
	p.wait(t, exitInterrupted)
	mustContain(t, p.err.String(), "stopped following;")
}

func TestInterruptBeforeItIsStored(t *testing.T) {
	d := startTestDemo(t)
	for mode, want := range map[string]string{"auto": "is not stored yet", "sync": "its answer is lost"} {
		p := d.start("call", "slow", `{"ms": 700}`, "--json", "--mode", mode)
		p.out.await(t, `"type":"call"`)
		p.interrupt()
		p.wait(t, exitInterrupted)
		mustContain(t, p.err.String(), want)
	}
}
