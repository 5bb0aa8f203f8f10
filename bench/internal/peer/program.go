package peer

import (
	"bytes"
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"time"
)

// program is a server that is a program by itself, and runs as a child.
type program struct {
	cmd *exec.Cmd
	log string
	// quit is the signal that has it shut down in good order.
	quit   os.Signal
	exited chan struct{}
	err    error // of its exit
}

// start starts a program, whose output goes to a file in dir, and waits until
// ready says that it is.
func start(ctx context.Context, cmd *exec.Cmd, quit os.Signal, dir string, ready func(context.Context) error) (*program, error) {
	p := &program{cmd: cmd, log: filepath.Join(dir, "log"), quit: quit, exited: make(chan struct{})}
	f, err := os.OpenFile(p.log, os.O_CREATE|os.O_WRONLY|os.O_APPEND, 0o600)
	if err != nil {
		return nil, err
	}
	cmd.Stdout, cmd.Stderr, cmd.Dir = f, f, dir
	err = cmd.Start()
	_ = f.Close()
	if err != nil {
		return nil, err
	}
	go func() {
		p.err = cmd.Wait()
		close(p.exited)
	}()
	if err := p.await(ctx, ready); err != nil {
		return nil, errors.Join(fmt.Errorf("%s did not get ready: %w%s", filepath.Base(cmd.Path), err, p.last()), p.stop())
	}
	return p, nil
}

// await asks again and again whether the program is ready.
func (p *program) await(ctx context.Context, ready func(context.Context) error) error {
	ctx, cancel := context.WithTimeout(ctx, startTimeout)
	defer cancel()
	ticker := time.NewTicker(20 * time.Millisecond)
	defer ticker.Stop()
	for {
		err := ready(ctx)
		if err == nil {
			return nil
		}
		select {
		case <-ticker.C:
		case <-p.exited:
			return errors.Join(errors.New("it has ended"), p.err)
		case <-ctx.Done():
			return errors.Join(ctx.Err(), err)
		}
	}
}

// last returns the end of what the program has said, on lines of their own.
func (p *program) last() string {
	said, _ := os.ReadFile(p.log)
	said = bytes.TrimSpace(said)
	if len(said) == 0 {
		return ""
	}
	return "\n" + string(said[max(0, len(said)-1000):])
}

// run lets the program run until ctx ends.
func (p *program) run(ctx context.Context) error {
	select {
	case <-ctx.Done():
		return p.stop()
	case <-p.exited:
		return fmt.Errorf("%s has ended by itself: %w%s", filepath.Base(p.cmd.Path), p.err, p.last())
	}
}

// stop has the program shut down, or kills it when it does not.
func (p *program) stop() error {
	_ = p.cmd.Process.Signal(p.quit)
	timer := time.NewTimer(stopTimeout / 2)
	defer timer.Stop()
	select {
	case <-p.exited:
		return nil
	case <-timer.C:
	}
	_ = p.cmd.Process.Kill()
	<-p.exited
	return fmt.Errorf("%s did not shut down, and was killed", filepath.Base(p.cmd.Path))
}

// newPassword returns a password for one peer.
func newPassword() string { return rand.Text() }
