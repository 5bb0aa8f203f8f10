package client

// Action is the name of an action, with its types: P of its parameters, C of
// its chunks ([None] if it sends none), R of its result. A name has 1 to 128
// letters, digits and . _ : / -
//
//	const Generate client.Action[Params, Row, Report] = "report.generate"
type Action[P, C, R any] string

// With returns a request of the action with parameters. Nothing is sent yet.
// Parameters of type json.RawMessage are sent as they are.
func (a Action[P, C, R]) With(params P) Request[C, R] {
	r := Request[C, R]{action: string(a)}
	r.payload, r.err = encodeJSON("payload", params)
	return r
}

// Attach follows a call of this action that was started elsewhere or earlier,
// from its first event. If there is no such call, or the caller may not see
// it, the call ends with [CodeNotFound]. Attach does not wait for the server;
// its error is about the id or the client.
func (a Action[P, C, R]) Attach(c *Client, id string) (*Call[C, R], error) {
	if err := checkID(id); err != nil {
		return nil, err
	}
	f, err := c.attach(id)
	if err != nil {
		return nil, err
	}
	return &Call[C, R]{f}, nil
}
