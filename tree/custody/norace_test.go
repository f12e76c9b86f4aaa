//go:build !race

package custody

const slower = 1
