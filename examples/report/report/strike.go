package report

import (
	"bytes"
	"compress/gzip"
	_ "embed"
	"encoding/csv"
	"errors"
	"fmt"
	"io"
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
	out, err := readStrikes(z)
	if err != nil {
		return nil, fmt.Errorf("the embedded strikes: %w", err)
	}
	return out, nil
})

func readStrikes(r io.Reader) ([]strike, error) {
	c := csv.NewReader(r)
	c.ReuseRecord = true
	head, err := c.Read()
	if err != nil {
		return nil, err
	}
	if !slices.Equal(head, columns) {
		return nil, fmt.Errorf("unexpected columns %q", head)
	}
	out := make([]strike, 0, 10_000)
	for {
		line, err := c.Read()
		if errors.Is(err, io.EOF) {
			return out, nil
		}
		if err != nil {
			return nil, err
		}
		s, err := parseStrike(line)
		if err != nil {
			row, _ := c.FieldPos(0)
			return nil, fmt.Errorf("line %d: %w", row, err)
		}
		out = append(out, s)
	}
}

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
