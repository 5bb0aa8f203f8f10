package store

// PageEvents is the maximal number of events that Read returns.
const PageEvents = 1024

// EventPage is a page of events that a store fills for Read.
type EventPage struct {
	Events []Event
	left   int
}

// NewEventPage returns an empty page for max bytes of data.
func NewEventPage(max int) *EventPage { return &EventPage{left: max} }

// Add adds an event, unless the page is full. The first one always fits.
func (p *EventPage) Add(e Event) bool {
	if len(p.Events) > 0 && (len(e.Data) > p.left || len(p.Events) == PageEvents) {
		return false
	}
	p.left -= len(e.Data)
	p.Events = append(p.Events, e)
	return true
}
