package campaign

import (
	"bufio"
	"fmt"
	"io"
	"os"
	"os/exec"
	"strings"
	"syscall"

	"github.com/pay-theory/streamer/e2e/chaos/victim"
)

// process is a program that this one has started, with all that it starts. It
// dies with us.
type process struct {
	cmd   *exec.Cmd
	stdin io.WriteCloser
	// ready gets the address of a victim once it serves.
	ready chan string
	// done is closed when the process has ended; how is in cmd.ProcessState.
	done chan struct{}
}

// start starts a command with an environment of ours and one variable more.
// What it says on its standard error goes to log.
func start(command []string, log *os.File, environment ...string) (*process, error) {
	p := &process{
		cmd:   exec.Command(command[0], command[1:]...), // #nosec G204 -- our own programs
		ready: make(chan string, 1), done: make(chan struct{}),
	}
	p.cmd.Env = append(os.Environ(), environment...)
	p.cmd.Stderr = log
	p.cmd.SysProcAttr = attributes()
	stdout, err := p.cmd.StdoutPipe()
	if err != nil {
		return nil, err
	}
	if p.stdin, err = p.cmd.StdinPipe(); err != nil {
		return nil, err
	}
	if err := p.cmd.Start(); err != nil {
		return nil, err
	}
	go func() {
		defer close(p.done)
		for lines := bufio.NewScanner(stdout); lines.Scan(); {
			if address, ok := strings.CutPrefix(lines.Text(), victim.Ready); ok {
				p.ready <- address
			}
		}
		// How it ended is in ProcessState.
		_ = p.cmd.Wait()
	}()
	return p, nil
}

// kill sends SIGKILL to the process and all that it started, and waits for
// nothing.
func (p *process) kill() {
	select {
	case <-p.done:
	default:
		_ = syscall.Kill(-p.cmd.Process.Pid, syscall.SIGKILL)
	}
}

// end kills the process and waits for its end.
func (p *process) end() {
	p.kill()
	<-p.done
}

// killed tells whether a process that has ended died of SIGKILL.
func (p *process) killed() bool {
	status, ok := p.cmd.ProcessState.Sys().(syscall.WaitStatus)
	return ok && status.Signaled() && status.Signal() == syscall.SIGKILL
}

// command tells a process something.
func (p *process) command(line string) {
	// Who has died is replaced, and the new one needs no old commands.
	_, _ = fmt.Fprintln(p.stdin, line)
}
