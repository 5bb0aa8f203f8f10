package streamer

import (
	"encoding/json"
	"slices"
	"strings"

	"github.com/pay-theory/streamer/backend/internal/core"
)

// ActionInfo describes a registered action, for people and for generated code.
// Its JSON is the same in every run.
type ActionInfo struct {
	Name        string `json:"name"`
	Description string `json:"description,omitempty"`
	// Stream reports whether the handler may emit chunks.
	Stream bool `json:"stream"`
	// Placement is auto, sync or async.
	Placement string `json:"placement"`
	// Retries is how many failures beyond the first are allowed.
	Retries int `json:"retries"`
	// TimeoutMs bounds an attempt, in milliseconds.
	TimeoutMs int64    `json:"timeoutMs"`
	Scopes    []string `json:"scopes,omitempty"`
	// Input, Output and Chunk are JSON Schemas (2020-12). Chunk is absent unless
	// Stream.
	Input  json.RawMessage `json:"input"`
	Output json.RawMessage `json:"output"`
	Chunk  json.RawMessage `json:"chunk,omitempty"`
}

var placements = map[core.Placement]string{core.Auto: "auto", core.Sync: "sync", core.Async: "async"}

// Actions lists the actions, ordered by name. Those whose registration is wrong
// are left out; [Router.Build] reports them.
func (r *Router) Actions() []ActionInfo {
	out := make([]ActionInfo, 0, len(r.entries))
	for _, e := range r.entries {
		if e.bad {
			continue
		}
		a := &e.action
		out = append(out, ActionInfo{
			Name: a.Name, Description: a.Description, Stream: a.Stream, Placement: placements[a.Placement], Retries: a.Retries,
			TimeoutMs: a.Timeout.Milliseconds(), Scopes: slices.Clone(a.Scopes), Input: a.Input, Output: a.Output, Chunk: a.Chunk,
		})
	}
	slices.SortFunc(out, func(a, b ActionInfo) int { return strings.Compare(a.Name, b.Name) })
	return out
}
