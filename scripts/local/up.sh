#!/usr/bin/env bash
# Bring a tree up as separate processes on 127.0.0.1: 3 roots under Raft, 2
# relays that gossip, 6 agents.
#
#   scripts/local/up.sh [DIR]      # DIR: /tmp/pando-local
#
# Ports (see the *.yaml beside this file):
#   root1-3       transport 271N1  raft 271N2    api 271N3  ops 271N4  (N: 1 to 3)
#   relay1, 2     transport 271N1  gossip 271N2  api 271N3  ops 271N4  (N: 4, 5)
#   vm-swift      syslog over TCP 27160          api 27163  ops 27164
#   lpara, lparb, k8s-checkout                   api 271N3  ops 271N4  (N: 7, 8, 9)
#   k8s-ledger, k8s-fraud                        api 27103, 27107  ops 27104, 27108
set -euo pipefail
. "$(dirname "$0")/lib.sh"
dir=${1:-/tmp/pando-local}
build
prepare "$dir"
dir=$(cd "$dir" && pwd)
for name in $roots $relays $agents; do start "$dir" "$name"; done
ready "$dir" $roots $relays $agents
cat <<EOF
up: logs in $dir/log, data in $dir/data

  export PANDO_CONTEXT=$dir/context.yaml
  $PANDO tree
  $PANDO tap
  logger -n 127.0.0.1 -P ${PORTS}60 -T --rfc5424 -t swift-gateway "CRITICAL: no session to SWIFTNet"
  $PANDO incident list
  $PANDO incident show INC-…

to stop it: $here/down.sh $dir
EOF
