package cli

import (
	"slices"
	"testing"

	"pando/tree/status"
)

// Relays stand below those that they are connected to, whatever their names;
// reports that contradict each other are shown all the same.
func TestTreeShowsTheTiersFromTheTop(t *testing.T) {
	v := treeView{Nodes: []status.Node{
		{Name: "a.a.a/low", Role: "relay", Region: "a.a.a", Parent: "a.a/mid"},
		{Name: "a.a.a/agent", Role: "agent", Region: "a.a.a", Parent: "a.a.a/low"},
		{Name: "a.a/mid", Role: "relay", Region: "a.a", Parent: "z/top"},
		{Name: "b/one", Role: "relay", Region: "b", Parent: "core/root1"},
		{Name: "c/x", Role: "relay", Region: "c", Parent: "c/y"},
		{Name: "c/y", Role: "relay", Region: "c", Parent: "c/x"},
		{Name: "core/root1", Role: "root", Region: "core"},
		{Name: "z/top", Role: "relay", Region: "z", Parent: "core/root1"},
	}}
	v.sort()
	var got []string
	for _, n := range v.Nodes {
		got = append(got, n.Name)
	}
	want := []string{"core/root1", "b/one", "z/top", "a.a/mid", "a.a.a/low", "c/x", "c/y", "a.a.a/agent"}
	if !slices.Equal(got, want) {
		t.Errorf("order %v, want %v", got, want)
	}
}
