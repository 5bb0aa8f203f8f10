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
	Port      uint16        `default:"8080" placeholder:"N" help:"Port to listen on, on this machine only; 0 takes a free one. Default: ${default}"`
	AdminPort uint16        `default:"8081" placeholder:"N" help:"Port for operators, on this machine only; 0 takes a free one. Default: ${default}"`
	Dir       string        `env:"STREAMER_DIR" default:".streamer" placeholder:"DIR" help:"Folder for the demo's files: its calls, in a SQLite file, and its secret. Default: ${default}"`
	Grace     time.Duration `default:"5s" placeholder:"TIME" help:"How long running handlers may continue after Ctrl-C. Default: ${default}"`
	Hostile   hostileFlag   `help:"Inject faults between server and clients: lose, duplicate, delay and reorder frames, cut connections. --hostile=SEED injects the same faults again."`
	Quiet     bool          `short:"q" help:"Do not print attempts."`
	Verbose   bool          `short:"v" help:"Log everything that the server does, to standard error. Otherwise only errors are logged."`
}

const databaseFile = "streamer.db"

func (*demoCommand) Help() string {
	return `Calls are kept in one SQLite file; nothing else is needed. A token is printed that is valid for an hour. ` +
		`The other commands find the secret in the folder, and make their own tokens. ` +
		`Calls that run when the demo stops continue when it is started again. Ctrl-C shuts down, with exit code 0; a second Ctrl-C stops at once.`
}

// Validate is called by kong.
func (k *demoCommand) Validate() error {
	if k.Grace < 0 {
		return errors.New("--grace must not be negative")
	}
	return nil
}

// Run serves until it is interrupted.
func (k *demoCommand) Run(a *App) error {
	started := time.Now()
	secret, err := k.ensureFolder()
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
	token, err := issuer.Mint(auth.Grant{Tenant: demoTenant, Subject: demoSubject})
	if err != nil {
		return err
	}
	listener, err := listen(k.Port, "--port")
	if err != nil {
		return err
	}
	defer func() { _ = listener.Close() }()
	admin, err := listen(k.AdminPort, "--admin-port")
	if err != nil {
		return err
	}
	defer func() { _ = admin.Close() }()
	s, err := k.newServer(a, authenticator)
	if err != nil {
		return err
	}
	b := banner{
		url: "ws://" + listener.Addr().String(), adminURL: "http://" + admin.Addr().String(), dir: k.Dir, token: token,
		startup: time.Since(started),
	}
	err = b.print(a)
	serve := s.Serve
	if err == nil && k.Hostile.set {
		serve, err = k.serveHostile(a, s)
	}
	if err != nil {
		noGrace, cancel := context.WithCancel(context.Background())
		cancel()
		return errors.Join(outputFailure(err), s.Shutdown(noGrace))
	}
	operators := &http.Server{
		Handler: s.AdminHandler(), ReadHeaderTimeout: 10 * time.Second, IdleTimeout: time.Minute, MaxHeaderBytes: 32 << 10,
	}
	return k.serve(a, func(ctx context.Context) error { return serve(ctx, listener) }, operators, admin)
}

// ensureFolder makes the demo's folder and its secret if they do not exist.
func (k *demoCommand) ensureFolder() (secret []byte, err error) {
	_, err = os.Stat(k.Dir)
	isNew := errors.Is(err, fs.ErrNotExist)
	if err = os.MkdirAll(k.Dir, 0o700); err == nil && isNew {
		// A folder that we made belongs in no repository.
		err = os.WriteFile(filepath.Join(k.Dir, ".gitignore"), []byte("*\n"), 0o600)
	}
	if err == nil {
		secret, err = ensureSecret(k.Dir)
	}
	var f *failure
	if err != nil && !errors.As(err, &f) {
		err = failed("the folder of the demo cannot be used", "--dir names another", err)
	}
	return secret, err
}

// listen listens on a port, for this machine only.
func listen(port uint16, flag string) (net.Listener, error) {
	const onWindows = syscall.Errno(10048) // WSAEADDRINUSE
	l, err := net.Listen("tcp", net.JoinHostPort("127.0.0.1", strconv.Itoa(int(port))))
	switch {
	case err == nil:
		return l, nil
	case errors.Is(err, syscall.EADDRINUSE), errors.Is(err, onWindows):
		return nil, failed(fmt.Sprintf("port %d is in use", port), flag+" names another; 0 takes a free one", nil)
	}
	return nil, failed(fmt.Sprintf("cannot listen on port %d", port), flag+" names another", err)
}

// newServer returns a server with the actions.
func (k *demoCommand) newServer(a *App, authenticator auth.Authenticator) (*server.Server, error) {
	router := streamer.NewRouter(nil)
	actions.Register(router)
	if !k.Quiet {
		router.Use(a.showAttempts)
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
		return nil, failed(data+" is in use by "+by, "a folder is for one demo: stop the other, or name another folder by --dir", nil)
	}
	if err != nil {
		return nil, failed("the server cannot start", "", err)
	}
	return s, nil
}

// serve serves until the first interrupt, then shuts down; at the second it returns
// at once. run serves clients until its context ends, then shuts down.
func (k *demoCommand) serve(a *App, run func(context.Context) error, operators *http.Server, admin net.Listener) error {
	ctx, stop := context.WithCancel(context.Background())
	defer stop()
	served, adminServed := make(chan error, 1), make(chan error, 1)
	go func() { served <- run(ctx) }()
	go func() { adminServed <- operators.Serve(admin) }()
	var err error
	select {
	case <-a.Interrupts:
		note := "stopping: running handlers have " + formatDuration(k.Grace) + "; Ctrl-C again stops at once"
		_, _ = fmt.Fprintln(a.Stderr, a.errStyle().dim(note))
	case err = <-served:
		served <- nil // it has ended
	case err = <-adminServed:
		adminServed <- nil
	}
	stop()
	soon, cancel := context.WithTimeout(context.Background(), time.Second)
	defer cancel()
	if operators.Shutdown(soon) != nil {
		_ = operators.Close()
	}
	<-adminServed // the error is that of Shutdown, or known already
	select {
	case serveErr := <-served:
		err = errors.Join(err, serveErr)
	case <-a.Interrupts:
		return &failure{exit: exitInterrupted, text: "stopped at once", err: errInterrupted}
	}
	if err != nil {
		return failed("the server", "", err)
	}
	return nil
}
