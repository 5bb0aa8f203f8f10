package conformance

import "context"

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
	// unlimited says that Step.within does not limit how long it takes.
	unlimited bool
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
	"close":          {takes: isCount, with: "on", on: (*player).close},
	"cut":            {takes: isText, on: (*player).cut},
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
	"stall":    {side: Server, takes: isText, needs: AbilityStall, on: (*player).stall},
	"resume":   {side: Server, takes: isText, needs: AbilityStall, on: (*player).stall},
	"handOver": {side: Server, takes: isTrue, needs: AbilityHandover, run: (*player).control},

	"accept":      {side: Client, takes: isText, with: "token pick withinMs", run: (*player).accept},
	"refuse":      {side: Client, takes: isObject, with: "token withinMs", needs: AbilityHandshake, run: (*player).refuse},
	"answer":      {side: Client, takes: isObject, with: "on with!", on: (*player).addAutoReply},
	"noConnectMs": {side: Client, takes: isCount, unlimited: true, run: (*player).noConnect},
	"start":       {side: Client, takes: isText, with: "request!", run: (*player).start},
	"attach":      {side: Client, takes: isText, with: "id!", run: (*player).attach},
	"cancel":      {side: Client, takes: isText, run: (*player).cancel},
	"detach":      {side: Client, takes: isText, run: (*player).detach},
	"take":        {side: Client, takes: isText, with: "events! ignoring withinMs", run: (*player).take},
	"takeNothing": {side: Client, takes: isText, with: "forMs!", unlimited: true, run: (*player).takeNothing},
}
