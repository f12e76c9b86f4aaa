#!/usr/bin/env bash
# Runs every fuzz target of the given packages for a while each.
#
#   scripts/fuzz.sh TIME PACKAGE...
#
# Targets are discovered, so that a new one needs no entry anywhere. The first
# failure ends the run; Go leaves its input under testdata/fuzz of the package.
set -euo pipefail
go=${GO:-go}
[ $# -ge 2 ] || { echo "usage: $0 TIME PACKAGE..." >&2; exit 2; }
time=$1
shift
cd "$(dirname "$0")/.."

# go test -list prints the names of a package's targets, then its result line.
listing=$("$go" test -list '^Fuzz' "$@") || { printf '%s\n' "$listing" >&2; exit 1; }
targets=$(printf '%s\n' "$listing" | awk '
    /^Fuzz/      { names[n++] = $1; next }
    $1 == "ok"   { for (i = 0; i < n; i++) print $2, names[i]; n = 0; next }
                 { n = 0 }')
[ -n "$targets" ] || { echo "no fuzz targets in: $*" >&2; exit 1; }

# fuzz PACKAGE NAME tries one target. Go's own deadline may hit while a worker is
# being asked, and that counts as a failure without an input: then the target is
# tried once more.
said=$(mktemp)
trap 'rm -f "$said"' EXIT
fuzz() {
    local try
    for try in 1 2; do
        # Otherwise each new input is shortened for up to a minute, and nothing is tried meanwhile.
        if "$go" test -run '^$' -fuzz "^$2\$" -fuzztime "$time" -fuzzminimizetime 10x "$1" </dev/null 2>&1 | tee "$said"; then
            return 0
        fi
        if [ "$try" = 2 ] || grep -q 'Failing input\|panic' "$said" || ! grep -q '^ *context deadline exceeded$' "$said"; then
            return 1
        fi
        echo "--- once more: the deadline came while a worker was being asked"
    done
}

count=0
while read -r package name; do
    echo "--- $package $name"
    fuzz "$package" "$name"
    count=$((count + 1))
done <<<"$targets"
echo "$count fuzz targets, $time each: nothing found"
