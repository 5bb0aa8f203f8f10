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

// readyPrefix begins the line that a server prints when it accepts connections;
// its address follows.
const readyPrefix = "ready "

// Process is a child process, and whatever it starts. It ends when this process
// does.
type Process struct {
	// Cmd has the ProcessState once Done is closed.
	Cmd *exec.Cmd
	// Address receives the address of a server when it accepts connections.
	Address <-chan string
	// Done is closed when the process has ended.
	Done <-chan struct{}

	stdin io.WriteCloser
}

// Start starts a command whose program calls RunChild with the variable, with
// settings as JSON in that variable, and environment besides. Its standard error
// goes to log.
func Start(command []string, log *os.File, variable string, settings any, environment ...string) (*Process, error) {
	text, err := json.Marshal(settings)
	if err != nil {
		return nil, err
	}
	address, done := make(chan string, 1), make(chan struct{})
	cmd := exec.Command(command[0], command[1:]...) // #nosec G204 -- our own programs
	cmd.Env = append(append(os.Environ(), variable+"="+string(text)), environment...)
	cmd.Stderr = log
	cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
	stdout, err := cmd.StdoutPipe()
	if err != nil {
		return nil, err
	}
	stdin, err := cmd.StdinPipe()
	if err != nil {
		return nil, err
	}
	if err := cmd.Start(); err != nil {
		return nil, err
	}
	go func() {
		defer close(done)
		for lines := bufio.NewScanner(stdout); lines.Scan(); {
			if a, ok := strings.CutPrefix(lines.Text(), readyPrefix); ok {
				address <- a
			}
		}
		_ = cmd.Wait() // ProcessState says how it ended
	}()
	return &Process{cmd, address, done, stdin}, nil
}

// Kill sends SIGKILL to the process and whatever it started, and does not wait.
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

// Killed tells whether a process that has ended died of SIGKILL.
func (p *Process) Killed() bool {
	status, ok := p.Cmd.ProcessState.Sys().(syscall.WaitStatus)
	return ok && status.Signaled() && status.Signal() == syscall.SIGKILL
}

// Send sends the process a line, if it is still there.
func (p *Process) Send(line string) { _, _ = fmt.Fprintln(p.stdin, line) }

// RunChild calls run and exits, if this process was started with variable. Run
// gets the settings, and the lines that are sent to it. When the parent ends,
// the process kills itself.
func RunChild(variable string, run func(settings []byte, lines <-chan string) error) {
	settings, ok := os.LookupEnv(variable)
	if !ok {
		return
	}
	lines := make(chan string, 16)
	go func() {
		for scanner := bufio.NewScanner(os.Stdin); scanner.Scan(); {
			lines <- scanner.Text()
		}
		killSelf()
	}()
	if err := run([]byte(settings), lines); err != nil {
		fmt.Fprintf(os.Stderr, "%s: %v\n", variable, err)
		os.Exit(1)
	}
	os.Exit(0)
}
