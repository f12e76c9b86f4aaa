#!/usr/bin/env bash
# Break the product on purpose, one rule at a time, in a copy of the repository,
# and show that the simulation sees it: a table of mutation, first seed that
# fails, and what it says. A mutation that survives fails the script.
#
#   scripts/mutants.sh            # all of them
#   SEEDS=2000 scripts/mutants.sh trim-on-durable
#
# A mutation is a name, a file, and a sed expression that must change the file.
# Some rules the simulation cannot break, since it models what keeps them: the
# consensus (no quorum, no word) and the journal over a log (no output before
# the fsync). For these a test of their own must fail; see modelled.
# One is missing on purpose: a root that takes sections of an old term breaks
# nothing, since contiguity and the chain carry the safety; a term only fences.
set -euo pipefail
cd "$(dirname "$0")/.."
GO=${GO:-go}
SEEDS=${SEEDS:-500}

mutations() {
    cat <<'END'
trim-on-durable	tree/custody/outbox.go	s|^	return o.Settled$|	return o.Synced|; s|return min(o.Settled, o.Next-1)|return max(o.Durable, min(o.Settled, o.Next-1))|
step-unvouched	tree/custody/intake.go	s|n.Held\[to\].Last <= n.Vouched {|n.Held[to].Last <= n.End {|
keep-unvouched	tree/custody/intake.go	s|keep > 0 \&\& n.Held\[keep-1\].Last > n.Vouched|keep > len(n.Held)|
no-contiguity	tree/custody/owner.go	s/case h.From <= o.Settled || .*/case h.To <= o.Settled:/; s/case h.From == o.Settled+1 && h.Before != o.Chain:/case false:/
no-chain	tree/custody/intake.go	s|case n.EndOK \&\& s.Before != n.EndHash:|case false:|; s/o.Synced < n.End {/false {/
drop-fenced	tree/custody/intake.go	s|n.Claimed, n.Fenced = false, true|n.Claimed, n.Fenced, n.Held = false, true, nil|
claim-once	relay/answers.go	s/if u.id.Lane == event.Critical || c.units/if false \&\& c.units/
no-wal-close	tree/custody/owner.go	s|closes, o.Current, o.Opened, o.Started = o.Current, c.WAL, c.Opened, c.Opened|o.Current, o.Opened, o.Started = c.WAL, c.Opened, c.Opened|
rest-counts-all	relay/unit.go	s|^		if u.intake.Closed {$|		if false {|
silence-without-heartbeat	stream/anomaly/silence.go	s/ || !s.beats\[l\].readable {/ {/
unobserved-time-counts	stream/anomaly/step.go	s|t.rate.Skip(t.source.since)|_ = t.source|
codes-not-handed-over	relay/answers.go	s/c.engine.Claimed(u.id, m.Expect\[l\])/c.engine.Claimed(u.id, anomaly.Expectations{})/
unit-stays	relay/custody.go	s|if u.intake.Done() {|if false {|
vouch-before-fsync	agent/handover.go	s|^	h.unsynced = append(h.unsynced, appendedBatch{lane, last, at})$|	h.out[lane].Sync(last)|
events-out-of-order	agent/queue.go	s|^		e, p := q.at(i)$|		e, p := q.at(n - 1 - i)|
hlc-behind-sender	event/hlc/clock.go	s|base := max(c.last, uint64(remote))|base := c.last|
intervals-too-narrow	event/clock/mapping.go	s|return add(m.Bound, portion(distance(mono, m.At), drift))|return portion(distance(mono, m.At), drift)|
root-time-steps	root/timekeeper.go	s|return k.steady.At(r.Mono, r.Wall)|return r.Wall|
terms-fall	tree/custody/owner.go	s/if c := t.Compare(o.Term); c < 0 || c == 0/if c := t.Compare(o.Term); c == 0/
checkpoint-not-whole	relay/state.go	s|c.asked, c.dropped = r.Int("asked"), |_, c.dropped = r.Int("asked"), |
replicas-differ	root/digest.go	s|u.events += sec.Rows.Events$|u.events += sec.Rows.Events + nowAndThen()|; $ a var calls uint64\nfunc nowAndThen() uint64 { calls++; return calls % 101 / 100 }
settled-twice	root/digest.go	s|u.events += sec.Rows.Events$|u.events += sec.Rows.Events * (1 + uint64(s.index-s.mark.index)/(1<<5)%2)|
END
}

# modelled are mutations of what the simulation models: a name, a package, the
# test that must fail, a file, and the change.
modelled() {
    cat <<'END'
word-without-quorum	./root/consensus	TestCutOffLeaderServesNothing	root/consensus/read.go	s|n.await(r.VerifyLeader()); err != nil|error(nil); err != nil|; s|r.CurrentTerm() != term {|r.CurrentTerm() != term \&\& false {|
read-of-half-an-entry	./root	TestReadWaitsForTheWholeEntry	root/fsm.go	s|if f.full >= index {|if f.state.index >= index {|
output-before-fsync	./tree/journal	TestNothingIsSaidBeforeTheSync	tree/journal/journal.go	s|synced := j.log.Synced()|synced := j.log.Last()|
END
}

dir=$(mktemp -d "${TMPDIR:-/tmp}/pando-mutants.XXXXXX")
trap 'rm -rf "$dir"' EXIT
git ls-files -z --cached --others --exclude-standard | tar --null -cf - -T - | tar -xf - -C "$dir"
cp -r "$dir" "$dir.clean"
trap 'rm -rf "$dir" "$dir.clean"' EXIT

# first_failure BINARY: the lowest seed of the first hundred that has one.
first_failure() {
    local from
    for ((from = 1; from <= SEEDS; from += 50)); do
        if ! "$1" sim --seed "$from" --seeds 50 >/dev/null 2>"$dir.said"; then
            grep '^seed ' "$dir.said" | sort -t' ' -k2 -n | sed -n 1p
            return
        fi
    done
}

printf '%-28s %s\n' MUTATION "FIRST SEED THAT SHOWS IT"
survived=0
while IFS=$'\t' read -r name file change; do
    if [ $# -gt 0 ] && [[ " $* " != *" $name "* ]]; then continue; fi
    cp "$dir.clean/$file" "$dir/$file"
    sed -i "$change" "$dir/$file"
    if cmp -s "$dir.clean/$file" "$dir/$file"; then
        echo "$name: the change no longer fits $file" >&2
        exit 1
    fi
    (cd "$dir" && $GO build -o "$dir.bin" .) || { echo "$name: does not build" >&2; exit 1; }
    said=$(first_failure "$dir.bin")
    printf '%-28s %.150s\n' "$name" "${said:-survives $SEEDS seeds}"
    [ -n "$said" ] || survived=$((survived + 1))
    cp "$dir.clean/$file" "$dir/$file"
    rm -f "$dir.bin" "$dir.said"
done < <(mutations)

printf '\n%-28s %s\n' MODELLED "TEST THAT SHOWS IT"
while IFS=$'\t' read -r name package test file change; do
    if [ $# -gt 0 ] && [[ " $* " != *" $name "* ]]; then continue; fi
    sed -i "$change" "$dir/$file"
    if cmp -s "$dir.clean/$file" "$dir/$file"; then
        echo "$name: the change no longer fits $file" >&2
        exit 1
    fi
    (cd "$dir" && $GO vet "$package") || { echo "$name: does not build" >&2; exit 1; }
    if (cd "$dir" && $GO test -count=1 -run "$test" "$package" >"$dir.said" 2>&1); then
        said="survives $test"
        survived=$((survived + 1))
    else
        said=$(sed -n 's/^ *--- FAIL: \([^ ]*\).*/\1/p' "$dir.said" | sed -n 1p)
    fi
    printf '%-28s %.150s\n' "$name" "$said"
    cp "$dir.clean/$file" "$dir/$file"
    rm -f "$dir.said"
done < <(modelled)
[ $survived -eq 0 ] || { echo "$survived survive" >&2; exit 1; }
