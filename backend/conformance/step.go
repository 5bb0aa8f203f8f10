package conformance

import (
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"time"
)

// mainLine is what a connection is called that has no name.
const mainLine = "main"

// Step is one step of a transcript: a verb with its argument, and modifiers.
type Step struct {
	// Verb is what is done, and Arg with what.
	Verb string
	Arg  any
	// On names the connection.
	On string
	// Ignoring are types of messages that are passed over.
	Ignoring []string
	// Within is how long to wait. Zero: Options.Patience.
	Within time.Duration
	// with holds the modifiers that only this verb has.
	with object
	// source is the step as it stands in the file.
	source string
}

// kind is what a verb or modifier takes.
type kind func(any) bool

func isText(n any) bool   { s, ok := n.(string); return ok && s != "" }
func isString(n any) bool { _, ok := n.(string); return ok }
func isTrue(n any) bool   { return n == true }
func isObject(n any) bool { _, ok := n.(object); return ok }
func isList(n any) bool   { l, ok := n.([]any); return ok && len(l) > 0 }
func isAny(any) bool      { return true }

func isCount(n any) bool {
	i, ok := integer(n)
	return ok && i >= 0
}

func isMessages(n any) bool { return isObject(n) || isList(n) }

func isStringOrObject(n any) bool { return isString(n) || isObject(n) }

func isTexts(n any) bool {
	l, ok := n.([]any)
	return ok && !slices.ContainsFunc(l, func(e any) bool { return !isText(e) })
}

func oneOf(words ...string) kind {
	return func(n any) bool {
		s, ok := n.(string)
		return ok && slices.Contains(words, s)
	}
}

// verb is what a step may do.
type verb struct {
	takes kind
	// needs is the ability without which it cannot be done.
	needs Ability
	// with are its modifiers beside note, which every step may have.
	with []string
}

// The directions of frames as the player sees them.
const (
	sent     = "sent"
	received = "received"
)

// verbs holds what both sides' steps may do, and what only one's may.
var (
	verbs = map[string]verb{
		"send":           {takes: isAny, with: []string{"on"}},
		"sendText":       {takes: isStringOrObject, with: []string{"on"}},
		"sendHex":        {takes: isText, with: []string{"on"}},
		"sendBinary":     {takes: isText, with: []string{"on"}, needs: AbilityFrames},
		"expect":         {takes: isMessages, with: []string{"on", "ignoring", "withinMs"}},
		"expectAnyOrder": {takes: isList, with: []string{"on", "ignoring", "withinMs"}},
		"expectClose":    {takes: isCount, with: []string{"on", "ignoring", "withinMs"}},
		"silenceMs":      {takes: isCount, with: []string{"on", "ignoring"}},
		"close":          {takes: isCount, with: []string{"on"}},
		"cut":            {takes: isText},
		"lose":           {takes: oneOf(sent, received), with: []string{"on"}},
		"double":         {takes: oneOf(sent, received), with: []string{"on"}},
		"delay":          {takes: oneOf(sent, received), with: []string{"on"}},
		"advanceMs":      {takes: isCount, needs: AbilityClock},
	}
	serverVerbs = map[string]verb{
		"connect":  {takes: isText, with: []string{"on", "refused", "withinMs"}},
		"follow":   {takes: isText, with: []string{"on", "after", "epoch", "events", "ignoring", "withinMs"}},
		"poll":     {takes: isObject, with: []string{"on", "until", "ignoring", "withinMs"}},
		"kill":     {takes: oneOf(string(Now), string(BeforeTelling), string(AfterTelling)), needs: AbilityKill},
		"restart":  {takes: isTrue, needs: AbilityRestart},
		"shutdown": {takes: isTrue, needs: AbilityShutdown},
		"await":    {takes: isText, needs: AbilityGates},
		"release":  {takes: isText, needs: AbilityGates},
		"stall":    {takes: isText, needs: AbilityStall},
		"resume":   {takes: isText, needs: AbilityStall},
		"handOver": {takes: isTrue, needs: AbilityHandover},
	}
	clientVerbs = map[string]verb{
		"accept":      {takes: isText, with: []string{"token", "pick", "withinMs"}},
		"refuse":      {takes: isObject, with: []string{"token", "withinMs"}, needs: AbilityHandshake},
		"answer":      {takes: isObject, with: []string{"on", "with"}},
		"noConnectMs": {takes: isCount},
		"start":       {takes: isText, with: []string{"request"}},
		"attach":      {takes: isText, with: []string{"id"}},
		"cancel":      {takes: isText},
		"detach":      {takes: isText},
		"take":        {takes: isText, with: []string{"events", "ignoring", "withinMs"}},
		"takeNothing": {takes: isText, with: []string{"forMs"}},
	}
	modifiers = map[string]kind{
		"note": isText, "on": isText, "ignoring": isTexts, "withinMs": isCount, "refused": isObject,
		"token": isStringOrObject, "pick": isString, "request": isObject, "id": isText, "events": isList, "forMs": isCount, "with": isObject, "after": isCount, "epoch": isText,
		"until": isObject,
	}
	// musts are modifiers that a verb cannot do without.
	musts = map[string]string{
		"start": "request", "attach": "id", "take": "events", "takeNothing": "forMs", "follow": "events", "poll": "until", "answer": "with",
	}
)

func verbOf(side Side, name string) (verb, bool) {
	if v, ok := verbs[name]; ok {
		return v, true
	}
	more := serverVerbs
	if side == Client {
		more = clientVerbs
	}
	v, ok := more[name]
	return v, ok
}

// parseStep reads a step for the side that is under test.
func parseStep(side Side, raw json.RawMessage) (Step, error) {
	n, err := parseNode(raw)
	if err != nil {
		return Step{}, err
	}
	o, ok := n.(object)
	if !ok {
		return Step{}, errors.New("a step is an object")
	}
	if err := checkOperators(n); err != nil {
		return Step{}, err
	}
	s := Step{On: mainLine, source: string(appendNode(nil, n))}
	for _, m := range o {
		v, isVerb := verbOf(side, m.key)
		takes, isModifier := modifiers[m.key]
		switch {
		case isVerb && s.Verb != "":
			return Step{}, fmt.Errorf("%s and %s in one step", s.Verb, m.key)
		case isVerb && !v.takes(m.value):
			return Step{}, fmt.Errorf("%s cannot take this", m.key)
		case isVerb:
			s.Verb, s.Arg = m.key, m.value
		case !isModifier:
			return Step{}, fmt.Errorf("%q is no verb of a transcript for a %s, and no modifier", m.key, side)
		case !takes(m.value):
			return Step{}, fmt.Errorf("%s cannot be this", m.key)
		default:
			s.with = append(s.with, m)
		}
	}
	if s.Verb == "" {
		return Step{}, errors.New("a step without a verb")
	}
	return s, s.modify(side)
}

// modify takes over the modifiers, and refuses what the verb does not have.
func (s *Step) modify(side Side) error {
	v, _ := verbOf(side, s.Verb)
	for _, m := range s.with {
		if m.key != "note" && !slices.Contains(v.with, m.key) {
			return fmt.Errorf("%s has no %s", s.Verb, m.key)
		}
		switch m.key {
		case "on":
			s.On = m.value.(string)
		case "ignoring":
			for _, e := range m.value.([]any) {
				s.Ignoring = append(s.Ignoring, e.(string))
			}
		case "withinMs":
			s.Within = milliseconds(m.value)
		}
	}
	if must, ok := musts[s.Verb]; ok {
		if _, there := s.with.get(must); !there {
			return fmt.Errorf("%s needs %s", s.Verb, must)
		}
	}
	return nil
}

// needs returns the abilities without which the step cannot be played.
func (s *Step) needs() []Ability {
	var out []Ability
	for _, table := range []map[string]verb{verbs, serverVerbs, clientVerbs} {
		if v, ok := table[s.Verb]; ok && v.needs != "" {
			out = append(out, v.needs)
		}
	}
	if s.Verb == "kill" && s.Arg != string(Now) {
		out = append(out, AbilityTelling)
	}
	if _, refused := s.with.get("refused"); refused {
		out = append(out, AbilityHandshake)
	}
	return out
}

// text returns the argument of a verb that takes a text.
func (s *Step) text() string {
	text, _ := s.Arg.(string)
	return text
}

// milliseconds reads a duration that was judged by isCount.
func milliseconds(n any) time.Duration {
	i, _ := integer(n)
	return time.Duration(i) * time.Millisecond
}

// patterns returns the argument as a list of patterns.
func patterns(n any) ([]any, error) {
	if o, ok := n.(object); ok {
		if name, arg, ok := operator(o); ok && name == "$times" {
			return times(arg)
		}
		return []any{n}, nil
	}
	list, _ := n.([]any)
	return list, nil
}
