package report

// Params says what to report on. Absent years and states mean all of them.
type Params struct {
	// Years and States select strikes.
	Years  []int    `json:"years,omitempty" jsonschema:"maxItems=13,uniqueItems,minimum=1990,maximum=2002" jsonschema_description:"The years of the strikes. Absent: all."`
	States []string `json:"states,omitempty" jsonschema:"maxItems=60,uniqueItems,minLength=1,maxLength=40" jsonschema_description:"The states the flights came from, as Texas. Absent: all."`
	// GroupBy is what each row is about.
	GroupBy string `json:"groupBy" jsonschema:"enum=state,enum=operator,enum=species,enum=phase,enum=damage,enum=size,enum=daytime,enum=month,enum=year" jsonschema_description:"What the rows are about."`
	// MinCost leaves out strikes that cost less, in $.
	MinCost int64 `json:"minCost,omitempty" jsonschema:"minimum=0,maximum=100000000" jsonschema_description:"Leaves out strikes that cost less, in $."`
	// PaceMs is a pause before each group, so that there is something to watch.
	PaceMs int `json:"paceMs,omitempty" jsonschema:"minimum=0,maximum=10000" jsonschema_description:"A pause before each group, in milliseconds, to have something to watch."`
}

// Row is one group: a chunk of the stream, emitted when it is complete.
type Row struct {
	// Group is the group's name: a state, an operator, 2001, 2001-09 …
	Group string `json:"group"`
	Tally
	// MeanSpeed is the mean of the known speeds, in knots; absent if none is
	// known.
	MeanSpeed *float64 `json:"meanSpeed,omitempty"`
}

// Tally holds the counts of rows, names and the total.
type Tally struct {
	Strikes int `json:"strikes"`
	// Damaging is how many strikes damaged the aircraft.
	Damaging int `json:"damaging"`
	// Cost is in $.
	Cost int64 `json:"cost"`
	// UnknownSpeed is how many strikes have no speed.
	UnknownSpeed int `json:"unknownSpeed"`
}

// Report is the result.
type Report struct {
	Total Tally `json:"total"`
	// Groups is how many rows there were.
	Groups int `json:"groups"`
	// From and To are the days of the first and the last strike; absent if
	// there is none.
	From string `json:"from,omitempty"`
	To   string `json:"to,omitempty"`
	// TopSpecies are the ten species with the most strikes.
	TopSpecies []Named `json:"topSpecies"`
	// Phases are the phases of flight, that with the most damaging strikes first.
	Phases []Phase `json:"phases"`
	// Operators are the ten with the highest cost and, if there are more, one row
	// for all others.
	Operators []Operator `json:"operators"`
	// Months are the costs of each month of the year, January first, in $.
	Months [12]int64 `json:"months"`
}

// Named is a tally with a name.
type Named struct {
	Name string `json:"name"`
	Tally
}

// Phase is a phase of flight, with its strikes by damage.
type Phase struct {
	Named
	// Damage counts strikes by damage: None, Minor, Medium, Substantial, and other
	// values in the data.
	Damage map[string]int `json:"damage"`
}

// Operator is an operator with its costs by month of the year.
type Operator struct {
	Named
	// Months are in $, January first.
	Months [12]int64 `json:"months"`
}

// Others is the name of the row for all operators after the first ten.
const Others = "all others"
