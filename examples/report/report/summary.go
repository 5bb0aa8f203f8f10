package report

import (
	"cmp"
	"slices"
	"time"
)

// maxNamed is how many species and operators a report names.
const maxNamed = 10

func (t *Tally) add(s *strike) {
	t.Strikes++
	t.Cost += s.cost
	if s.damaged() {
		t.Damaging++
	}
	if s.speed < 0 {
		t.UnknownSpeed++
	}
}

func (t *Tally) merge(o Tally) {
	t.Strikes += o.Strikes
	t.Cost += o.Cost
	t.Damaging += o.Damaging
	t.UnknownSpeed += o.UnknownSpeed
}

// summarize makes the report about strikes.
func summarize(selected []*strike, groups int) Report {
	out := Report{Groups: groups}
	for _, s := range selected {
		out.Total.add(s)
		out.Months[s.date.Month()-1] += s.cost
		day := s.date.Format(time.DateOnly)
		if out.From == "" || day < out.From {
			out.From = day
		}
		out.To = max(out.To, day)
	}
	out.TopSpecies = topSpecies(selected)
	out.Phases = phases(selected)
	out.Operators = operators(selected)
	return out
}

// topSpecies relies on the order of groupStrikes: the largest group is first.
func topSpecies(selected []*strike) []Named {
	out := []Named{}
	for _, g := range groupStrikes(selected, "species") {
		out = append(out, g.Named)
	}
	return out[:min(len(out), maxNamed)]
}

func phases(selected []*strike) []Phase {
	out := []Phase{}
	for _, g := range groupStrikes(selected, "phase") {
		p := Phase{Named: g.Named, Damage: map[string]int{}}
		for _, s := range g.strikes {
			p.Damage[s.damage]++
		}
		out = append(out, p)
	}
	slices.SortFunc(out, func(a, b Phase) int {
		return cmp.Or(cmp.Compare(b.Damaging, a.Damaging), cmp.Compare(b.Strikes, a.Strikes), cmp.Compare(a.Name, b.Name))
	})
	return out
}

func operators(selected []*strike) []Operator {
	out := []Operator{}
	for _, g := range groupStrikes(selected, "operator") {
		o := Operator{Named: g.Named}
		for _, s := range g.strikes {
			o.Months[s.date.Month()-1] += s.cost
		}
		out = append(out, o)
	}
	slices.SortFunc(out, func(a, b Operator) int {
		return cmp.Or(cmp.Compare(b.Cost, a.Cost), cmp.Compare(b.Strikes, a.Strikes), cmp.Compare(a.Name, b.Name))
	})
	if len(out) <= maxNamed {
		return out
	}
	others := Operator{Named: Named{Name: Others}}
	for _, o := range out[maxNamed:] {
		others.merge(o.Tally)
		for i, cost := range o.Months {
			others.Months[i] += cost
		}
	}
	return append(out[:maxNamed], others)
}

// roundTenth returns sum/n rounded to one decimal, halves up. It uses integers, so
// that the result is the same on every machine.
func roundTenth(sum, n int) float64 { return float64((20*sum+n)/(2*n)) / 10 }
