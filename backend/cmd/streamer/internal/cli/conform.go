package cli

import (
	"context"
	"errors"
	"io/fs"
	"os"
	"regexp"
	"slices"
	"time"

	"github.com/pay-theory/streamer/backend/auth"
	"github.com/pay-theory/streamer/backend/conformance"
	"github.com/pay-theory/streamer/backend/conformance/sessions"
)

// conformCommand plays the protocol's transcripts against a server, or against
// a client.
type conformCommand struct {
	URL     string        `env:"STREAMER_URL" default:"ws://127.0.0.1:8080" placeholder:"URL" help:"The server to test: ws, wss, http or https. Default: ${default}"`
	Client  string        `placeholder:"COMMAND" help:"Test a client instead: the program that drives it, with its arguments. Quotes work as in a shell; nothing is expanded."`
	Secret  string        `group:"Tokens:" env:"STREAMER_SECRET" placeholder:"TEXT" help:"Secret that the server shares, at least 32 bytes, to make tokens with (HS256). Default: for a server on this machine, the demo's."`
	Command string        `group:"Tokens:" name:"token-command" placeholder:"COMMAND" help:"Program that prints a token for the identity in its environment: STREAMER_TENANT, STREAMER_SUBJECT, STREAMER_SCOPES, STREAMER_EXPIRES_IN (seconds, may be negative)."`
	Leeway  time.Duration `group:"Tokens:" default:"30s" placeholder:"TIME" help:"How long the server accepts tokens after they have expired, up to 5m. Tokens of transcripts about expiry expire earlier by this. Default: ${default}"`
	Dir     string        `group:"Tokens:" env:"STREAMER_DIR" default:".streamer" placeholder:"DIR" help:"Folder of the demo, which holds its secret. Default: ${default}"`

	Only        string        `name:"run" placeholder:"REGEXP" help:"Play only the transcripts whose names match."`
	List        bool          `help:"List the transcripts, what each shows and what it needs, and do not play them."`
	JSON        bool          `name:"json" help:"Print one JSON object for each transcript, then one with the verdict."`
	Wait        time.Duration `default:"0s" placeholder:"TIME" help:"Also play transcripts that move the clock, by waiting, if they wait no longer than this. Default: none of them"`
	Parallel    int           `short:"p" default:"8" placeholder:"N" help:"How many transcripts are played at a time, 1 to 64. Default: ${default}"`
	Transcripts string        `placeholder:"DIR" help:"Folder with other transcripts. Default: the built-in ones."`
	Known       string        `name:"known-failures" placeholder:"FILE" help:"JSON file with an object of transcripts that must fail, and why."`
}

func (*conformCommand) Help() string {
	return `A server under test must have the fixed actions registered: ` + "`streamer demo`" + ` has, and for Go they are the package backend/conformance/actions. ` +
		`Every transcript gets its own tenants, so the server may hold other calls; nothing is deleted. ` +
		`Transcripts that cannot be played (the clock of a remote server cannot be moved, nor can it be killed) are reported by name. ` +
		`A client under test reads commands from its standard input; contract/sessions/CLIENTS.md describes them. ` +
		`Exit codes: 0 nothing failed, 1 something failed, 2 the command line is wrong, 4 the server could not be reached, 6 it refused the token.`
}

// Run plays the transcripts and prints the verdict.
func (k *conformCommand) Run(a *App) error {
	list, err := k.load()
	if err != nil {
		return err
	}
	known, err := k.known(list)
	if err != nil {
		return err
	}
	if list, err = k.choose(list); err != nil {
		return err
	}
	view := &conformView{app: a, json: k.JSON}
	if k.List {
		return view.printList(list)
	}
	switch {
	case k.Parallel < 1 || k.Parallel > 64:
		return usageFailure("--parallel must be 1 to 64", "")
	case k.Wait < 0:
		return usageFailure("--wait must not be negative", "")
	case k.Leeway < 0 || k.Leeway > auth.MaxLeeway:
		return usageFailure("--leeway must be 0 to "+formatDuration(auth.MaxLeeway), "")
	}
	ctx, stop := a.interruptible()
	defer stop()
	play, err := k.player(ctx, a)
	if err != nil {
		return err
	}
	suite := &conformance.Suite{Transcripts: list, Known: known, Parallel: k.Parallel, Play: play}
	view.start(len(list))
	verdict := suite.Run(ctx, view.started, view.ended)
	if err := view.verdict(&verdict); err != nil {
		return outputFailure(err)
	}
	switch {
	case interrupted(ctx):
		return errInterrupted
	case !verdict.OK():
		return &failure{exit: exitFailed} // the verdict was printed
	}
	return nil
}

// load reads the transcripts for the side under test.
func (k *conformCommand) load() ([]*conformance.Transcript, error) {
	var dir fs.FS
	switch {
	case k.Transcripts != "":
		dir = os.DirFS(k.Transcripts)
	case k.Client != "":
		dir = sessions.Client()
	default:
		dir = sessions.Server()
	}
	list, err := conformance.Load(dir)
	if err != nil {
		return nil, usageFailure(clean(err.Error()), "")
	}
	for _, t := range list {
		if t.Tests != k.side() {
			return nil, usageFailure("the transcript "+t.Name+" tests a "+string(t.Tests)+", but a "+string(k.side())+" is under test", "")
		}
	}
	return list, nil
}

func (k *conformCommand) side() conformance.Side {
	if k.Client != "" {
		return conformance.Client
	}
	return conformance.Server
}

// known reads the list of known failures.
func (k *conformCommand) known(list []*conformance.Transcript) (conformance.KnownFailures, error) {
	if k.Known == "" {
		return nil, nil
	}
	data, err := os.ReadFile(k.Known)
	if err != nil {
		return nil, usageFailure(clean(err.Error()), "")
	}
	known, err := conformance.ParseKnownFailures(data, list)
	if err != nil {
		return nil, usageFailure(clean(err.Error()), "")
	}
	return known, nil
}

// choose returns the transcripts that --run selects.
func (k *conformCommand) choose(list []*conformance.Transcript) ([]*conformance.Transcript, error) {
	match, err := regexp.Compile(k.Only)
	if err != nil {
		return nil, usageFailure("--run is not a regular expression: "+clean(err.Error()), "")
	}
	list = slices.DeleteFunc(list, func(t *conformance.Transcript) bool { return !match.MatchString(t.Name) })
	if len(list) == 0 {
		return nil, usageFailure("--run matches no transcript", "--list shows their names")
	}
	return list, nil
}

// playFunc plays one transcript.
type playFunc func(context.Context, *conformance.Transcript) error

// player returns a function that plays one transcript.
func (k *conformCommand) player(ctx context.Context, a *App) (playFunc, error) {
	if k.Client == "" {
		return k.serverPlayer(ctx, a)
	}
	command, err := splitWords(k.Client)
	if err != nil {
		return nil, usageFailure("--client: "+err.Error(), "")
	}
	return func(ctx context.Context, t *conformance.Transcript) error {
		target, err := conformance.StartClient(ctx, t, &conformance.ClientOptions{Command: command, Wait: k.Wait})
		if err != nil {
			return err
		}
		return conformance.RunClient(ctx, t, target, nil)
	}, nil
}

// splitWords splits a command line into words as a POSIX shell does, with single
// and double quotes and backslashes, and without expansions.
func splitWords(text string) ([]string, error) {
	var words []string
	var word []rune
	inWord, escaped := false, false
	quote := rune(0)
	for _, r := range text {
		switch {
		case escaped:
			if quote == '"' && r != '"' && r != '\\' {
				word = append(word, '\\')
			}
			word, escaped = append(word, r), false
		case r == '\\' && quote != '\'':
			escaped, inWord = true, true
		case quote != 0 && r == quote:
			quote = 0
		case quote == 0 && (r == '\'' || r == '"'):
			quote, inWord = r, true
		case quote == 0 && (r == ' ' || r == '\t' || r == '\n'):
			if inWord {
				words = append(words, string(word))
			}
			word, inWord = nil, false
		default:
			word, inWord = append(word, r), true
		}
	}
	if quote != 0 || escaped {
		return nil, errors.New("a quote is not closed, or a backslash ends the command")
	}
	if inWord {
		words = append(words, string(word))
	}
	if len(words) == 0 {
		return nil, errors.New("there is no command")
	}
	return words, nil
}
