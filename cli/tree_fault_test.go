package cli

import (
	"errors"
	"strings"
	"testing"

	"pando/tree/status"
)

func TestTreeIsDegradedByOneNode(t *testing.T) {
	for state, well := range map[string]bool{"live": true, "leader": true, "follower": true, "unknown": true, "silent": false, "cloned": false} {
		v := treeView{Nodes: []status.Node{{Name: "eu/r1", State: "live"}, {Name: "eu/a1", State: state}}}
		err := v.fault()
		if (err == nil) != well {
			t.Errorf("a node that is %s: %v", state, err)
		}
		if !well && (exitCode(err) != exitDegraded || !errors.Is(err, errDegraded) || !strings.Contains(err.Error(), "eu/a1 is "+state)) {
			t.Errorf("a node that is %s: exit code %d, %v", state, exitCode(err), err)
		}
	}
}
