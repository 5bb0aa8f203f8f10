package embedded_test

import "errors"

func limitChild(string) error { return errors.New("no such limit on this system") }
