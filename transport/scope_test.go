package transport

import (
	"errors"
	"testing"
)

func relayOf(region string, fallback ...string) Identity {
	return Identity{Domain: "d", Role: RoleRelay, Region: region, Name: "r", Fallback: fallback}
}

// A relay above another one settles in its name, so who may be above whom is
// what keeps a relay from settling for its neighbours.
func TestWhoMaySpeakForWhom(t *testing.T) {
	for _, c := range []struct {
		above Identity
		below string
		want  bool
	}{
		{relayOf("eu"), "eu.fra/r1", true},
		{relayOf("eu"), "eu.fra.dc2/r1", true},
		{relayOf("eu.fra"), "eu.fra.dc2/r1", true},
		{relayOf("us", "eu"), "eu.fra/r1", true},
		{relayOf("eu"), "eu/r1", false}, // a neighbour
		{relayOf("us", "eu"), "eu/r1", false},
		{relayOf("eu"), "eux.fra/r1", false},
		{relayOf("eu"), "us.nyc/r1", false},
		{relayOf("eu.fra"), "eu/r1", false},
		{relayOf("eu"), "eu./r1", false},
		{relayOf("eu"), "eu..fra/r1", false},
		{relayOf("eu"), "eu.fra", false},
		{relayOf("eu"), "eu.fra/", false},
		{relayOf("eu"), "eu.fra/a/b", false},
		{Identity{Domain: "d", Role: RoleAgent, Region: "eu", Name: "a"}, "eu.fra/r1", false},
	} {
		if got := c.above.SpeaksFor(c.below); got != c.want {
			t.Errorf("%s speaks for %s: %t, want %t", c.above, c.below, got, c.want)
		}
	}
}

func TestTheSubtreeRuleBetweenTiers(t *testing.T) {
	agent := func(region string) Identity { return Identity{Domain: "d", Role: RoleAgent, Region: region, Name: "a"} }
	for _, c := range []struct {
		parent, child Identity
		ok            bool
	}{
		{relayOf("eu"), agent("eu"), true},
		{relayOf("eu"), agent("eu.fra"), true},
		{relayOf("eu.fra"), agent("eu"), false},
		{relayOf("us", "eu"), agent("eu.fra"), true},
		{relayOf("eu"), relayOf("eu.fra"), true},
		{relayOf("eu"), relayOf("eu"), false},
		{relayOf("eu.fra"), relayOf("eu"), false},
		{relayOf("us", "eu"), relayOf("eu.fra"), true},
		{relayOf("us", "eu"), relayOf("eu"), false},
		{Identity{Domain: "d", Role: RoleRoot, Region: "core", Name: "root1"}, relayOf("eu.fra"), true},
	} {
		if err := Admit(c.parent, c.child); (err == nil) != c.ok || err != nil && !errors.Is(err, ErrIdentity) {
			t.Errorf("%s below %s: %v", c.child, c.parent, err)
		}
	}
}

func TestRegionsHaveNoEmptyParts(t *testing.T) {
	for region, ok := range map[string]bool{"eu": true, "eu.fra": true, ".eu": false, "eu.": false, "eu..fra": false, ".": false} {
		if err := relayOf(region).Validate(); (err == nil) != ok {
			t.Errorf("region %q: %v", region, err)
		}
	}
}
