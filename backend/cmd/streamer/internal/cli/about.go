package cli

import (
	"fmt"
	"runtime"
	"runtime/debug"
)

// aboutCommand prints the version.
type aboutCommand struct{}

// Run prints it.
func (aboutCommand) Run(a *App) error {
	_, err := fmt.Fprintln(a.Stdout, versionText())
	return err
}

// versionText says what this program was built from, as the build recorded it.
func versionText() string {
	info, ok := debug.ReadBuildInfo()
	if !ok {
		return "streamer, of an unknown version"
	}
	return "streamer " + describe(info)
}

func describe(info *debug.BuildInfo) string {
	version := info.Main.Version
	if version == "" {
		version = "(devel)"
	}
	settings := map[string]string{}
	for _, s := range info.Settings {
		settings[s.Key] = s.Value
	}
	text := version
	if revision := settings["vcs.revision"]; revision != "" {
		text += " " + revision[:min(12, len(revision))]
		if settings["vcs.modified"] == "true" {
			text += ", modified"
		}
	}
	return fmt.Sprintf("%s (%s, %s/%s)", text, info.GoVersion, runtime.GOOS, runtime.GOARCH)
}
