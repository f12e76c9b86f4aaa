//go:build !zos

package bench

import (
	"context"
	"errors"
	"fmt"
	"time"

	"pando/root"
	"pando/transport"
)

// plantRoots starts a group of roots and waits until one leads.
func (b *bench) plantRoots(ctx context.Context, n int) (addrs []string, err error) {
	var group []root.Server
	for i := range n {
		name := fmt.Sprintf("root%d", i+1)
		spec, err := b.crew.spec(transport.RoleRoot, name)
		if err != nil {
			return nil, err
		}
		w, err := b.crew.start(tierRoot, name)
		if err != nil {
			return nil, err
		}
		var at root.Server
		if err := w.call(ctx, "Start", RootSpec{spec, n}, &at); err != nil {
			return nil, err
		}
		group, addrs = append(group, at), append(addrs, at.Addr)
	}
	for _, w := range b.crew.of(tierRoot) {
		if err := w.call(ctx, "Begin", group, &None{}); err != nil {
			return nil, err
		}
	}
	return addrs, b.crew.await(ctx, "a leader among the roots", growthLimit, func() error {
		_, err := b.leader(ctx)
		return err
	})
}

// growthLimit is how long a tier may take to stand, on a slow disk.
const growthLimit = 30 * time.Second

// leader is the root that leads.
func (b *bench) leader(ctx context.Context) (*worker, error) {
	for _, w := range b.crew.of(tierRoot) {
		var s Standing
		if err := w.call(ctx, "Standing", None{}, &s); err != nil {
			return nil, err
		}
		if s.Leading {
			return w, nil
		}
	}
	return nil, errors.New("no root leads")
}

// units reads what is settled, through whoever leads.
func (b *bench) units(ctx context.Context) (units []root.Unit, err error) {
	return units, b.crew.await(ctx, "a linearizable read of the root", growthLimit, func() error {
		w, err := b.leader(ctx)
		if err == nil {
			units = nil
			err = w.call(ctx, "Units", None{}, &units)
		}
		return err
	})
}

// plantRelays starts relays that each stand alone, and waits until they serve.
func (b *bench) plantRelays(ctx context.Context, n int, roots []string) (addrs []string, err error) {
	for i := range n {
		name := fmt.Sprintf("relay%d", i+1)
		spec, err := b.crew.spec(transport.RoleRelay, name)
		if err != nil {
			return nil, err
		}
		spec.Parents = roots
		w, err := b.crew.start(tierRelay, name)
		if err != nil {
			return nil, err
		}
		addr := ""
		if err := w.call(ctx, "Start", spec, &addr); err != nil {
			return nil, err
		}
		addrs = append(addrs, addr)
	}
	for _, w := range b.crew.of(tierRelay) {
		if err := b.crew.await(ctx, w.name+" that serves", growthLimit, func() error { return w.call(ctx, "Health", None{}, &None{}) }); err != nil {
			return nil, err
		}
	}
	return addrs, nil
}
