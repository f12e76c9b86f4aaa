//go:build !race

package detect

const slower = 1
