//go:build linux

package main

import (
	"context"
	"fmt"
)

func regionCut(ctx context.Context, c *chaos) error {
	region := pick(c, regions())
	return c.cutRegion(ctx, "region-cut", fmt.Sprintf("region %s is cut off from the roots", region), region, true, true)
}

// oneWayCut lets packets through in one direction only: what TCP notices last.
func oneWayCut(ctx context.Context, c *chaos) error {
	region, up := pick(c, regions()), c.rng.IntN(2) == 0
	text := fmt.Sprintf("nothing from the roots reaches region %s", region)
	if up {
		text = fmt.Sprintf("nothing from region %s reaches the roots", region)
	}
	return c.cutRegion(ctx, "one-way-cut", text, region, up, !up)
}

// cutRegion drops at the roots what comes from a region, or goes there.
func (c *chaos) cutRegion(ctx context.Context, name, text, region string, from, to bool) error {
	roots := c.group(roleRoot, "")
	heal := func() error {
		for _, r := range roots {
			r.space.heal()
		}
		return nil
	}
	sources := c.urgent(func(agent string) bool {
		for _, p := range placesOf(roleAgent, region) {
			if p.name == agent {
				return true
			}
		}
		return false
	})
	s, err := c.strike(ctx, name, text, sources, func() error {
		for _, r := range roots {
			if err := r.space.cut(prefix(region), from, to); err != nil {
				_ = heal()
				return err
			}
		}
		return nil
	})
	if err != nil {
		return err
	}
	return s.healed(ctx, hold, heal)
}

func slowLink(ctx context.Context, c *chaos) error {
	a := pick(c, c.group(roleAgent, ""))
	s, err := c.strike(ctx, "slow-link", fmt.Sprintf("the link of %s is slow", a.name), c.sourcesOf(a), func() error {
		return a.space.slow(c.net)
	})
	if err != nil {
		return err
	}
	return s.healed(ctx, hold, func() error { a.space.heal(); return nil })
}

func lossyLink(ctx context.Context, c *chaos) error {
	const percent = 10
	n, sources, err := c.busy(ctx, c.group(roleRelay, ""))
	if err != nil {
		return err
	}
	if c.rng.IntN(2) == 0 {
		n = pick(c, c.group(roleAgent, ""))
		sources = c.sourcesOf(n)
	}
	s, err := c.strike(ctx, "lossy-link", fmt.Sprintf("%s loses %d %% of its packets", n.name, percent), sources, func() error {
		return n.space.lose(c.net, percent)
	})
	if err != nil {
		return err
	}
	return s.healed(ctx, hold, func() error { n.space.heal(); return nil })
}
