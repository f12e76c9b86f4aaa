//go:build race

package detect

// slower divides the lengths of the long tests: the race detector makes them some
// ten times slower, and has nothing to find in values that no goroutines share.
const slower = 10
