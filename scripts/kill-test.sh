#!/usr/bin/env bash
# Kill one process of a tree after another with SIGKILL while events flow, and
# count what the root has in the end.
#
#   scripts/kill-test.sh           # about 90 s; KEEP=1 keeps the folder
#
# Two writers run all the time, each line with the next number, 200 lines a
# second: one appends to a file, one sends syslog over TCP. Killed, and started
# again 5 s later, are in turn the agent that reads the file, the relay that it
# is connected to, and the root that leads. Then that agent's relay is killed
# for good. Count and sum of the numbers at the root tell a lost line from a
# doubled one. The detectors are made nervous (seconds of learning), for no
# restart and no move may open an incident.
#
# The agent that takes syslog is not killed: what a sender has written into a
# TCP connection may still be in the kernel's buffers when the reader dies, and
# syslog over TCP (RFC 6587) has no acknowledgement by which the sender could
# tell. Through deaths of relays and roots its lines must be exact too.
#
# Exit code 0 if nothing is lost or doubled and no incident was opened, else 1.
set -euo pipefail
cd "$(dirname "$0")/.."
PORTS=${PORTS:-}
keep=${KEEP:-}

# free PREFIX: whether nobody listens on the ports that a tree would use.
free() {
    local n
    for n in 03 07 11 12 13 21 22 23 31 32 33 41 42 43 51 52 53 60 63 73 83 93; do
        if (exec 9<>"/dev/tcp/127.0.0.1/$1$n") 2>/dev/null; then return 1; fi
    done
}
if [ -z "$PORTS" ]; then
    # Below 32768, where Linux takes ports for outgoing connections.
    for PORTS in $(seq 272 319); do free "$PORTS" && break; done
fi
. scripts/local/lib.sh
build

dir=$(mktemp -d "${TMPDIR:-/tmp}/pando-kill.XXXXXX")
export PANDO_CONTEXT=$dir/context.yaml
writers=()

stop_all() {
    local name id
    touch "$dir/stop"
    for id in "${writers[@]}"; do wait "$id" 2>/dev/null || true; done
    for name in $agents $relays $roots; do end "$dir" "$name" KILL || true; done
    if [ -n "$keep" ]; then echo "kept: $dir"; else rm -rf "$dir"; fi
}
trap stop_all EXIT
trap 'exit 1' INT TERM

say() { printf '%5.1f s  %s\n' "$(awk -v a="$(date +%s%N)" -v b="$began" 'BEGIN { print (a - b) / 1e9 }')" "$*"; }

# Each writer counts a line as written when the write has succeeded.
write_file() {
    local n=0 i
    while [ ! -e "$dir/stop-writing" ] && [ ! -e "$dir/stop" ]; do
        for i in 1 2 3 4 5 6 7 8 9 10; do
            n=$((n + 1))
            echo "n=$n" >>"$dir/in/numbers.log"
        done
        echo "$n" >"$dir/written-file"
        sleep 0.05
    done
}

write_syslog() {
    local n=0 i open=
    trap '' PIPE # a broken connection is an error of printf, not our end
    while [ ! -e "$dir/stop-writing" ] && [ ! -e "$dir/stop" ]; do
        if [ -z "$open" ]; then
            { exec 8<>"/dev/tcp/127.0.0.1/${PORTS}60"; } 2>/dev/null || { sleep 0.2; continue; }
            open=1
        fi
        for i in 1 2 3 4 5 6 7 8 9 10; do
            printf '<14>1 - host app - - - n=%d\n' $((n + 1)) >&8 2>/dev/null || { exec 8>&-; open=; break; }
            n=$((n + 1))
        done
        echo "$n" >"$dir/written-syslog"
        sleep 0.05
    done
    [ -z "$open" ] || exec 8>&-
}

# settled NAME: count and sum of a writer's lines at the root.
settled() { "$PANDO" series --entity "kill-test/$1" --signal line 2>/dev/null | awk 'NR == 2 { print $3, $4 }'; }

# parent NODE: the node that it is connected to.
parent() { "$PANDO" tree 2>/dev/null | awk -v n="$1" '$2 == n { sub(".*/", "", $4); print $4 }' || true; }

leader() { "$PANDO" tree 2>/dev/null | awk '$5 == "leader" { sub(".*/", "", $2); print $2 }' || true; }

# crash NAME WHAT: kill it, and start it again after 5 s.
crash() {
    [ -n "$1" ] || die "there is no $2"
    say "kill -9 $1 ($2)"
    end "$dir" "$1" KILL
    sleep 5
    start "$dir" "$1"
    ready "$dir" "$1"
    say "$1 is ready again; settled at the root: file $(settled file), syslog $(settled syslog) (count, sum)"
    sleep 5
}

began=$(date +%s%N)
prepare "$dir"
cat >>"$dir/k8s-checkout.yaml" <<END
  - name: numbers
    type: tail
    path: in/numbers.log
    entity: kill-test/file
    signal: line
    severity: info
    pattern: "^n=(?P<n>[0-9]+)\$"
    value: "{n}"
END
sed -i.orig 's|^    match:|    match:\n      - {pattern: "^n=(?P<n>[0-9]+)$", entity: kill-test/syslog, signal: line, severity: info, value: "{n}"}|' "$dir/vm-swift.yaml"
for name in $relays; do
    cat >>"$dir/$name.yaml" <<END
  first_seen: {learn_for: 5s, min_severity: info}
  silence: {learn_for: 5s, min_events: 20, floor: 2s}
END
done
for name in $roots $relays $agents; do start "$dir" "$name"; done
ready "$dir" $roots $relays $agents
touch "$dir/in/numbers.log"
write_file & writers+=($!)
write_syslog & writers+=($!)
say "the tree is up on ports ${PORTS}NN; both writers run"
sleep 12 # so that the detectors expect both

crash k8s-checkout "agent"
crash "$(parent fra/k8s-checkout)" "relay of that agent"
crash "$(leader)" "root that leads"
gone=$(parent fra/k8s-checkout)
[ -n "$gone" ] || die "fra/k8s-checkout has no parent"
say "kill -9 $gone (relay of that agent), for good"
end "$dir" "$gone" KILL
sleep 12
# Before the writers stop, for that is a silence in truth.
list=$("$PANDO" incident list) || die "the roots do not answer"
touch "$dir/stop-writing"
for id in "${writers[@]}"; do wait "$id"; done
say "the writers have stopped; waiting until all is settled"

for i in $(seq 120); do
    if [ "$(settled file | cut -d' ' -f1)" = "$(cat "$dir/written-file")" ] &&
        [ "$(settled syslog | cut -d' ' -f1)" = "$(cat "$dir/written-syslog")" ]; then break; fi
    sleep 0.5
done
sleep 2 # what is doubled may come late

say "result"
verdict=0
printf '\n%-8s %9s %9s %14s %14s %6s %8s\n' writer written settled "sum written" "sum settled" lost doubled
for name in file syslog; do
    n=$(cat "$dir/written-$name")
    read -r count sum <<<"$(settled $name)" || true
    awk -v name=$name -v n="$n" -v count="${count:-0}" -v sum="${sum:-0}" 'BEGIN {
        want = n * (n + 1) / 2
        lost = count < n ? n - count : 0
        doubled = count > n ? count - n : 0
        # The same count with another sum: some are lost, as many doubled.
        if (count == n && sum != want) lost = doubled = "some"
        printf "%-8s %9d %9d %14d %14d %6s %8s\n", name, n, count, want, sum, lost, doubled
        exit !(count == n && sum == want)
    }' || verdict=1
done
opened=$(awk 'NR > 1' <<<"$list" | wc -l)
printf '\nincidents opened: %d\n' "$opened"
if [ "$opened" -ne 0 ]; then
    echo "$list"
    verdict=1
fi
[ $verdict -eq 0 ] && echo "exact" || echo "NOT exact"
exit $verdict
