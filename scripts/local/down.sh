#!/usr/bin/env bash
# Stop the tree that up.sh started, from the leaves to the roots. Its data
# stays; remove DIR to forget it.
#
#   scripts/local/down.sh [DIR]
set -euo pipefail
. "$(dirname "$0")/lib.sh"
dir=${1:-/tmp/pando-local}
[ -d "$dir/run" ] || die "no tree in $dir"
dir=$(cd "$dir" && pwd)
failed=0
for name in $agents $relays; do end "$dir" "$name" TERM || failed=1; done
for name in $roots; do end "$dir" "$name" TERM & done
wait
for name in $roots; do running "$dir" "$name" && failed=1; done
exit $failed
