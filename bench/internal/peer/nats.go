package peer

import (
	"context"
	"errors"
	"net"
	"net/http"
	"strconv"
	"time"

	"github.com/nats-io/nats-server/v2/server"
)

// openNATS runs a NATS server with JetStream in this process. Streams that are
// kept in files are synced with every message.
func openNATS(_ context.Context, s *settings, address string, _ *http.ServeMux) (*service, error) {
	host, port, err := net.SplitHostPort(address)
	if err != nil {
		return nil, err
	}
	number, err := strconv.Atoi(port)
	if err != nil {
		return nil, err
	}
	password := newPassword()
	n, err := server.NewServer(&server.Options{
		ServerName: "bench", Host: host, Port: number, Authorization: password, NoSigs: true, NoLog: true,
		JetStream: true, StoreDir: s.Dir, SyncAlways: true, JetStreamMaxMemory: -1, JetStreamMaxStore: -1,
	})
	if err != nil {
		return nil, err
	}
	n.Start()
	if !n.ReadyForConnections(startTimeout) {
		n.Shutdown()
		return nil, errors.New("NATS did not get ready")
	}
	return &service{password: password, run: func(ctx context.Context) error {
		<-ctx.Done()
		n.Shutdown()
		n.WaitForShutdown()
		return nil
	}}, nil
}

// startTimeout is for how long a server may get ready.
const startTimeout = 30 * time.Second
