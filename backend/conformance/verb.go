package conformance

import (
	"context"
	"fmt"
)

// verb is what steps can do.
type verb struct {
	// side is who must be under test; empty: either.
	side Side
	// takes checks the argument.
	takes check
	// with are its modifiers; those with an exclamation mark must be there.
	with string
	// needs is the ability without which it cannot be done; empty: none.
	needs Ability
	run   func(p *player, ctx context.Context, s *Step) error
}

// The directions of frames as the player sees them.
const (
	sent     = "sent"
	received = "received"
)

var verbs = map[string]verb{
	"send":           {takes: isAny, with: "on", run: onConnection((*player).send)},
	"sendText":       {takes: isStringOrObject, with: "on", run: onConnection((*player).send)},
	"sendHex":        {takes: isText, with: "on", run: onConnection((*player).send)},
	"sendBinary":     {takes: isText, with: "on", needs: AbilityFrames, run: onConnection((*player).send)},
	"expect":         {takes: isMessages, with: "on ignoring withinMs", run: onConnection((*player).expect)},
	"expectAnyOrder": {takes: isList, with: "on ignoring withinMs", run: onConnection((*player).expectAnyOrder)},
	"expectClose":    {takes: isCount, with: "on ignoring withinMs", run: onConnection((*player).expectClose)},
	"silenceMs":      {takes: isCount, with: "on ignoring", run: onConnection((*player).silence)},
	"close":          {takes: isCount, with: "on", run: onConnection((*player).close)},
	"cut":            {takes: isText, run: onConnection((*player).cut)},
	"lose":           {takes: oneOf(sent, received), with: "on", run: onConnection((*player).injectFault)},
	"double":         {takes: oneOf(sent, received), with: "on", run: onConnection((*player).injectFault)},
	"delay":          {takes: oneOf(sent, received), with: "on", run: onConnection((*player).injectFault)},
	"advanceMs":      {takes: isCount, needs: AbilityClock, run: (*player).advance},

	"connect":  {side: Server, takes: isText, with: "on refused withinMs", run: (*player).connect},
	"follow":   {side: Server, takes: isText, with: "on after epoch events! ignoring withinMs", run: onConnection((*player).follow)},
	"poll":     {side: Server, takes: isObject, with: "on until! ignoring withinMs", run: onConnection((*player).poll)},
	"kill":     {side: Server, takes: oneOf(string(Now), string(BeforeNotify), string(AfterNotify)), needs: AbilityKill, run: (*player).kill},
	"restart":  {side: Server, takes: isTrue, needs: AbilityRestart, run: (*player).restart},
	"shutdown": {side: Server, takes: isTrue, needs: AbilityShutdown, run: (*player).shutdown},
	"await":    {side: Server, takes: isText, needs: AbilityGates, run: (*player).await},
	"release":  {side: Server, takes: isText, needs: AbilityGates, run: (*player).release},
	"stall":    {side: Server, takes: isText, needs: AbilityStall, run: onConnection((*player).stall)},
	"resume":   {side: Server, takes: isText, needs: AbilityStall, run: onConnection((*player).stall)},
	"handOver": {side: Server, takes: isTrue, needs: AbilityHandover, run: (*player).handOver},

	"accept":      {side: Client, takes: isText, with: "token pick withinMs", run: (*player).accept},
	"refuse":      {side: Client, takes: isObject, with: "token withinMs", needs: AbilityHandshake, run: (*player).refuse},
	"answer":      {side: Client, takes: isObject, with: "on with!", run: onConnection((*player).addAutoReply)},
	"noConnectMs": {side: Client, takes: isCount, run: (*player).noConnect},
	"start":       {side: Client, takes: isText, with: "request!", run: (*player).start},
	"attach":      {side: Client, takes: isText, with: "id!", run: (*player).attach},
	"cancel":      {side: Client, takes: isText, run: (*player).cancel},
	"detach":      {side: Client, takes: isText, run: (*player).detach},
	"take":        {side: Client, takes: isText, with: "events! ignoring withinMs", run: (*player).take},
	"takeNothing": {side: Client, takes: isText, with: "forMs!", run: (*player).takeNothing},
}

// onConnection runs a step with the connection that it names: by "on", or by
// its argument if the verb has no "on".
func onConnection(run func(*player, context.Context, *connection, *Step) error) func(*player, context.Context, *Step) error {
	return func(p *player, ctx context.Context, s *Step) error {
		name := s.On
		switch s.Verb {
		case "cut", "stall", "resume":
			name = s.textArg()
		}
		c, ok := p.connections[name]
		if !ok {
			return fmt.Errorf("there is no connection %q", name)
		}
		return run(p, ctx, c, s)
	}
}
