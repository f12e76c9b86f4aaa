//go:build !race

package cep

const slower = 1
