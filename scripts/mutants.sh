#!/usr/bin/env bash
# Break the product on purpose, one rule at a time, in a copy of the repository,
# and show that the simulation sees it: a table of mutation, first seed that
# fails, and what it says. A mutation that survives fails the script.
#
#   scripts/mutants.sh            # all of them
#   SEEDS=2000 scripts/mutants.sh trim-on-durable
#
# A mutation is a name, a file, and a sed expression that must change the file.
# One is missing on purpose: a root that takes sections of an old term breaks
# nothing, since contiguity and the chain carry the safety; a term only fences.
set -euo pipefail
cd "$(dirname "$0")/.."
GO=${GO:-go}
SEEDS=${SEEDS:-1000}

mutations() {
    cat <<'END'
ack-before-fsync	sim/tape.go	s|^	t.grown++$|	t.grown++; t.deliver(outputs(\&t.queue))|; $ a func outputs(q *[]said) (o []journal.Output) { for _, s := range *q { o = append(o, s.out) }; *q = nil; return o }
trim-on-durable	tree/custody/outbox.go	s|^	return o.Settled$|	return o.Synced|; s|return min(o.Settled, o.Next-1)|return max(o.Durable, min(o.Settled, o.Next-1))|
step-unvouched	tree/custody/intake.go	s|n.Held\[to\].Last <= n.Vouched {|n.Held[to].Last <= n.End {|
keep-unvouched	tree/custody/intake.go	s|keep > 0 \&\& n.Held\[keep-1\].Last > n.Vouched|keep > len(n.Held)|
no-contiguity	tree/custody/owner.go	s/case h.From <= o.Settled || .*/case h.To <= o.Settled:/; s/case h.From == o.Settled+1 && h.Before != o.Chain:/case false:/
no-chain	tree/custody/intake.go	s|case n.EndOK \&\& s.Before != n.EndHash:|case false:|; s/o.Synced < n.End {/false {/
drop-fenced	tree/custody/intake.go	s|n.Claimed, n.Fenced = false, true|n.Claimed, n.Fenced, n.Held = false, true, nil|
claim-once	relay/answers.go	s/if u.id.Lane == event.Critical || c.units/if false \&\& c.units/
no-wal-close	tree/custody/owner.go	s|closes, o.Current, o.Opened = o.Current, c.WAL, c.Opened|o.Current, o.Opened = c.WAL, c.Opened|
rest-counts-all	relay/unit.go	s|if u.intake.Closed \&\& replayable\[e.Source\] {|if false {|
silence-without-heartbeat	stream/anomaly/silence.go	s/ || !s.beats\[l\].readable {/ {/
codes-not-handed-over	relay/answers.go	s/c.engine.Claimed(u.id, m.Expect\[l\])/c.engine.Claimed(u.id, anomaly.Expectations{})/
unit-stays	relay/custody.go	s|if u.intake.Done() {|if false {|
settled-twice	root/digest.go	s|u.events += sec.Rows.Events$|u.events += sec.Rows.Events * (1 + uint64(s.index-s.mark.index)/(1<<5)%2)|
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
[ $survived -eq 0 ] || { echo "$survived survive" >&2; exit 1; }
