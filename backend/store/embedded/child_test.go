package embedded

import (
	"bufio"
	"fmt"
	"io"
	"os"
	"os/exec"
	"sync"
	"testing"

	"github.com/pay-theory/streamer/backend/store"
	"github.com/stretchr/testify/require"
)

// Some tests need another process: this binary, started with a role and a
// database path.
const (
	childRole = "STREAMER_EMBEDDED_TEST_CHILD"
	childPath = "STREAMER_EMBEDDED_TEST_PATH"
)

func child(role string) {
	roles := map[string]func(path string) error{"hold": holdChild, "write": writeChild}
	if err := roles[role](os.Getenv(childPath)); err != nil {
		fmt.Println("error:", err)
		os.Exit(1)
	}
}

type process struct {
	*exec.Cmd
	lines *bufio.Scanner
	stdin io.WriteCloser
}

// start starts a child process, which is killed at the end of the test.
func start(t *testing.T, role, path string) *process {
	cmd := exec.Command(os.Args[0])
	cmd.Env = append(os.Environ(), childRole+"="+role, childPath+"="+path)
	cmd.Stderr = os.Stderr
	out, err := cmd.StdoutPipe()
	require.NoError(t, err)
	in, err := cmd.StdinPipe()
	require.NoError(t, err)
	require.NoError(t, cmd.Start())
	p := &process{Cmd: cmd, lines: bufio.NewScanner(out), stdin: in}
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

// holdChild opens the database and holds it until it is killed.
func holdChild(path string) error {
	s, err := Open(path, nil)
	if err != nil {
		return err
	}
	fmt.Println("open")
	_, _ = io.Copy(io.Discard, os.Stdin)
	return s.Close()
}

// writeChild runs requests from several goroutines and prints what was
// confirmed, one line each: A accepted, R recorded up to a seq, F finished.
func writeChild(path string) error {
	s, err := Open(path, nil)
	if err != nil {
		return err
	}
	var mu sync.Mutex
	report := func(format string, args ...any) {
		mu.Lock()
		defer mu.Unlock()
		fmt.Printf(format+"\n", args...)
	}
	var wg sync.WaitGroup
	failed := make(chan error, 8)
	for worker := range 8 {
		wg.Go(func() {
			for {
				if err := runRequest(s, worker, report); err != nil {
					failed <- err
					return
				}
			}
		})
	}
	return <-failed
}

func runRequest(s *Store, worker int, report func(string, ...any)) error {
	n := newClaimed(worker)
	if _, err := s.Accept(bg, n); err != nil {
		return err
	}
	report("A %s", n.ID)
	seq := uint64(1)
	for range worker {
		seq++
		g := &store.Segment{First: seq, Last: seq, Events: []store.Event{
			{Kind: store.Chunk, Seq: seq, Attempt: 1, Data: []byte(chunkText(n.ID, seq))},
		}}
		if _, err := s.Record(bg, firstFence(n.Key), store.Report{Segment: g, Checkpoint: []byte(n.ID), CheckpointKeep: seq}); err != nil {
			return err
		}
		report("R %s %d", n.ID, seq)
	}
	if worker%2 == 0 {
		end := &store.End{Status: store.Succeeded, Payload: []byte(n.ID)}
		if _, err := s.Finish(bg, firstFence(n.Key), store.Outcome{End: end}); err != nil {
			return err
		}
		report("F %s %d", n.ID, seq+1)
	}
	return nil
}

func chunkText(id string, seq uint64) string { return fmt.Sprintf("%s %d", id, seq) }
