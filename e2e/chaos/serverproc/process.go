package serverproc

import (
	"bufio"
	"encoding/json"
	"fmt"
	"io"
	"os"
	"os/exec"
	"strings"
	"syscall"
)

// variable is the environment variable that holds a server's Settings.
const variable = "STREAMER_CHAOS_SERVER"

// readyPrefix begins the line that a server prints when it accepts connections;
// its address follows. Its other lines are entries.
const readyPrefix = "ready "

// Entry is what a handler has done: an attempt has begun, or returned.
type Entry struct {
	At       int64 // by Now
	Run      int   // the number of the process, from 1
	ID       string
	Action   string
	Attempt  int
	Returned bool
	Failed   bool // it has returned an error
}

// Now returns the machine's time in microseconds since 1970. It asks the
// kernel, because the clock of package time may jump in a run.
func Now() int64 {
	var t syscall.Timeval
	if err := syscall.Gettimeofday(&t); err != nil {
		panic(err) // it fails only when given a bad address
	}
	return t.Sec*1e6 + int64(t.Usec) //nolint:unconvert // it has 32 bits on some systems
}

// sendEntry sends an entry to the parent in one write, which survives the process
// and does not mix with others.
func sendEntry(e Entry) {
	e.At = Now()
	if err := json.NewEncoder(os.Stdout).Encode(e); err != nil {
		fmt.Fprintln(os.Stderr, "an entry cannot be written:", err)
		os.Exit(3) // not to be taken for a kill
	}
}

// RunChild runs a server and exits, if Start has started this process. The
// server is killed when the process that has started it ends.
func RunChild() {
	settings, ok := os.LookupEnv(variable)
	if !ok {
		return
	}
	go func() {
		_, _ = io.Copy(io.Discard, os.Stdin)
		killSelf()
	}()
	if err := run(settings); err != nil {
		fmt.Fprintln(os.Stderr, "server:", err)
		os.Exit(1)
	}
	os.Exit(0)
}

// Process is a server, and the command under which it runs.
type Process struct {
	// Address receives the server's address when it accepts connections. It is
	// closed after Done.
	Address <-chan string
	// Done is closed when the process has ended. Then Cmd has its ProcessState,
	// and Entries are what its handlers have done.
	Done    <-chan struct{}
	Cmd     *exec.Cmd
	Entries []Entry
}

// Start starts a server by a command whose program calls RunChild. Its standard
// error goes to log.
func Start(command []string, s *Settings, log *os.File, environment ...string) (*Process, error) {
	settings, err := json.Marshal(s)
	if err != nil {
		return nil, err
	}
	cmd := exec.Command(command[0], command[1:]...) // #nosec G204 -- our own programs
	cmd.Env = append(append(os.Environ(), variable+"="+string(settings)), environment...)
	cmd.Stderr = log
	cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
	stdout, err := cmd.StdoutPipe()
	if err != nil {
		return nil, err
	}
	if _, err = cmd.StdinPipe(); err != nil { // it ends when this process does
		return nil, err
	}
	if err := cmd.Start(); err != nil {
		return nil, err
	}
	address, done := make(chan string, 1), make(chan struct{})
	p := &Process{Cmd: cmd, Address: address, Done: done}
	go func() {
		defer close(address)
		defer close(done)
		for lines := bufio.NewScanner(stdout); lines.Scan(); {
			if a, ok := strings.CutPrefix(lines.Text(), readyPrefix); ok {
				address <- a
				continue
			}
			var e Entry
			_ = json.Unmarshal(lines.Bytes(), &e) // an entry without an id is found
			p.Entries = append(p.Entries, e)
		}
		_ = cmd.Wait() // ProcessState says how it ended
	}()
	return p, nil
}

// Kill sends SIGKILL to the process and its command, and does not wait.
func (p *Process) Kill() {
	select {
	case <-p.Done:
	default:
		_ = syscall.Kill(-p.Cmd.Process.Pid, syscall.SIGKILL)
	}
}

// Stop kills the process and waits for its end.
func (p *Process) Stop() {
	p.Kill()
	<-p.Done
}

// Killed reports whether a process that has ended died of SIGKILL.
func (p *Process) Killed() bool {
	status, ok := p.Cmd.ProcessState.Sys().(syscall.WaitStatus)
	return ok && status.Signaled() && status.Signal() == syscall.SIGKILL
}
