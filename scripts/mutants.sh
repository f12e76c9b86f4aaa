#!/usr/bin/env bash
# Break the product on purpose, one rule at a time, in a copy of the repository,
# and show that the simulation sees it: a table of mutation, first seed that
# fails, and what it says. A mutation that survives fails the script.
#
#   scripts/mutants.sh            # all of them
#   SEEDS=2000 scripts/mutants.sh trim-on-durable
#
# A mutation is a name, a file, and a sed expression that must change the file.
set -euo pipefail
cd "$(dirname "$0")/.."
GO=${GO:-go}
SEEDS=${SEEDS:-1500}

mutations() {
    cat <<'END'
ack-before-fsync	relay/core.go	s|^func (c \*core) Logic() uint32 .*|& // acknowledged at once|
trim-on-durable	tree/custody/outbox.go	s|return min(o.Settled, o.Next-1)|return max(o.Durable, min(o.Settled, o.Next-1))|
step-unvouched	tree/custody/intake.go	s|n.Held\[to\].Last <= n.Vouched {|n.Held[to].Last <= n.End {|
no-contiguity	tree/custody/owner.go	s/case h.From <= o.Settled .. h.To < h.From .. h.From > o.Settled+1 && !h.Resumes:/case h.To <= o.Settled:/; s/case h.From == o.Settled+1 && h.Before != o.Chain:/case false:/
no-chain	tree/custody/intake.go	s|case n.EndOK && s.Before != n.EndHash:|case false:|
drop-fenced	tree/custody/intake.go	s|n.Claimed, n.Fenced = false, true|n.Claimed, n.Fenced, n.Held = false, true, nil|
claim-once	relay/answers.go	s|for _, u := range c.order() {$|for _, u := range c.order()[:0] {|
silence-without-heartbeat	stream/anomaly/silence.go	s/|| !s.beats\[l\].readable//
expectations-stay	relay/core.go	s|expectEvery = int64(250e6)|expectEvery = int64(3600e9)|
keep-unvouched	tree/custody/intake.go	s|keep > 0 \&\& n.Held\[keep-1\].Last > n.Vouched|keep > 0 \&\& false|
no-wal-close	tree/custody/owner.go	s|closes, o.Current, o.Opened = o.Current, c.WAL, c.Opened|closes, o.Current, o.Opened = 0, c.WAL, c.Opened|
positions-fall	root/claim.go	s|q.Source == p.Source \&\& q.Offset > p.Offset|false|
rest-counts-all	relay/unit.go	s|if u.intake.Closed \&\& replayable\[e.Source\] {|if false {|
old-term-settles	tree/custody/owner.go	s/case !o.Closed && (h.Term != o.Term || h.Relay != o.Relay):/case false:/
END
}
