//go:build race

package cep

// slower divides the sizes of the long tests: the race detector makes them some
// ten times slower, and has nothing to find in values that no goroutines share.
const slower = 10
