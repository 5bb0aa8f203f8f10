package cli

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"strconv"
	"syscall"
	"time"

	"github.com/pay-theory/streamer/backend/auth"
	"github.com/pay-theory/streamer/backend/conformance/actions"
	"github.com/pay-theory/streamer/backend/server"
	"github.com/pay-theory/streamer/backend/store/embedded"
	"github.com/pay-theory/streamer/backend/streamer"
)

// demoCommand runs a server with the fixed actions of the conformance suite.
type demoCommand struct {
	Port      uint16        `default:"8080" placeholder:"N" help:"Port to listen on, on this machine only; 0 takes one that is free. Default: ${default}"`
	AdminPort uint16        `default:"8081" placeholder:"N" help:"Port for operators, likewise. Default: ${default}"`
	Dir       string        `env:"STREAMER_DIR" default:".streamer" placeholder:"DIR" help:"Folder for the demo's things: its calls, in a SQLite file, and its secret. Default: ${default}"`
	Grace     time.Duration `default:"5s" placeholder:"TIME" help:"How long running handlers may go on after Ctrl-C. Default: ${default}"`
	Hostile   hostility     `help:"Do to clients what gateways do on a bad day: lose, double, delay and overtake frames, cut connections. --hostile=SEED does it again."`
	Quiet     bool          `short:"q" help:"Do not show what is called."`
	Verbose   bool          `short:"v" help:"Log all that the server does, to standard error. Otherwise only its own errors are logged."`
}

const databaseFile = "streamer.db"

// Help is the longer help.
func (*demoCommand) Help() string {
	return `Nothing else is needed: calls are kept in one SQLite file, and a token is printed that opens the server for an hour. ` +
		`The other commands find the secret in the folder, and make their own. ` +
		`What runs when the demo stops goes on when it is started again. Ctrl-C stops it in good order, with exit code 0; a second one at once.`
}

// Run serves until it is interrupted.
func (k *demoCommand) Run(a *App) error {
	began := time.Now()
	if k.Grace < 0 {
		return usage("--grace is not negative", "")
	}
	secret, err := k.folder()
	if err != nil {
		return err
	}
	issuer, err := auth.NewIssuer(&auth.IssuerOptions{Secret: secret})
	if err != nil {
		return err
	}
	authenticator, err := issuer.Authenticator()
	if err != nil {
		return err
	}
	listener, err := listen(k.Port, "--port")
	if err != nil {
		return err
	}
	admin, err := listen(k.AdminPort, "--admin-port")
	if err != nil {
		return errors.Join(err, listener.Close())
	}
	s, err := k.server(a, authenticator)
	if err != nil {
		return errors.Join(err, listener.Close(), admin.Close())
	}
	token, err := issuer.Mint(auth.Grant{Tenant: demoTenant, Subject: demoSubject})
	if err == nil {
		b := banner{
			url: "ws://" + listener.Addr().String(), adminURL: "http://" + admin.Addr().String(), dir: k.Dir, token: token, took: time.Since(began),
		}
		err = b.print(a)
	}
	d := &demo{app: a, admin: &http.Server{
		Handler: s.AdminHandler(), ReadHeaderTimeout: 10 * time.Second, IdleTimeout: time.Minute, MaxHeaderBytes: 32 << 10,
	}, grace: k.Grace, serve: s.Serve}
	if err == nil && k.Hostile.on {
		d.serve, err = k.hostile(a, s)
	}
	if err != nil {
		return errors.Join(failed("standard output", "", err), listener.Close(), admin.Close(), s.Shutdown(noGrace()))
	}
	return d.run(listener, admin)
}

// folder makes the demo's folder, with a secret, if they are not there.
func (k *demoCommand) folder() (secret []byte, err error) {
	_, err = os.Stat(k.Dir)
	fresh := errors.Is(err, fs.ErrNotExist)
	if err = os.MkdirAll(k.Dir, 0o700); err == nil && fresh {
		// The folder is ours: nothing of it belongs into a repository.
		err = os.WriteFile(filepath.Join(k.Dir, ".gitignore"), []byte("*\n"), 0o600)
	}
	if err == nil {
		secret, err = ensureSecret(k.Dir)
	}
	var f *failure
	if err != nil && !errors.As(err, &f) {
		err = failed("the folder of the demo cannot be used", "name another by --dir", err)
	}
	return secret, err
}

// listen opens a port of this machine, for this machine only.
func listen(port uint16, flag string) (net.Listener, error) {
	l, err := net.Listen("tcp", net.JoinHostPort("127.0.0.1", strconv.Itoa(int(port))))
	switch {
	case err == nil:
		return l, nil
	case inUse(err):
		return nil, failed(fmt.Sprintf("port %d is in use", port), flag+" names another; 0 takes one that is free", nil)
	}
	return nil, failed(fmt.Sprintf("cannot listen on port %d", port), flag+" names another", err)
}

// inUse tells whether another has the port; Windows has a number of its own for
// it, WSAEADDRINUSE.
func inUse(err error) bool {
	return errors.Is(err, syscall.EADDRINUSE) || errors.Is(err, syscall.Errno(10048))
}

// server makes the server, with the actions.
func (k *demoCommand) server(a *App, authenticator auth.Authenticator) (*server.Server, error) {
	router := streamer.NewRouter(nil)
	actions.Register(router)
	if !k.Quiet {
		router.Use(newActivity(a).watch)
	}
	level := slog.LevelError
	if k.Verbose {
		level = slog.LevelDebug
	}
	data := filepath.Join(k.Dir, databaseFile)
	s, err := server.New(router, &server.Options{
		Data: data, Auth: authenticator, Grace: max(k.Grace, time.Millisecond),
		Logger: slog.New(slog.NewTextHandler(a.Stderr, &slog.HandlerOptions{Level: level})),
	})
	var locked *embedded.LockedError
	if errors.As(err, &locked) {
		by := "another process"
		if locked.PID != 0 {
			by = "process " + strconv.Itoa(locked.PID)
		}
		return nil, failed(data+" is in use by "+by, "one folder is for one demo: stop the other, or name another folder by --dir", nil)
	}
	if err != nil {
		return nil, failed("the server cannot start", "", err)
	}
	return s, nil
}

// demo is a server that runs.
type demo struct {
	app   *App
	admin *http.Server
	grace time.Duration
	// serve serves until its context ends, and shuts down.
	serve func(context.Context, net.Listener) error
}

// run serves until the first interrupt, and shuts down; at the second it
// returns at once.
func (d *demo) run(listener, admin net.Listener) error {
	ctx, stop := context.WithCancel(context.Background())
	defer stop()
	served := make(chan error, 1)
	go func() {
		defer close(served)
		served <- d.serve(ctx, listener)
	}()
	operated := make(chan error, 1)
	go func() {
		defer close(operated)
		operated <- d.admin.Serve(admin)
	}()
	var err error
	select {
	case <-d.app.Interrupts:
		st := d.app.errStyle()
		_, _ = fmt.Fprintln(d.app.Stderr, st.dim("stopping: running handlers have "+duration(d.grace)+"; Ctrl-C again stops at once"))
	case err = <-served:
	case err = <-operated:
	}
	stop()
	quick, cancel := context.WithTimeout(context.Background(), time.Second)
	defer cancel()
	if d.admin.Shutdown(quick) != nil {
		_ = d.admin.Close()
	}
	for range operated {
		continue // it was closed by us, or its error is known already
	}
	select {
	case down := <-served:
		err = errors.Join(err, down)
	case <-d.app.Interrupts:
		return &failure{exit: exitInterrupted, text: "stopped at once", err: errInterrupted}
	}
	if err != nil {
		return failed("the server", "", err)
	}
	return nil
}

// noGrace is a context that is over: no grace.
func noGrace() context.Context {
	ctx, cancel := context.WithCancel(context.Background())
	cancel()
	return ctx
}
