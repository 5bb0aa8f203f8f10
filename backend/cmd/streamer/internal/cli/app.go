// Package cli is the command line of Streamer: its commands, what they print,
// and their exit codes. It knows the process only through [App], so that
// commands are tested without a process.
package cli

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"runtime"
	"runtime/debug"
	"time"

	"github.com/alecthomas/kong"
)

// App is what a command uses of the process that it runs in. It is for one Run
// at a time.
type App struct {
	Stdin io.Reader
	// Stdout and Stderr are written to by several goroutines at a time.
	Stdout, Stderr io.Writer
	// StdoutTerminal and StderrTerminal report whether the stream is a terminal.
	StdoutTerminal, StderrTerminal bool
	// Color allows colours, on terminals only.
	Color bool
	// Dumb reports that the terminals cannot move their cursor: no status line.
	Dumb bool
	// Width returns how many columns the terminal has; 0: unknown.
	Width func() int
	// Now is the clock for times that are shown.
	Now func() time.Time
	// Interrupts receives the signals that ask to stop. It needs a buffer.
	Interrupts chan os.Signal
	// Executable is the path by which the program was started. It is used in
	// suggested commands.
	Executable string
}

// commands is the whole command line, as kong reads it.
type commands struct {
	Demo    demoCommand    `cmd:"" help:"Run a server on this machine, with actions to try things out."`
	Call    callCommand    `cmd:"" help:"Call an action, and follow the call until it is done."`
	Follow  followCommand  `cmd:"" help:"Follow a call that was started elsewhere, or earlier, from its first event."`
	Cancel  cancelCommand  `cmd:"" help:"Cancel a call."`
	List    listCommand    `cmd:"" help:"List your calls, the newest first."`
	Dead    deadCommands   `cmd:"" help:"For operators: list dead letters, and run them again."`
	Token   tokenCommand   `cmd:"" help:"Make a token for development."`
	Conform conformCommand `cmd:"" help:"Test any server, or any client, against the protocol's transcripts."`
	Show    versionCommand `cmd:"" name:"version" help:"Print the version of this program."`

	Version kong.VersionFlag `help:"Print the version of this program."`
}

const description = `Call functions over a WebSocket, and follow them until they are done.

  streamer demo                            a server, and commands to try with it
  streamer call ACTION '{"some": "json"}'  in another terminal

Exit codes:
    0  the call succeeded, or the command did what it was asked for
    1  the call failed, or the command failed
    2  the command line is wrong
    3  the call was cancelled
    4  the server could not be reached, or was unavailable
    5  there is no such call, or it is not yours
    6  refused: the token, a scope, the payload or another part of the request
  130  interrupted`

// Run runs one command line, without the program's name, and returns the
// exit code.
func (a *App) Run(args []string) int {
	exited := false
	parser, err := kong.New(&commands{},
		kong.Name("streamer"), kong.Description(description), kong.Writers(a.Stdout, a.Stderr),
		kong.ConfigureHelp(kong.HelpOptions{Compact: true, FlagsLast: true, NoAppDescFormat: true, WrapUpperBound: 110}),
		kong.Vars{"version": versionText()},
		kong.Bind(a),
		// Kong continues to parse when this returns; the result is not used.
		kong.Exit(func(int) { exited = true }),
	)
	if err != nil {
		return a.report(err)
	}
	if len(args) == 0 {
		parser.Stdout = a.Stderr
		_, _ = parser.Parse([]string{"--help"})
		return exitUsage
	}
	parsed, err := parser.Parse(args)
	switch {
	case exited:
		return exitOK
	case err != nil:
		return a.report(parseFailure(err))
	}
	return a.report(parsed.Run())
}

// parseFailure is the failure of a command line that kong refuses.
func parseFailure(err error) error {
	help := "streamer --help"
	var parse *kong.ParseError
	if errors.As(err, &parse) && parse.Context != nil {
		if node := parse.Context.Selected(); node != nil {
			help = node.FullPath() + " --help"
		}
	}
	return usageFailure(clean(err.Error()), "see "+help)
}

// report prints an error in one line, and returns the exit code.
func (a *App) report(err error) int {
	if err == nil {
		return exitOK
	}
	f := failureOf(err)
	if f.text != "" {
		line := a.errStyle().red("streamer:") + " " + f.text
		if f.hint != "" {
			line += a.errStyle().dim(" (hint: " + f.hint + ")")
		}
		_, _ = fmt.Fprintln(a.Stderr, line)
	}
	return f.exit
}

func (a *App) outStyle() style { return style(a.Color && a.StdoutTerminal) }

func (a *App) errStyle() style { return style(a.Color && a.StderrTerminal) }

// columns returns how wide the text on standard output may be; 0: there is no
// limit.
func (a *App) columns() int {
	if !a.StdoutTerminal || a.Width == nil {
		return 0
	}
	return a.Width()
}

var errInterrupted = errors.New("interrupted")

// interruptible returns a context that ends, with errInterrupted as its cause,
// when the user asks to stop. After stop, an interrupt is for the next call.
func (a *App) interruptible() (_ context.Context, stop func()) {
	ctx, cancel := context.WithCancelCause(context.Background())
	stopped := make(chan struct{})
	go func() {
		defer close(stopped)
		select {
		case s := <-a.Interrupts:
			cancel(errInterrupted)
			if !interrupted(ctx) {
				select { // it came after the context had ended: keep it
				case a.Interrupts <- s:
				default:
				}
			}
		case <-ctx.Done():
		}
	}()
	return ctx, func() {
		cancel(nil)
		<-stopped
	}
}

// untilInterrupted calls do with an interruptible context, and reports whether the
// user has ended it.
func (a *App) untilInterrupted(do func(context.Context) error) (left bool, err error) {
	ctx, stop := a.interruptible()
	defer stop()
	err = do(ctx)
	return interrupted(ctx), err
}

// interrupted reports whether the user has ended the context.
func interrupted(ctx context.Context) bool { return errors.Is(context.Cause(ctx), errInterrupted) }

type versionCommand struct{}

func (versionCommand) Run(a *App) error {
	_, err := fmt.Fprintln(a.Stdout, versionText())
	return err
}

func versionText() string {
	if info, ok := debug.ReadBuildInfo(); ok {
		return formatVersion(info)
	}
	return "streamer (unknown version)"
}

// formatVersion returns the version, and the commit if the build recorded it: in
// a workspace the version does not name it.
func formatVersion(info *debug.BuildInfo) string {
	text := "streamer " + cmp.Or(info.Main.Version, "(devel)")
	for _, s := range info.Settings {
		switch {
		case s.Key == "vcs.revision":
			text += " " + s.Value[:min(12, len(s.Value))]
		case s.Key == "vcs.modified" && s.Value == "true":
			text += ", modified"
		}
	}
	return fmt.Sprintf("%s (%s, %s/%s)", text, info.GoVersion, runtime.GOOS, runtime.GOARCH)
}
