package peer

import (
	"context"
	"fmt"
	"net"
	"net/http"
	"os/exec"
	"strings"
	"syscall"

	"github.com/redis/go-redis/v9"
)

// openRedis starts a Redis that keeps a log of all it is told.
func openRedis(ctx context.Context, s *settings, address string, _ *http.ServeMux) (*service, error) {
	host, port, err := net.SplitHostPort(address)
	if err != nil {
		return nil, err
	}
	fsync := "always"
	if s.EverySecond {
		fsync = "everysec"
	}
	password := newPassword()
	cmd := child(exec.Command(s.Program, "-")) //nolint:gosec,noctx // it was found by this one, and is stopped by a signal
	// Its settings come on its standard input: arguments can be read by all.
	cmd.Stdin = strings.NewReader(fmt.Sprintf("bind %s\nport %s\ndir %q\nrequirepass %s\nappendonly yes\nappendfsync %s\nsave \"\"\ndaemonize no\n",
		host, port, s.Dir, password, fsync))
	p, err := start(ctx, cmd, syscall.SIGTERM, s.Dir, func(ctx context.Context) error {
		c := redis.NewClient(&redis.Options{Addr: address, Password: password, MaxRetries: -1})
		defer func() { _ = c.Close() }()
		return c.Ping(ctx).Err()
	})
	if err != nil {
		return nil, err
	}
	return &service{password: password, run: p.run}, nil
}
