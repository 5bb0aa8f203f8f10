package peer

import (
	"context"
	"fmt"
	"net"
	"net/http"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"

	"github.com/jackc/pgx/v5"
)

// PostgresUser is the user, and the database, of the PostgreSQL peer.
const PostgresUser = "postgres"

// PostgresURL is where a client finds a PostgreSQL.
func PostgresURL(address, password string) string {
	u := url.URL{
		Scheme: "postgres", User: url.UserPassword(PostgresUser, password), Host: address, Path: PostgresUser, RawQuery: "sslmode=disable",
	}
	return u.String()
}

// postgresOptions are what PostgreSQL's documentation advises for a small
// machine that has other work, too. What is not named has its default: each
// commit is synced, and autovacuum is on.
var postgresOptions = map[string]string{
	"shared_buffers": "1GB", "effective_cache_size": "4GB", "max_connections": "100", "max_wal_size": "4GB", "checkpoint_timeout": "15min",
	"random_page_cost": "1.1", "fsync": "on", "synchronous_commit": "on", "unix_socket_directories": "", "logging_collector": "off",
}

// openPostgres makes a database in the peer's directory and starts PostgreSQL
// on it.
func openPostgres(ctx context.Context, s *settings, address string, _ *http.ServeMux) (*service, error) {
	host, port, err := net.SplitHostPort(address)
	if err != nil {
		return nil, err
	}
	password := newPassword()
	secret, data := filepath.Join(s.Dir, "password"), filepath.Join(s.Dir, "data")
	//nolint:gosec // the program was found by this one
	initialize := child(exec.CommandContext(ctx, filepath.Join(filepath.Dir(s.Program), "initdb"), "--pgdata", data, "--username", PostgresUser,
		"--pwfile", secret, "--auth", "scram-sha-256", "--encoding", "UTF8", "--locale", "C", "--no-sync"))
	args := []string{"-D", data, "-h", host, "-p", port}
	for name, value := range postgresOptions {
		args = append(args, "-c", name+"="+value)
	}
	serve := child(exec.Command(s.Program, args...)) //nolint:gosec,noctx // as above; it is stopped by a signal
	if err := unprivileged(s.Dir, initialize, serve); err != nil {
		return nil, err
	}
	if err := os.WriteFile(secret, []byte(password), 0o644); err != nil { //nolint:gosec // the directory is closed to others
		return nil, err
	}
	initialize.Dir = s.Dir
	if said, err := initialize.CombinedOutput(); err != nil {
		return nil, fmt.Errorf("initdb: %w: %s", err, said)
	}
	p, err := start(ctx, serve, os.Interrupt, s.Dir, func(ctx context.Context) error {
		conn, err := pgx.Connect(ctx, PostgresURL(address, password))
		if err != nil {
			return err
		}
		return conn.Close(ctx)
	})
	if err != nil {
		return nil, err
	}
	return &service{password: password, run: p.run}, nil
}
