package embedded

import (
	"bufio"
	"fmt"
	"os"
	"os/exec"
	"testing"

	"github.com/pay-theory/streamer/backend/store"
	"github.com/stretchr/testify/require"
)

// childPath names the variable with the path of a database. Some tests need
// another process that writes: this binary, started with that variable.
const childPath = "STREAMER_EMBEDDED_TEST_PATH"

type process struct {
	*exec.Cmd
	lines *bufio.Scanner
}

// start starts a child process, which is killed at the end of the test.
func start(t *testing.T, path string) *process {
	cmd := exec.Command(os.Args[0])
	cmd.Env = append(os.Environ(), childPath+"="+path)
	cmd.Stderr = os.Stderr
	out, err := cmd.StdoutPipe()
	require.NoError(t, err)
	require.NoError(t, cmd.Start())
	p := &process{Cmd: cmd, lines: bufio.NewScanner(out)}
	t.Cleanup(func() { p.kill() })
	return p
}

// kill kills the child process and waits for it.
func (p *process) kill() {
	_ = p.Process.Kill()
	for p.lines.Scan() {
		// Wait must not close the pipe while it is read.
	}
	_ = p.Wait()
}

func (p *process) readLine(t *testing.T) string {
	require.True(t, p.lines.Scan(), "the child ended")
	return p.lines.Text()
}

// child opens the database and runs requests from several goroutines until one
// fails. It prints what was confirmed, one line each: the id, the newest seq, and
// whether the request has ended.
func child(path string) error {
	s, err := Open(path, nil)
	if err != nil {
		return err
	}
	failed := make(chan error, 8)
	for worker := range 8 {
		go func() {
			var err error
			for err == nil {
				err = runRequest(s, worker)
			}
			failed <- err
		}()
	}
	return <-failed
}

func runRequest(s *Store, worker int) error {
	n := newClaimed(worker)
	if _, err := s.Accept(bg, n); err != nil {
		return err
	}
	fmt.Println(n.ID, 1, false)
	seq := uint64(1)
	for range worker {
		seq++
		g := &store.Segment{First: seq, Last: seq, Events: []store.Event{
			{Kind: store.Chunk, Seq: seq, Attempt: 1, Data: []byte(chunkText(n.ID, seq))},
		}}
		if _, err := s.Record(bg, firstFence(n.Key), store.Report{Segment: g, Checkpoint: []byte(n.ID), CheckpointKeep: seq}); err != nil {
			return err
		}
		fmt.Println(n.ID, seq, false)
	}
	if worker%2 == 0 {
		end := &store.End{Status: store.Succeeded, Payload: []byte(n.ID)}
		if _, err := s.Finish(bg, firstFence(n.Key), store.Outcome{End: end}); err != nil {
			return err
		}
		fmt.Println(n.ID, seq+1, true)
	}
	return nil
}

func chunkText(id string, seq uint64) string { return fmt.Sprintf("%s %d", id, seq) }
