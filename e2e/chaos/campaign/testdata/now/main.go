// Now prints for each line of its input the wall clock's seconds, and
// how many seconds have passed since its start by the monotonic clock.
package main

import (
	"bufio"
	"fmt"
	"os"
	"time"
)

func main() {
	began := time.Now()
	for lines := bufio.NewScanner(os.Stdin); lines.Scan(); {
		fmt.Println(time.Now().Unix(), int(time.Since(began).Seconds()))
	}
}
