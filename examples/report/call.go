package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"iter"
	"os"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/pay-theory/streamer/backend/auth"
	"github.com/pay-theory/streamer/client-go"
	"github.com/pay-theory/streamer/examples/report/report"
)

// Generate is the action, with its types, as a client sees it.
const Generate client.Action[report.Params, report.Row, report.Report] = report.Name

// callOptions are the client's flags.
type callOptions struct {
	url    string
	id     string
	params report.Params
	pace   time.Duration
}

// callFlags defines the flags that say what to report on.
func callFlags(flags *flag.FlagSet) *callOptions {
	o := &callOptions{}
	flags.StringVar(&o.params.GroupBy, "group-by", "state", "state, operator, species, phase, damage, size, daytime, month or year")
	flags.Func("years", "years from 1990 to 2002, as 1999,2000 (default: all)", func(text string) error {
		for _, word := range strings.Split(text, ",") {
			year, err := strconv.Atoi(strings.TrimSpace(word))
			if err != nil {
				return fmt.Errorf("a year must be a number, got %q", word)
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
	flags.DurationVar(&o.pace, "pace", 60*time.Millisecond, "pause before each group, to have something to watch; 0 for none")
	return o
}

// runClient calls a server in another process.
func runClient(ctx context.Context, args []string) error {
	flags := flag.NewFlagSet("report client", flag.ContinueOnError)
	o := callFlags(flags)
	flags.StringVar(&o.url, "url", "ws://"+defaultAddress, "URL of the server")
	flags.StringVar(&o.id, "id", "", "follow the call with this id from its start, instead of starting a new one")
	flags.Lookup("pace").DefValue = "500ms"
	o.pace = 500 * time.Millisecond
	if err := parse(flags, args); err != nil {
		return err
	}
	return call(ctx, o)
}

// call starts a call, or attaches to one, and prints its rows and its result.
func call(ctx context.Context, o *callOptions) error {
	secret, _ := tokenSecret()
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
		closing, cancel := context.WithTimeout(context.Background(), time.Second)
		defer cancel()
		_ = c.Close(closing)
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
	s := &screen{terminal: isTerminal(os.Stderr)}
	s.note("call %s; the server is %s", k.ID(), o.url)
	states, stop := context.WithCancel(ctx)
	var watching sync.WaitGroup
	watching.Go(func() { s.watch(c.States(states)) })
	result, err := s.follow(ctx, k, o.params.GroupBy)
	stop()
	watching.Wait()
	s.showProgress("")
	if ctx.Err() != nil && err != nil {
		s.note("the call continues; follow it with --id %s", k.ID())
	}
	if err != nil {
		return err
	}
	return printReport(os.Stdout, result, hasColors(os.Stdout))
}

// screen writes rows to standard output and notes to standard error. If standard
// error is a terminal, its last line shows the progress.
type screen struct {
	terminal bool
	mu       sync.Mutex
	progress string
}

// write writes whole lines above the progress.
func (s *screen) write(f *os.File, lines string) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.progress != "" {
		fmt.Fprint(os.Stderr, clearLine)
		defer fmt.Fprint(os.Stderr, s.progress)
	}
	_, err := f.WriteString(lines)
	return err
}

const clearLine = "\r\x1b[K"

func (s *screen) note(format string, args ...any) {
	_ = s.write(os.Stderr, fmt.Sprintf(format+"\n", args...))
}

// showProgress replaces the last line; empty text removes it.
func (s *screen) showProgress(text string) {
	if !s.terminal {
		return
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	s.progress = text
	fmt.Fprint(os.Stderr, clearLine+text)
}

// watch says when the connection is lost.
func (s *screen) watch(states iter.Seq[client.State]) {
	connected := false
	for state := range states {
		if connected && state.Phase != client.Open && state.Phase != client.Closed {
			s.note("… the connection is lost; waiting for the server")
		}
		connected = state.Phase == client.Open
	}
}

// follow prints the call's rows as they come, and returns its result.
func (s *screen) follow(ctx context.Context, k *client.Call[report.Row, report.Report], groupBy string) (report.Report, error) {
	err := s.write(os.Stdout, formatHead(groupBy))
	for event, eventErr := range k.Events(ctx) {
		if err = errors.Join(err, eventErr); err != nil {
			return report.Report{}, err
		}
		switch event.Kind {
		case client.KindProgress:
			percent := int(event.Progress.Percent)
			s.showProgress(fmt.Sprintf("%-25s %3d %%  %.40s", strings.Repeat("━", percent/4), percent, printable(event.Progress.Message)))
		case client.KindChunk:
			err = s.write(os.Stdout, formatGroup(event.Chunk))
		case client.KindAttempt:
			s.note("… attempt %d has started (%s); %s", event.Attempt.Number, event.Attempt.Code, describeDiscarded(event.Attempt.Discarded))
		case client.KindEnd:
			return k.Result(ctx)
		}
	}
	return report.Report{}, errors.New("the call had no end")
}

// describeDiscarded says what happens to the rows above.
func describeDiscarded(rows int) string {
	switch rows {
	case 0:
		return "it continues after the last row"
	case 1:
		return "the last row is discarded, and comes again"
	}
	return fmt.Sprintf("the last %d rows are discarded, and come again", rows)
}
