#!/usr/bin/env bash
# Put a tree of real processes through faults: 3 roots, 4 relays in 2 regions and
# 8 agents, each in a network namespace of its own, while numbered lines flow.
#
#   scripts/chaos.sh --for 10m                   # all faults, one after the other
#   scripts/chaos.sh --for 1m --seed 7 --only leader-kill,relay-loss -o json
#   scripts/chaos.sh --help
#
# It needs root, and ip, tc (iproute2) and nft (nftables). It touches nothing
# outside its own namespaces and its own folder. Exit code 0 if every invariant
# holds, 1 if one does not, 2 if this machine cannot do it.
set -euo pipefail
cd "$(dirname "$0")/.."

cannot() { echo "chaos: $*" >&2; exit 2; }
[ "$(uname -s)" = Linux ] || cannot "needs Linux: namespaces are its own"
[ "$(id -u)" -eq 0 ] || cannot "needs root, to make network namespaces"
for tool in ip tc nft; do
    command -v "$tool" >/dev/null || cannot "$tool is missing: install iproute2 and nftables"
done

bin=$(mktemp -d "${TMPDIR:-/tmp}/pando-chaos-bin.XXXXXX")
trap 'rm -rf "$bin"' EXIT
${GO:-go} build -tags chaos -o "$bin/pando" .
${GO:-go} build -o "$bin/chaos" ./scripts/chaos
"$bin/chaos" --pando "$bin/pando" "$@"
