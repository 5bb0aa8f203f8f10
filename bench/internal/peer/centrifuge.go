package peer

import (
	"context"
	"errors"
	"net/http"
	"strconv"
	"sync"
	"time"

	"github.com/centrifugal/centrifuge"
)

// openCentrifuge serves channels that everybody may subscribe to. Nothing is
// kept: neither history nor presence.
func openCentrifuge(ctx context.Context, s *settings, address string, controls *http.ServeMux) (*service, error) {
	node, err := centrifuge.New(centrifuge.Config{LogLevel: centrifuge.LogLevelNone})
	if err != nil {
		return nil, err
	}
	reply := centrifuge.ConnectReply{Credentials: &centrifuge.Credentials{UserID: subject}}
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
		return nil, err
	}
	controls.HandleFunc("POST /publish", func(w http.ResponseWriter, r *http.Request) { publish(w, r, node) })
	h, err := serveHTTP(address, centrifuge.NewWebsocketHandler(node, config))
	if err != nil {
		return nil, errors.Join(err, node.Shutdown(context.WithoutCancel(ctx)))
	}
	return &service{run: func(ctx context.Context) error {
		return errors.Join(h.run(ctx), node.Shutdown(context.WithoutCancel(ctx)))
	}}, nil
}

// publish publishes the time to channels, each at a pace of its own, as
// handlers would.
func publish(w http.ResponseWriter, r *http.Request, node *centrifuge.Node) {
	channels, _ := strconv.Atoi(r.FormValue("channels"))
	times, _ := strconv.Atoi(r.FormValue("times"))
	every, err := time.ParseDuration(r.FormValue("every"))
	if err != nil || every <= 0 {
		http.Error(w, "every is no time", http.StatusBadRequest)
		return
	}
	failures := make([]error, channels)
	var publishers sync.WaitGroup
	for channel := range channels {
		publishers.Go(func() {
			ticker := time.NewTicker(every)
			defer ticker.Stop()
			for range times {
				select {
				case <-ticker.C:
				case <-r.Context().Done():
					return
				}
				now := strconv.AppendInt(nil, time.Now().UnixNano(), 10)
				if _, err := node.Publish(strconv.Itoa(channel), now); err != nil {
					failures[channel] = err
					return
				}
			}
		})
	}
	publishers.Wait()
	if err := errors.Join(failures...); err != nil {
		http.Error(w, err.Error(), http.StatusInternalServerError)
	}
}
