module github.com/pay-theory/streamer/contract/gen

go 1.26.0
