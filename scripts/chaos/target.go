//go:build linux

package main

import (
	"context"
	"errors"
	"fmt"
	"path"
	"slices"
	"time"
)

// pick draws one of a list.
func pick[T any](c *chaos, list []T) T { return list[c.rng.IntN(len(list))] }

// group are the nodes of a role, in a region or everywhere.
func (c *chaos) group(role, region string) []*node {
	var list []*node
	for _, n := range c.nodes {
		if n.role == role && (region == "" || n.region == region) {
			list = append(list, n)
		}
	}
	return list
}

// victim draws an agent that may be killed.
func (c *chaos) victim() *node {
	return pick(c, slices.DeleteFunc(c.group(roleAgent, ""), func(n *node) bool { return n.spared }))
}

// roots returns the leader and the followers.
func (c *chaos) roots(ctx context.Context) (leader *node, followers []*node, err error) {
	nodes, err := c.tree(ctx)
	if err != nil {
		return nil, nil, err
	}
	for _, n := range c.group(roleRoot, "") {
		i := slices.IndexFunc(nodes, func(t treeNode) bool { return path.Base(t.Name) == n.name })
		if i >= 0 && nodes[i].State == "leader" {
			leader = n
		} else {
			followers = append(followers, n)
		}
	}
	if leader == nil {
		return nil, nil, errors.New("no root leads")
	}
	return leader, followers, nil
}

// tree asks for the tree until there is an answer: a leader may be new.
func (c *chaos) tree(ctx context.Context) (nodes []treeNode, err error) {
	for range 100 {
		if nodes, err = c.asker.tree(ctx); err == nil {
			return nodes, nil
		}
		if wait(ctx, 100*time.Millisecond) != nil {
			break
		}
	}
	return nil, fmt.Errorf("ask for the tree: %w", err)
}

// children are the urgent sources of a relay's agents.
func (c *chaos) children(ctx context.Context, relay *node) ([]*source, error) {
	nodes, err := c.tree(ctx)
	if err != nil {
		return nil, err
	}
	return c.urgent(func(agent string) bool {
		return slices.ContainsFunc(nodes, func(t treeNode) bool {
			return path.Base(t.Name) == agent && path.Base(t.Parent) == relay.name
		})
	}), nil
}

// busy draws one of the relays that have agents.
func (c *chaos) busy(ctx context.Context, among []*node) (*node, []*source, error) {
	c.rng.Shuffle(len(among), func(i, j int) { among[i], among[j] = among[j], among[i] })
	for _, n := range among {
		sources, err := c.children(ctx, n)
		if err != nil || len(sources) > 0 {
			return n, sources, err
		}
	}
	return among[0], nil, nil
}

// concerned are the sources whose way to the root leads over a node.
func (c *chaos) concerned(ctx context.Context, n *node) ([]*source, error) {
	switch n.role {
	case roleAgent:
		return c.sourcesOf(n), nil
	case roleRelay:
		return c.children(ctx, n)
	}
	return c.all(), nil
}
