package report

import (
	"bytes"
	"compress/gzip"
	_ "embed"
	"encoding/csv"
	"fmt"
	"slices"
	"strconv"
	"sync"
	"time"
)

//go:embed birdstrikes.csv.gz
var compressed []byte

// strike is one record of the FAA's database: an animal that struck an aircraft.
type strike struct {
	date     time.Time
	operator string
	state    string
	phase    string
	size     string
	species  string
	daytime  string
	damage   string
	cost     int64 // in $
	speed    int   // in knots; -1: unknown
}

// columns are the columns of the file.
var columns = []string{
	"Airport Name", "Aircraft Make Model", "Effect Amount of damage", "Flight Date", "Aircraft Airline Operator", "Origin State",
	"Phase of flight", "Wildlife Size", "Wildlife Species", "Time of day", "Cost Other", "Cost Repair", "Cost Total $", "Speed IAS in knots",
}

// strikes returns all records, in the file's order. It reads them once.
var strikes = sync.OnceValues(func() ([]strike, error) {
	z, err := gzip.NewReader(bytes.NewReader(compressed))
	if err != nil {
		return nil, fmt.Errorf("the embedded strikes: %w", err)
	}
	lines, err := csv.NewReader(z).ReadAll()
	if err != nil {
		return nil, fmt.Errorf("the embedded strikes: %w", err)
	}
	if len(lines) == 0 || !slices.Equal(lines[0], columns) {
		return nil, fmt.Errorf("the embedded strikes do not have the columns %q", columns)
	}
	out := make([]strike, len(lines)-1)
	for i, line := range lines[1:] {
		if out[i], err = parseStrike(line); err != nil {
			return nil, fmt.Errorf("the embedded strikes: record %d: %w", i+1, err)
		}
	}
	return out, nil
})

func parseStrike(line []string) (strike, error) {
	s := strike{
		damage: line[2], operator: line[4], state: line[5], phase: line[6], size: line[7], species: line[8], daytime: line[9], speed: -1,
	}
	var err error
	if s.date, err = time.Parse(time.DateOnly, line[3]); err != nil {
		return s, err
	}
	if s.cost, err = strconv.ParseInt(line[12], 10, 64); err != nil {
		return s, err
	}
	if line[13] != "" {
		if s.speed, err = strconv.Atoi(line[13]); err != nil {
			return s, err
		}
	}
	return s, nil
}

// damaged tells whether the aircraft was damaged.
func (s *strike) damaged() bool { return s.damage != "None" }
