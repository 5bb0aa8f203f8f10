package embedded_test

// childRole names what this binary does when a test starts it anew.
const childRole = "STREAMER_EMBEDDED_TEST_CHILD"

func child(role string) {}
