// Package report holds the handlers of an example: reports on ten thousand
// wildlife strikes on aircraft (see SOURCES.md). It knows neither sockets nor AWS.
package report

import (
	"cmp"
	"context"
	"slices"
	"strconv"
	"time"

	"github.com/pay-theory/streamer/backend/streamer"
)

// Name is the action's name.
const Name = "report.generate"

// Register registers the handlers with a router.
func Register(r *streamer.Router) {
	streamer.HandleStream(r, Name, Generate,
		streamer.ExpectFunc(expect),
		streamer.Retry(5, streamer.Backoff{Base: time.Second, Max: 30 * time.Second}),
		streamer.Timeout(10*time.Minute),
		streamer.Describe("Reports on wildlife strikes on aircraft, 1990 to 2002, group by group."))
}

// position is the checkpoint.
type position struct {
	// Groups is how many rows have been emitted, Last the name of the last.
	Groups int    `json:"groups"`
	Last   string `json:"last"`
}

// Generate reports on the strikes that the params select. It emits a row for each
// group, followed by a checkpoint; a retry continues with the next group and has
// the same result.
func Generate(ctx context.Context, in Params, call *streamer.Call[Row]) (Report, error) {
	all, err := strikes()
	if err != nil {
		return Report{}, err
	}
	if err := checkStates(all, in.States); err != nil {
		return Report{}, err
	}
	selected := selectStrikes(all, in)
	groups := groupStrikes(selected, in.GroupBy)
	var pos position
	if _, err := call.Resume(&pos); err != nil {
		return Report{}, streamer.Permanent(err)
	}
	if pos.Groups > len(groups) || pos.Groups > 0 && groups[pos.Groups-1].Name != pos.Last {
		return Report{}, streamer.Permanent(streamer.Errorf("data_changed", "the data has changed since the last attempt"))
	}
	done := 0
	for i, g := range groups {
		if i < pos.Groups {
			done += g.Strikes
			continue
		}
		if err := pause(ctx, time.Duration(in.PaceMs)*time.Millisecond); err != nil {
			return Report{}, err
		}
		row := g.newRow(func(n int) {
			call.Progress(percent(done+n, len(selected)), g.Name)
		})
		done += g.Strikes
		call.Emit(row)
		call.Checkpoint(position{Groups: i + 1, Last: g.Name})
	}
	call.Progress(percent(done, len(selected)), "summing up")
	out := summarize(selected, len(groups))
	call.Progress(100, "done")
	return out, nil
}

// percent leaves the last percent to the summary.
func percent(done, all int) float64 { return 99 * float64(done) / float64(max(all, 1)) }

// expect returns how long a report takes: hardly more than its pauses.
func expect(in Params) time.Duration {
	if in.PaceMs == 0 {
		return 0
	}
	all, err := strikes()
	if err != nil {
		return 0
	}
	return time.Duration(in.PaceMs) * time.Millisecond * time.Duration(len(groupStrikes(selectStrikes(all, in), in.GroupBy)))
}

// pause waits, or returns an error when the context ends.
func pause(ctx context.Context, d time.Duration) error {
	select {
	case <-time.After(d):
	case <-ctx.Done():
	}
	return context.Cause(ctx)
}

// checkStates refuses states that are not in the data.
func checkStates(all []strike, states []string) error {
	for i, state := range states {
		if !slices.ContainsFunc(all, func(s strike) bool { return s.state == state }) {
			err := streamer.Errorf("unknown_state", "no strikes are recorded for this state")
			err.Field = "/states/" + strconv.Itoa(i)
			return streamer.Permanent(err)
		}
	}
	return nil
}

// selectStrikes returns the strikes that the params ask for.
func selectStrikes(all []strike, in Params) []*strike {
	out := make([]*strike, 0, len(all))
	for i := range all {
		s := &all[i]
		if len(in.Years) > 0 && !slices.Contains(in.Years, s.date.Year()) ||
			len(in.States) > 0 && !slices.Contains(in.States, s.state) || s.cost < in.MinCost {
			continue
		}
		out = append(out, s)
	}
	return out
}

// strikeGroup holds the strikes with the same value.
type strikeGroup struct {
	Named
	strikes []*strike
}

// groupKeys return the name of a strike's group, for each GroupBy.
var groupKeys = map[string]func(*strike) string{
	"state":    func(s *strike) string { return s.state },
	"operator": func(s *strike) string { return s.operator },
	"species":  func(s *strike) string { return s.species },
	"phase":    func(s *strike) string { return s.phase },
	"damage":   func(s *strike) string { return s.damage },
	"size":     func(s *strike) string { return s.size },
	"daytime":  func(s *strike) string { return s.daytime },
	"month":    func(s *strike) string { return s.date.Format("2006-01") },
	"year":     func(s *strike) string { return s.date.Format("2006") },
}

// groupStrikes groups strikes. Months and years are in their order; of other
// groups the largest comes first.
func groupStrikes(selected []*strike, by string) []strikeGroup {
	key := groupKeys[by]
	index := map[string]int{}
	var out []strikeGroup
	for _, s := range selected {
		name := key(s)
		i, known := index[name]
		if !known {
			i = len(out)
			index[name] = i
			out = append(out, strikeGroup{Named: Named{Name: name}})
		}
		out[i].add(s)
		out[i].strikes = append(out[i].strikes, s)
	}
	slices.SortFunc(out, func(a, b strikeGroup) int {
		if by == "month" || by == "year" {
			return cmp.Compare(a.Name, b.Name)
		}
		return cmp.Or(cmp.Compare(b.Strikes, a.Strikes), cmp.Compare(a.Name, b.Name))
	})
	return out
}

// progressStep is how many strikes there are between two progress reports.
const progressStep = 250

// newRow makes the row of a group.
func (g *strikeGroup) newRow(progress func(done int)) Row {
	out := Row{Group: g.Name, Tally: g.Tally}
	knots := 0
	for i, s := range g.strikes {
		knots += max(s.speed, 0)
		if (i+1)%progressStep == 0 || i+1 == g.Strikes {
			progress(i + 1)
		}
	}
	if known := out.Strikes - out.UnknownSpeed; known > 0 {
		mean := roundTenth(knots, known)
		out.MeanSpeed = &mean
	}
	return out
}
