package cli

import (
	"context"
	"errors"
	"fmt"
	"net/url"
	"slices"
	"strings"

	"github.com/spf13/cobra"

	"pando/tree/status"
)

var errNoNode = errors.New("which node is meant?")

func addAtFlag(cmd *cobra.Command, at *string) {
	cmd.Flags().StringVar(at, "at", "", "ask this node: its name, such as eu/relay1, or its role if it is the only one")
}

// narrow makes the client ask only the node that --at names; empty changes
// nothing.
func (c *client) narrow(ctx context.Context, at string) error {
	if at == "" {
		return nil
	}
	addr, err := c.locate(ctx, at)
	if err != nil {
		return err
	}
	c.addrs = []string{addr}
	return nil
}

// locate finds the API of a node by its name, or by its role. The context's
// own nodes are asked first who they are, so that a relay that is cut off from
// the roots can be found while they cannot tell of it.
func (c *client) locate(ctx context.Context, at string) (string, error) {
	found := map[string]string{} // name → address
	asked := slices.Clone(c.addrs)
	for _, addr := range asked {
		var tree treeView
		if one := (&client{http: c.http, addrs: []string{addr}}); one.get(ctx, "/v1/tree", url.Values{"stale": {"true"}}, &tree) != nil {
			continue
		}
		for _, n := range tree.Nodes {
			if (n.Name == at || n.Role == at || strings.HasSuffix(n.Name, "/"+at)) && n.API != "" {
				found[n.Name] = apiHost(n)
			}
		}
	}
	names := make([]string, 0, len(found))
	for name := range found {
		names = append(names, name)
	}
	slices.Sort(names)
	switch {
	case found[at] != "":
		return found[at], nil
	case len(names) == 1:
		return found[names[0]], nil
	case len(names) > 1:
		return "", &usageError{err: fmt.Errorf("--at %s: there are %s", at, strings.Join(names, ", ")), suggestion: "give one of these names"}
	}
	return "", withHint(fmt.Errorf("--at %s: no node of that name or role with an API is known at %s", at, strings.Join(asked, ", ")),
		"give the node's own API address by --node, or list it under api: in the context")
}

// apiHost is the host:port of a node's API.
func apiHost(n status.Node) string { return strings.TrimPrefix(n.API, "https://") }
