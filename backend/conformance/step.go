package conformance

import (
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"
)

// verb is what steps can do.
type verb struct {
	side      Side    // who must be under test; empty: either
	takes     check   // checks the argument
	with      string  // its modifiers; those with an exclamation mark must be there
	needs     Ability // without this it cannot be done; empty: nothing is needed
	unlimited bool    // Step.within does not limit how long it takes
	// run or on carries it out, on with the connection that the step names.
	run func(p *player, ctx context.Context, s *Step) error
	on  func(p *player, ctx context.Context, c *connection, s *Step) error
}

// The directions of frames as the player sees them.
const (
	sent     = "sent"
	received = "received"
)

var (
	isDirection = oneOf(sent, received)
	isMoment    = oneOf(string(Now), string(BeforeNotify), string(AfterNotify))
)

var verbs = map[string]verb{
	"send":           {takes: isAny, with: "on", on: (*player).send},
	"sendText":       {takes: either(isString, isObject), with: "on", on: (*player).send},
	"sendHex":        {takes: isText, with: "on", on: (*player).send},
	"sendBinary":     {takes: isText, with: "on", needs: AbilityFrames, on: (*player).send},
	"expect":         {takes: either(isObject, isList), with: "on ignoring withinMs", on: (*player).expect},
	"expectAnyOrder": {takes: isList, with: "on ignoring withinMs", on: (*player).expectAnyOrder},
	"expectClose":    {takes: isCount, with: "on ignoring withinMs", on: (*player).expectClose},
	"silenceMs":      {takes: isCount, with: "on ignoring", unlimited: true, on: (*player).silence},
	"close":          {takes: isCount, with: "on", on: (*player).disturb},
	"cut":            {takes: isText, on: (*player).disturb},
	"lose":           {takes: isDirection, with: "on", on: (*player).injectFault},
	"double":         {takes: isDirection, with: "on", on: (*player).injectFault},
	"delay":          {takes: isDirection, with: "on", on: (*player).injectFault},
	"advanceMs":      {takes: isCount, needs: AbilityClock, unlimited: true, run: (*player).advance},

	"connect":  {side: Server, takes: isText, with: "on refused withinMs", run: (*player).connect},
	"follow":   {side: Server, takes: isText, with: "on after epoch events! ignoring withinMs", on: (*player).follow},
	"poll":     {side: Server, takes: isObject, with: "on until! ignoring withinMs", on: (*player).poll},
	"kill":     {side: Server, takes: isMoment, needs: AbilityKill, run: (*player).control},
	"restart":  {side: Server, takes: isTrue, needs: AbilityRestart, run: (*player).control},
	"shutdown": {side: Server, takes: isTrue, needs: AbilityShutdown, run: (*player).control},
	"await":    {side: Server, takes: isText, needs: AbilityGates, run: (*player).control},
	"release":  {side: Server, takes: isText, needs: AbilityGates, run: (*player).control},
	"stall":    {side: Server, takes: isText, needs: AbilityStall, on: (*player).disturb},
	"resume":   {side: Server, takes: isText, needs: AbilityStall, on: (*player).disturb},
	"handOver": {side: Server, takes: isTrue, needs: AbilityHandover, run: (*player).control},

	"accept":      {side: Client, takes: isText, with: "token pick withinMs", run: (*player).accept},
	"refuse":      {side: Client, takes: isObject, with: "token withinMs", needs: AbilityHandshake, run: (*player).refuse},
	"answer":      {side: Client, takes: isObject, with: "on with!", on: (*player).addAutoReply},
	"noConnectMs": {side: Client, takes: isCount, unlimited: true, run: (*player).noConnect},
	"start":       {side: Client, takes: isText, with: "request!", run: (*player).application},
	"attach":      {side: Client, takes: isText, with: "id!", run: (*player).application},
	"cancel":      {side: Client, takes: isText, run: (*player).application},
	"detach":      {side: Client, takes: isText, run: (*player).application},
	"take":        {side: Client, takes: isText, with: "events! ignoring withinMs", run: (*player).take},
	"takeNothing": {side: Client, takes: isText, with: "forMs!", unlimited: true, run: (*player).takeNothing},
}

// mainConnection is the name of a connection that a step does not name.
const mainConnection = "main"

// Step is one step of a transcript: a verb with its argument, and modifiers.
type Step struct {
	Verb string          // what is done
	Arg  json.RawMessage // the verb's argument

	on       string                     // names the connection
	ignoring []string                   // types of messages that are ignored
	within   time.Duration              // how long to wait. Zero: Options.MaxWait
	with     map[string]json.RawMessage // all modifiers
	source   string                     // the step as it is written in the file
}

// check reports whether a verb, a modifier or an operator takes an argument.
type check func(json.RawMessage) bool

func isText(n json.RawMessage) bool   { return stringOf(n) != "" }
func isString(n json.RawMessage) bool { return kindOf(n) == "string" }
func isTrue(n json.RawMessage) bool   { return string(n) == "true" }
func isObject(n json.RawMessage) bool { return kindOf(n) == "object" }
func isList(n json.RawMessage) bool   { return len(elements(n)) > 0 }
func isAny(json.RawMessage) bool      { return true }

func isCount(n json.RawMessage) bool {
	i, ok := integerOf(n)
	return ok && i >= 0
}

func either(is, or check) check {
	return func(n json.RawMessage) bool { return is(n) || or(n) }
}

func listOf(is check) check {
	return func(n json.RawMessage) bool {
		return kindOf(n) == "array" && !slices.ContainsFunc(elements(n), func(e json.RawMessage) bool { return !is(e) })
	}
}

func oneOf(words ...string) check {
	return func(n json.RawMessage) bool { return slices.Contains(words, stringOf(n)) }
}

// isTerm reports whether a value can stand for an integer.
func isTerm(n json.RawMessage) bool {
	_, isInteger := integerOf(n)
	_, isName := variable(stringOf(n))
	name, _, _ := operator(n)
	return isInteger || isName || name == "$plus"
}

// operators holds what each operator takes, so that a transcript which uses one
// wrongly is refused when it is read.
var operators = map[string]check{
	"$any":      oneOf("string", "integer", "number", "boolean", "object", "array", "null"),
	"$optional": isAny,
	"$oneOf":    isList,
	"$between":  func(n json.RawMessage) bool { return listOf(isTerm)(n) && len(elements(n)) == 2 },
	"$contains": isText,
	"$length":   isAny,
	"$raw":      func(n json.RawMessage) bool { return json.Valid([]byte(stringOf(n))) },
	"$plus":     listOf(isTerm),
	"$repeat":   func(n json.RawMessage) bool { what, _, ok := repetition(n); return ok && isString(what) },
	"$times":    func(n json.RawMessage) bool { _, _, ok := repetition(n); return ok },
	"$token":    isText,
}

// checkOperators refuses unknown operators and wrong arguments.
func checkOperators(n json.RawMessage) error {
	if name, arg, ok := operator(n); ok {
		takes, known := operators[name]
		switch {
		case !known:
			return fmt.Errorf("there is no operator %s; write a field of that name with $raw", name)
		case !takes(arg):
			return fmt.Errorf("%s cannot take %s", name, brief(arg))
		}
	}
	for _, m := range members(n) {
		if err := checkOperators(m.value); err != nil {
			return err
		}
	}
	return nil
}

// modifiers holds what each modifier takes. Every verb may have a note.
var modifiers = map[string]check{
	"note": isText, "on": isText, "ignoring": listOf(isText), "withinMs": isCount, "refused": isObject,
	"token": either(isString, isObject), "pick": isString, "request": isObject, "id": isText, "events": isList,
	"forMs": isCount, "with": isObject, "after": isCount, "epoch": isText, "until": isObject,
}

// parseStep reads a step of a transcript that tests a side.
func parseStep(side Side, raw json.RawMessage) (Step, error) {
	s := Step{with: map[string]json.RawMessage{}, source: string(raw)}
	if !isObject(raw) {
		return s, errors.New("a step is an object")
	}
	if err := checkOperators(raw); err != nil {
		return s, err
	}
	for _, m := range members(raw) {
		v, isVerb := verbs[m.key]
		takes, isModifier := modifiers[m.key]
		switch isVerb = isVerb && (v.side == "" || v.side == side); {
		case isVerb && s.Verb != "":
			return s, fmt.Errorf("%s and %s in one step", s.Verb, m.key)
		case isVerb && !v.takes(m.value):
			return s, fmt.Errorf("%s cannot take this", m.key)
		case isVerb:
			s.Verb, s.Arg = m.key, m.value
		case !isModifier:
			return s, fmt.Errorf("%q is no verb of a transcript for a %s, and no modifier", m.key, side)
		case !takes(m.value):
			return s, fmt.Errorf("%s cannot be this", m.key)
		default:
			s.with[m.key] = m.value
		}
	}
	if s.Verb == "" {
		return s, errors.New("a step without a verb")
	}
	s.on = cmp.Or(stringOf(s.with["on"]), mainConnection)
	switch s.Verb {
	case "cut", "stall", "resume":
		s.on = s.textArg()
	}
	s.within = milliseconds(s.with["withinMs"])
	_ = json.Unmarshal(s.with["ignoring"], &s.ignoring) // nil if there is none
	return s, s.checkModifiers()
}

// checkModifiers refuses modifiers that the verb does not have, and misses those
// that it must have.
func (s *Step) checkModifiers() error {
	allowed := []string{"note"}
	for _, name := range strings.Fields(verbs[s.Verb].with) {
		name, must := strings.CutSuffix(name, "!")
		if _, ok := s.with[name]; must && !ok {
			return fmt.Errorf("%s needs %s", s.Verb, name)
		}
		allowed = append(allowed, name)
	}
	for name := range s.with {
		if !slices.Contains(allowed, name) {
			return fmt.Errorf("%s has no %s", s.Verb, name)
		}
	}
	return nil
}

// needs returns the abilities without which the step cannot be played.
func (s *Step) needs() (out []Ability) {
	if a := verbs[s.Verb].needs; a != "" {
		out = append(out, a)
	}
	if s.Verb == "kill" && s.textArg() != string(Now) {
		out = append(out, AbilityNotify)
	}
	if _, refused := s.with["refused"]; refused {
		out = append(out, AbilityHandshake)
	}
	return out
}

// textArg returns the argument of a verb that takes a text.
func (s *Step) textArg() string { return stringOf(s.Arg) }

// milliseconds reads a duration.
func milliseconds(n json.RawMessage) time.Duration {
	ms, _ := integerOf(n)
	return time.Duration(ms) * time.Millisecond
}
