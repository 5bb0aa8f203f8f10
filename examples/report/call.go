package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"os"
	"strconv"
	"strings"
	"time"

	"github.com/pay-theory/streamer/backend/auth"
	"github.com/pay-theory/streamer/client-go"
	"github.com/pay-theory/streamer/examples/report/report"
	"github.com/pay-theory/streamer/examples/report/table"
	"github.com/vbauerster/mpb/v8"
	"github.com/vbauerster/mpb/v8/decor"
)

// Generate is the action, with its types, as a client sees it.
const Generate client.Action[report.Params, report.Row, report.Report] = report.Name

// callOptions are what a client is told on the command line.
type callOptions struct {
	url    string
	id     string
	params report.Params
	pace   time.Duration
}

// callFlags adds the flags that say what to report on.
func callFlags(flags *flag.FlagSet) *callOptions {
	o := &callOptions{}
	flags.StringVar(&o.params.GroupBy, "group-by", "state", "state, operator, species, phase, damage, size, daytime, month or year")
	flags.Func("years", "years from 1990 to 2002, as 1999,2000 (default: all)", func(text string) error {
		for _, word := range strings.Split(text, ",") {
			year, err := strconv.Atoi(strings.TrimSpace(word))
			if err != nil {
				return fmt.Errorf("%q is no year", word)
			}
			o.params.Years = append(o.params.Years, year)
		}
		return nil
	})
	flags.Func("states", "states of origin, as Texas,Ohio (default: all)", func(text string) error {
		for _, word := range strings.Split(text, ",") {
			o.params.States = append(o.params.States, strings.TrimSpace(word))
		}
		return nil
	})
	flags.Int64Var(&o.params.MinCost, "min-cost", 0, "leave out strikes that cost less, in $")
	flags.DurationVar(&o.pace, "pace", 60*time.Millisecond, "pause before each group, so that there is something to see; 0 for none")
	return o
}

// runClient calls a server that runs elsewhere.
func runClient(ctx context.Context, args []string) error {
	flags := flag.NewFlagSet("report client", flag.ContinueOnError)
	o := callFlags(flags)
	flags.StringVar(&o.url, "url", "ws://"+defaultAddress, "the server")
	flags.StringVar(&o.id, "id", "", "follow the call with this id from its start, instead of making a new one")
	flags.Lookup("pace").DefValue = "500ms"
	o.pace = 500 * time.Millisecond
	if err := parse(flags, args); err != nil {
		return err
	}
	return call(ctx, o)
}

// call makes the call, or attaches to one, and prints what comes of it.
func call(ctx context.Context, o *callOptions) error {
	secret, _ := key()
	issuer, err := auth.NewIssuer(&auth.IssuerOptions{Secret: secret})
	if err != nil {
		return err
	}
	c, err := client.New(o.url, &client.Options{Token: func(context.Context) (string, error) {
		return issuer.Mint(auth.Grant{Tenant: "example", Subject: "reader"})
	}})
	if err != nil {
		return err
	}
	defer func() {
		goodbye, cancel := context.WithTimeout(context.Background(), time.Second)
		defer cancel()
		_ = c.Close(goodbye)
	}()
	o.params.PaceMs = int(o.pace / time.Millisecond)
	var k *client.Call[report.Row, report.Report]
	if o.id != "" {
		k, err = Generate.Attach(c, o.id)
	} else {
		k, err = Generate.With(o.params).Async().Start(ctx, c)
	}
	if err != nil {
		return err
	}
	s := newScreen(os.Stdout, os.Stderr)
	s.note("call %s; the server is %s", k.ID(), o.url)
	states, stop := context.WithCancel(ctx)
	watched := make(chan struct{})
	go func() {
		defer close(watched)
		for state := range c.States(states) {
			s.phase(state.Phase)
		}
	}()
	result, err := s.follow(ctx, k, o.params.GroupBy)
	stop()
	<-watched
	s.close(err == nil)
	if err != nil {
		if ctx.Err() != nil {
			fmt.Fprintf(os.Stderr, "the call goes on without us; follow it with --id %s\n", k.ID())
		}
		return err
	}
	out := table.New(os.Stdout, table.Colors(os.Stdout))
	out.Report(result)
	return out.Err()
}

// screen is where rows and progress go: on a terminal rows scroll above a bar,
// elsewhere there are rows alone.
type screen struct {
	rows  io.Writer
	notes io.Writer
	color bool
	bars  *mpb.Progress
	bar   *mpb.Bar
	was   client.Phase
}

func newScreen(out, errs *os.File) *screen {
	s := &screen{rows: out, notes: errs, color: table.Colors(out)}
	if terminal(errs) {
		s.bars = mpb.New(mpb.WithOutput(errs), mpb.WithWidth(40), mpb.WithAutoRefresh())
		s.bar = s.bars.AddBar(100, mpb.PrependDecorators(decor.Name("records ")), mpb.AppendDecorators(decor.Percentage()))
		s.notes = s.bars
		if terminal(out) {
			s.rows = s.bars
		}
	}
	return s
}

func terminal(f *os.File) bool {
	info, err := f.Stat()
	return err == nil && info.Mode()&os.ModeCharDevice != 0
}

func (s *screen) note(format string, args ...any) { fmt.Fprintf(s.notes, format+"\n", args...) }

// phase says when the connection is lost.
func (s *screen) phase(now client.Phase) {
	if s.was == client.Connected && now != client.Connected && now != client.Closed {
		s.note("… the connection is lost; waiting for the server")
	}
	s.was = now
}

// follow prints the call's rows as they come, and returns its result.
func (s *screen) follow(ctx context.Context, k *client.Call[report.Row, report.Report], groupBy string) (report.Report, error) {
	out := table.New(s.rows, s.color)
	out.Head(groupBy)
	for event, err := range k.Events(ctx) {
		if err != nil {
			return report.Report{}, err
		}
		switch event.Kind {
		case client.KindProgress:
			if s.bar != nil {
				s.bar.SetCurrent(int64(event.Progress.Percent))
			}
		case client.KindChunk:
			out.Row(event.Chunk)
		case client.KindAttempt:
			s.note("… attempt %d began (%s); %s", event.Attempt.Number, event.Attempt.Code, voided(event.Attempt.Void))
		case client.KindEnd:
			result, err := k.Result(ctx)
			return result, errors.Join(err, out.Err())
		}
	}
	return report.Report{}, errors.New("the call had no end")
}

// voided says what has become of the rows above.
func voided(n int) string {
	switch n {
	case 0:
		return "it continues after the last row"
	case 1:
		return "the last row is void, and comes again"
	}
	return fmt.Sprintf("the last %d rows are void, and come again", n)
}

// close leaves the bar behind, full if all went well.
func (s *screen) close(done bool) {
	if s.bar == nil {
		return
	}
	if done {
		s.bar.SetCurrent(100)
	} else {
		s.bar.Abort(false)
	}
	s.bars.Wait()
}
