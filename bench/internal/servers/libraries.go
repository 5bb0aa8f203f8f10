package servers

import (
	"context"
	"encoding/json"
	"errors"
	"net"
	"net/http"
	"strconv"
	"time"

	"github.com/centrifugal/centrifuge"
	"github.com/gorilla/websocket"
	nats "github.com/nats-io/nats-server/v2/server"
	"golang.org/x/sync/errgroup"
)

// message is what the bare echo decodes and encodes: a request of Streamer's
// with an order.
type message struct {
	Type    string `json:"type"`
	ID      string `json:"id"`
	Action  string `json:"action"`
	Payload Order  `json:"payload"`
}

// serveBare is the yardstick: gorilla/websocket as its documentation shows it,
// with default buffers, and encoding/json.
func serveBare(ctx context.Context, s *settings, _ *http.ServeMux) error {
	upgrader := websocket.Upgrader{}
	return serveHTTP(ctx, s.Address, http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		ws, err := upgrader.Upgrade(w, r, nil)
		if err != nil {
			return
		}
		defer func() { _ = ws.Close() }()
		for {
			kind, data, err := ws.ReadMessage()
			var m message
			if err == nil {
				err = json.Unmarshal(data, &m)
			}
			if err == nil {
				data, err = json.Marshal(&m)
			}
			if err == nil {
				err = ws.WriteMessage(kind, data)
			}
			if err != nil {
				return
			}
		}
	}))
}

// serveCentrifuge serves channels that every client may subscribe to. Nothing is
// kept: neither history nor presence.
func serveCentrifuge(ctx context.Context, s *settings, controls *http.ServeMux) error {
	node, err := centrifuge.New(centrifuge.Config{LogLevel: centrifuge.LogLevelNone})
	if err != nil {
		return err
	}
	// Idle connections are not read, so pings would not be answered.
	reply := centrifuge.ConnectReply{
		Credentials: &centrifuge.Credentials{UserID: subject}, PingPongConfig: &centrifuge.PingPongConfig{PingInterval: time.Hour},
	}
	var config centrifuge.WebsocketConfig
	if s.Tuned {
		// What its documentation names for many idle connections.
		config.UseWriteBufferPool, config.ProcessCommandsOffReadLoop = true, true
		config.ReadBufferSize, config.WriteBufferSize = 512, 512
		reply.QueueInitialCap = 1
	}
	node.OnConnecting(func(context.Context, centrifuge.ConnectEvent) (centrifuge.ConnectReply, error) { return reply, nil })
	node.OnConnect(func(c *centrifuge.Client) {
		c.OnSubscribe(func(_ centrifuge.SubscribeEvent, answer centrifuge.SubscribeCallback) {
			answer(centrifuge.SubscribeReply{}, nil)
		})
	})
	if err := node.Run(); err != nil {
		return err
	}
	controls.HandleFunc("/publish", func(w http.ResponseWriter, r *http.Request) {
		if err := publish(r, node); err != nil {
			http.Error(w, err.Error(), http.StatusInternalServerError)
		}
	})
	err = serveHTTP(ctx, s.Address, centrifuge.NewWebsocketHandler(node, config))
	return errors.Join(err, node.Shutdown(context.WithoutCancel(ctx)))
}

// publish publishes the time to channels, in a goroutine for each, as handlers
// would.
func publish(r *http.Request, node *centrifuge.Node) error {
	channels, _ := strconv.Atoi(r.FormValue("channels"))
	times, _ := strconv.Atoi(r.FormValue("times"))
	every, _ := time.ParseDuration(r.FormValue("every"))
	publishers, ctx := errgroup.WithContext(r.Context())
	for channel := range channels {
		publishers.Go(func() error {
			ticker := time.NewTicker(max(every, time.Millisecond))
			defer ticker.Stop()
			for range times {
				now := strconv.AppendInt(nil, time.Now().UnixNano(), 10)
				if _, err := node.Publish(strconv.Itoa(channel), now); err != nil {
					return err
				}
				select {
				case <-ticker.C:
				case <-ctx.Done():
					return ctx.Err()
				}
			}
			return nil
		})
	}
	return publishers.Wait()
}

// serveNATS serves NATS with JetStream. Streams that are kept in files are
// synced with every message.
func serveNATS(ctx context.Context, s *settings, _ *http.ServeMux) error {
	host, port, _ := net.SplitHostPort(s.Address)
	number, err := strconv.Atoi(port)
	if err != nil {
		return err
	}
	n, err := nats.NewServer(&nats.Options{
		ServerName: "bench", Host: host, Port: number, Authorization: s.Password, NoSigs: true, NoLog: true,
		JetStream: true, StoreDir: s.Dir, SyncAlways: true, JetStreamMaxMemory: -1, JetStreamMaxStore: -1,
	})
	if err != nil {
		return err
	}
	n.Start()
	<-ctx.Done()
	n.Shutdown()
	n.WaitForShutdown()
	return nil
}
