module github.com/pay-theory/streamer/examples

go 1.26.0

require (
	github.com/pay-theory/streamer/backend v0.0.0-00010101000000-000000000000
	github.com/pay-theory/streamer/client-go v0.0.0-00010101000000-000000000000
)

replace (
	github.com/pay-theory/streamer/backend => ../backend
	github.com/pay-theory/streamer/client-go => ../client-go
)
