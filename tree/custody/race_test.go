//go:build race

package custody

// slower divides the sizes of the model: the race detector makes it some four
// times slower, and has nothing to find in values that no goroutines share.
const slower = 4
