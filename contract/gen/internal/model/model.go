// Package model is the input of a generator: the messages of the contract, their
// fields, their limits and the codes, with references resolved, in the order of the
// source. It is independent of programming languages.
package model

import "slices"

// Model is the whole contract.
type Model struct {
	// Client and Server are the two directions.
	Client, Server Direction
	// Records are the objects inside messages that are not messages.
	Records []Record
	// Limits are the bounds that have names, in order of appearance.
	Limits []Limit
	// Codes and Closes are those of codes.json.
	Codes  []Code
	Closes []Close
}

// Direction is what one side sends.
type Direction struct {
	Doc      string
	Messages []Message
	// Events are the messages inside others; only servers send them.
	Events []Message
	// Fields are the fields of all messages, each once, in an order that agrees
	// with every message. A shared field is that of the first message.
	Fields []Field
	// MaxBytes and MaxDepth bound a frame.
	MaxBytes, MaxDepth int
	// MaxBatch is the maximum number of messages in a batch; 0: only MaxBytes
	// limits it.
	MaxBatch int
	// Strict frames are refused for duplicate keys and lone surrogates.
	Strict bool
}

// Message is one type of message.
type Message struct {
	// Type is the value of its field type.
	Type string
	Doc  string
	// Closed messages have no other fields than these.
	Closed bool
	// Fields begin with type.
	Fields []Field
}

// Record is an object in a field.
type Record struct {
	Name   string
	Doc    string
	Fields []Field
}

// Field is one field of a message or record.
type Field struct {
	Name     string
	Doc      string
	Required bool
	// Default is the meaning of an absent field as JSON; empty: absence has its
	// own meaning.
	Default string
	Value   Value
	// In are the types of the messages that have the field; empty in records.
	In []string
}

// Kind is the kind of value of a field.
type Kind int

// The kinds.
const (
	// Text is a string, with Value's length limits.
	Text Kind = iota + 1
	// Word is one string of Value.Words.
	Word
	// Integer is a whole number between Value.Min and Value.Max.
	Integer
	// Number is any number between them.
	Number
	// Boolean is true or false.
	Boolean
	// Raw is any JSON value, kept byte for byte.
	Raw
	// RawObject is an object, kept byte for byte.
	RawObject
	// Object is the record Value.Record.
	Object
	// Array holds records Value.Record; or events, where that is empty.
	Array
)

// Value is what a field may hold.
type Value struct {
	Kind Kind
	// Name is the name of its definition, or empty.
	Name string
	// Record names the record of an Object or Array.
	Record string
	// Words are the values of a Word.
	Words []string
	// Min and Max bound an Integer or Number, both included.
	Min, Max int64
	// MinLength and MaxLength count a Text's characters. MaxLength 0: unbounded.
	MinLength, MaxLength int
	// MaxBytes bounds the UTF-8 of a Text, or the JSON text of a raw value; of
	// an Array its elements together unless there is one alone. 0: unbounded.
	MaxBytes int
	// Pattern is a regular expression that a Text matches, and Rule describes it in
	// words that follow the field's name.
	Pattern, Rule string
	// Limit names the upper bound, or is empty.
	Limit string
}

// Limit is a bound that has a name.
type Limit struct {
	Name  string
	Value int64
	// Default is used when the field is absent; 0: there is none.
	Default int64
}

// Code is an error code.
type Code struct {
	Code      string `json:"code"`
	Retryable bool   `json:"retryable"`
	Fatal     bool   `json:"fatal"`
	Meaning   string `json:"meaning"`
	// Client describes what a client does.
	Client string `json:"client"`
}

// Close is a close code.
type Close struct {
	Close     int    `json:"close"`
	Name      string `json:"name"`
	Meaning   string `json:"meaning"`
	Reconnect bool   `json:"reconnect"`
}

// Field returns the message's field of that name, or nil.
func (m *Message) Field(name string) *Field {
	if i := indexOf(m.Fields, name); i >= 0 {
		return &m.Fields[i]
	}
	return nil
}

// Words returns the types of messages and the values of Words, each once, in order
// of appearance.
func (m *Model) Words() []string {
	var all []string
	add := func(word string) {
		if !slices.Contains(all, word) {
			all = append(all, word)
		}
	}
	for _, message := range slices.Concat(m.Client.Messages, m.Server.Messages) {
		add(message.Type)
	}
	for _, v := range m.Vocabularies() {
		for _, word := range v.Value.Words {
			add(word)
		}
	}
	return all
}

// Vocabularies returns the fields that hold a Word, except type: each name once, in
// order of appearance.
func (m *Model) Vocabularies() []Field {
	var out []Field
	for _, f := range slices.Concat(m.Client.Fields, m.Server.Fields) {
		if f.Value.Kind == Word && f.Name != "type" && indexOf(out, f.Name) < 0 {
			out = append(out, f)
		}
	}
	return out
}
