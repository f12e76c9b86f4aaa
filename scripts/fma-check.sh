#!/usr/bin/env bash
# Looks for fused multiply-add instructions in our own packages. A compiler may
# fuse x*y + z on one processor and not on another, and the results differ in
# their last bit; float64(x*y) + z is never fused (Go specification, "Floating
# point operators").
#
# It reads the compiler's assembly of every package, so code that the program
# does not link yet is judged too. Functions that may fuse, since none of their
# results is hashed or replicated, stand in scripts/fma-allow.txt with a reason.
set -euo pipefail
go=${GO:-go}
cd "$(dirname "$0")/.."
allow=scripts/fma-allow.txt
module=$("$go" list -m)
export CGO_ENABLED=0 GOOS=linux

assembly=$(mktemp)
trap 'rm -f "$assembly"' EXIT

# fused ARCH prints "function: instruction" for each fused instruction. Only
# the third level of amd64 has any.
fused() {
    GOARCH=$1 GOAMD64=v3 "$go" build -gcflags="$module/...=-S" ./... >"$assembly" 2>&1 || {
        grep -vE '^#|^[[:space:]]|STEXT|SDATA|SRODATA|SNOPTR|SBSS|SDWARF' "$assembly" >&2
        return 1
    }
    awk '
        / STEXT /  { fn = $1 }
        $1 ~ /^0x[0-9a-f]+$/ && $4 ~ /^(FN?M(ADD|SUB)[SD]?|V?FML[AS]|VFN?M(ADD|SUB)[0-9]+[SP][SD]|W?V?FM[AS]D?[SDX]?B|MA[DE]BR?|MS[DE]BR?)$/ {
            print fn ": " $4
        }' "$assembly" | sort -u
}

status=0
for target in arm64 s390x amd64; do
    found=$(fused "$target")
    while read -r line; do
        [ -n "$line" ] || continue
        if grep -v '^#' "$allow" | cut -f1 | grep -qxF "${line%%: *}"; then
            continue
        fi
        echo "$target: $line" >&2
        status=1
    done <<<"$found"
done
if [ $status -ne 0 ]; then
    echo "hint: write float64(x*y) + z, or use internal/exact; see scripts/fma-check.sh" >&2
    exit 1
fi
echo "no fused multiply-add on arm64, s390x, amd64 v3"
