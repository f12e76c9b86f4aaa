//go:build !zos

package gossip

import (
	"context"
	"fmt"
	"math/rand/v2"
	"net"
	"net/netip"
	"strconv"
	"time"
)

// Limits of one round of rejoining. A join blocks for up to streamTimeout for
// each step and cannot be cancelled, so a round tries few addresses and asks
// in between whether it should end.
const (
	joinsPerRound  = 3
	resolveTimeout = 2 * time.Second
	maxResolved    = 8 // addresses of one seed's name; more are another round's
)

// rejoin tries to exchange states with a few seeds and lost members. After a
// partition one success, on either side, is enough: gossip does the rest.
func (p *Pool) rejoin(ctx context.Context) {
	for _, addr := range p.targets(ctx) {
		if ctx.Err() != nil {
			return
		}
		if _, err := p.list.Join([]string{addr}); err != nil {
			p.metrics.joins.WithLabelValues("failed").Inc()
			p.logger.Debug("gossip join failed", "addr", addr, "err", err)
			continue
		}
		p.metrics.joins.WithLabelValues("ok").Inc()
		p.logger.Info("gossip joined", "addr", addr)
	}
}

// pause is how long to wait after a round: short at first while this node is
// alone, so that a tree that starts as a whole is soon complete.
func (p *Pool) pause() time.Duration {
	if len(p.roster.snapshot()) <= 1 {
		return p.alone.Next()
	}
	p.alone.Reset()
	return p.opts.RejoinEvery/2 + rand.N(p.opts.RejoinEvery)
}

// targets returns up to joinsPerRound addresses that are worth trying: seeds
// and lost members by turns, each list continued where the last round ended.
func (p *Pool) targets(ctx context.Context) []string {
	lost, alive := p.roster.lost()
	seen := map[string]bool{p.addr: true}
	var targets []string
	add := func(addr string) {
		if !seen[addr] && !alive[addr] && len(targets) < joinsPerRound {
			seen[addr] = true
			targets = append(targets, addr)
		}
	}
	for range joinsPerRound {
		if len(p.opts.Seeds) > 0 {
			p.seeds %= len(p.opts.Seeds)
			for _, addr := range p.resolve(ctx, p.opts.Seeds[p.seeds]) {
				add(addr)
			}
			p.seeds++
		}
		if len(lost) > 0 {
			p.losses %= len(lost)
			add(lost[p.losses])
			p.losses++
		}
	}
	return targets
}

// resolve returns the ip:port addresses of a seed; none if its name does not
// resolve now.
func (p *Pool) resolve(ctx context.Context, seed string) []string {
	if addr, err := netip.ParseAddrPort(seed); err == nil {
		return []string{addr.String()}
	}
	addrs, err := resolveName(ctx, seed)
	if err != nil {
		p.metrics.joins.WithLabelValues("failed").Inc()
		p.logger.Debug("gossip seed does not resolve", "seed", seed, "err", err)
	}
	return addrs
}

func resolveName(ctx context.Context, seed string) ([]string, error) {
	ctx, cancel := context.WithTimeout(ctx, resolveTimeout)
	defer cancel()
	host, service, err := net.SplitHostPort(seed)
	if err != nil {
		return nil, err
	}
	port, err := net.DefaultResolver.LookupPort(ctx, "tcp", service)
	if err != nil {
		return nil, err
	}
	ips, err := net.DefaultResolver.LookupNetIP(ctx, "ip", host)
	if err != nil {
		return nil, err
	}
	if len(ips) == 0 {
		return nil, fmt.Errorf("%s has no address", host)
	}
	// A name may stand for the whole pool: a different few each time.
	rand.Shuffle(len(ips), func(i, j int) { ips[i], ips[j] = ips[j], ips[i] })
	var addrs []string
	for _, ip := range ips[:min(len(ips), maxResolved)] {
		addrs = append(addrs, net.JoinHostPort(ip.Unmap().String(), strconv.Itoa(port)))
	}
	return addrs, nil
}
