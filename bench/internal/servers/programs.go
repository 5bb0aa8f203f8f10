package servers

import (
	"context"
	"fmt"
	"net"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"syscall"

	"github.com/jackc/pgx/v5"
)

// PostgresURL is where clients find a PostgreSQL.
func (s *Server) PostgresURL() string {
	u := url.URL{Scheme: "postgres", User: url.UserPassword("postgres", s.Password), Host: s.Address, Path: "postgres", RawQuery: "sslmode=disable"}
	return u.String()
}

// postgresOptions are what PostgreSQL's documentation advises for a small
// machine that has other work, too. What is not named has its default: each
// commit is synced, and autovacuum is on.
var postgresOptions = []string{
	"shared_buffers=1GB", "effective_cache_size=4GB", "max_connections=100", "max_wal_size=4GB", "checkpoint_timeout=15min",
	"random_page_cost=1.1", "fsync=on", "synchronous_commit=on", "unix_socket_directories=", "logging_collector=off",
}

func (s *Server) startPostgres(ctx context.Context) error {
	program, err := findProgram("postgres", "/usr/lib/postgresql/*/bin/postgres")
	if err != nil {
		return err
	}
	secret, data := filepath.Join(s.Dir, "password"), filepath.Join(s.Dir, "data")
	if err := os.WriteFile(secret, []byte(s.Password), 0o644); err != nil { //nolint:gosec // the directory is closed to others
		return err
	}
	user := ""
	if os.Geteuid() == 0 { // PostgreSQL refuses root
		user = "postgres"
		if text, err := exec.CommandContext(ctx, "chown", user, s.Dir).CombinedOutput(); err != nil { //nolint:gosec // it was made by this program
			return fmt.Errorf("%w: %s", ErrMissing, text)
		}
	}
	initialize := command(user, filepath.Join(filepath.Dir(program), "initdb"), "--pgdata", data, "--username", "postgres",
		"--pwfile", secret, "--auth", "scram-sha-256", "--encoding", "UTF8", "--locale", "C", "--no-sync")
	initialize.Dir = s.Dir
	if text, err := initialize.CombinedOutput(); err != nil {
		// As another user it may not reach the directory.
		return fmt.Errorf("%w: initdb: %w: %s", ErrMissing, err, text)
	}
	host, port, _ := net.SplitHostPort(s.Address)
	args := []string{"-D", data, "-h", host, "-p", port}
	for _, option := range postgresOptions {
		args = append(args, "-c", option)
	}
	cmd := command(user, program, args...)
	cmd.Dir = s.Dir
	return s.launch(ctx, cmd, func() error { return cmd.Process.Signal(os.Interrupt) }, func(ctx context.Context) error {
		conn, err := pgx.Connect(ctx, s.PostgresURL())
		if err != nil {
			return err
		}
		return conn.Close(ctx)
	})
}

// startRedis starts a Redis that logs all writes.
func (s *Server) startRedis(ctx context.Context, everySecond bool) error {
	program, err := findProgram("redis-server", "/usr/bin/redis-server")
	if err != nil {
		return err
	}
	fsync := "always"
	if everySecond {
		fsync = "everysec"
	}
	host, port, _ := net.SplitHostPort(s.Address)
	cmd := command("", program, "-")
	// Its settings come on its standard input: arguments can be read by all.
	cmd.Stdin = strings.NewReader(fmt.Sprintf("bind %s\nport %s\ndir %q\nrequirepass %s\nappendonly yes\nappendfsync %s\nsave \"\"\n",
		host, port, s.Dir, s.Password, fsync))
	return s.launch(ctx, cmd, func() error { return cmd.Process.Signal(syscall.SIGTERM) }, s.listens)
}

// findProgram returns the path of a program: where Debian puts it, of several versions
// the newest, or in the path.
func findProgram(name, pattern string) (string, error) {
	if found, _ := filepath.Glob(pattern); len(found) > 0 {
		return slices.Max(found), nil
	}
	path, err := exec.LookPath(name)
	if err != nil {
		return "", fmt.Errorf("%w: %s is not installed; make bench-tools installs it where it can", ErrMissing, name)
	}
	return filepath.EvalSymlinks(path)
}

// command returns a command that runs as a user, "" for this one. On Linux it
// ends with this process even if that is killed.
func command(user, program string, args ...string) *exec.Cmd {
	args = append([]string{program}, args...)
	if user != "" {
		args = append([]string{"--reuid", user, "--regid", user, "--init-groups"}, args...)
	}
	if setpriv, err := exec.LookPath("setpriv"); err == nil {
		return exec.Command(setpriv, append([]string{"--pdeathsig", "TERM"}, args...)...) //nolint:gosec,noctx // it is stopped by Stop
	}
	return exec.Command(program, args[slices.Index(args, program)+1:]...) //nolint:gosec,noctx // as above
}
