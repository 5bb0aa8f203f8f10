// Breaks breaks the laws of Streamer, one after the other, and sees their
// tests fail. A test that cannot fail proves nothing; this shows that each of
// them can.
//
// Every break is a small change to one file, made in a copy that only the
// compiler sees (go test -overlay): the working tree is never touched, and
// several can run at once. A break that no test notices is a failure, and so
// is one that does not compile any more.
//
//	go run ./e2e/breaks            # all of them; minutes
//	go run ./e2e/breaks -run L07   # those of a law, or by name
//	go run ./e2e/breaks -list      # the table for the page of decisions
package main

import (
	"context"
	"flag"
	"fmt"
	"os"
	"os/signal"
	"path/filepath"
	"regexp"
	"runtime"
	"syscall"
)

func main() {
	os.Exit(run())
}

func run() int {
	flag.Usage = func() {
		out := flag.CommandLine.Output()
		_, _ = fmt.Fprint(out, "Breaks each law once and sees its test fail.\n\nUsage: go run ./e2e/breaks [flags]\n\n")
		flag.PrintDefaults()
		_, _ = fmt.Fprint(out, "\nExit codes: 0 every break was noticed, 1 one was not, 2 wrong usage, 130 interrupted\n")
	}
	pattern := flag.String("run", "", "only breaks whose law or name matches this `regexp`")
	list := flag.Bool("list", false, "print the table of breaks and run nothing")
	jobs := flag.Int("jobs", max(1, runtime.NumCPU()/2), "how many run at once")
	flag.Parse()
	if flag.NArg() > 0 {
		flag.Usage()
		return 2
	}
	matches, err := regexp.Compile(*pattern)
	if err != nil {
		fmt.Fprintln(os.Stderr, "breaks: -run:", err)
		return 2
	}
	root, err := moduleRoot()
	if err != nil {
		fmt.Fprintln(os.Stderr, "breaks:", err)
		return 2
	}
	chosen := choose(matches)
	if len(chosen) == 0 {
		fmt.Fprintln(os.Stderr, "breaks: -run matches none")
		return 2
	}
	if *list {
		fmt.Print(table(chosen))
		return 0
	}
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	return report(ctx, root, chosen, max(1, *jobs))
}

// moduleRoot is the directory that holds go.work.
func moduleRoot() (string, error) {
	dir, err := os.Getwd()
	if err != nil {
		return "", err
	}
	for {
		if _, err := os.Stat(filepath.Join(dir, "go.work")); err == nil {
			return dir, nil
		}
		parent := filepath.Dir(dir)
		if parent == dir {
			return "", fmt.Errorf("there is no go.work above the working directory")
		}
		dir = parent
	}
}

func choose(matches *regexp.Regexp) []Break {
	var out []Break
	for _, b := range all() {
		if matches.MatchString(b.Law) || matches.MatchString(b.What) {
			out = append(out, b)
		}
	}
	return out
}
