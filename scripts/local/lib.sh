# Functions for a tree of separate processes on this machine; sourced by
# up.sh, down.sh and ../kill-test.sh. Each process's id is kept in
# DIR/run/NAME.pid, and only processes started here are ever ended.
#
# Set before sourcing, or leave alone:
#   PANDO   the binary                      (default: bin/pando, built from this tree)
#   PORTS   first digits of all ports       (default: 271, so 27101 to 27194)

here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
repo=$(cd "$here/../.." && pwd)
own=${PANDO:+no}
PANDO=${PANDO:-$repo/bin/pando}
PORTS=${PORTS:-271}

roots="root1 root2 root3"
relays="relay1 relay2"
agents="vm-swift lpara lparb k8s-checkout k8s-ledger k8s-fraud"

die() { echo "$*" >&2; exit 1; }

build() {
    if [ -z "$own" ]; then (cd "$repo" && go build -trimpath -o "$PANDO" .); fi
}

# prepare DIR: certificates, gossip key and configuration files, unless they
# are there from an earlier time.
prepare() {
    local dir=$1 name
    mkdir -p "$dir/run" "$dir/log" "$dir/in"
    [ -e "$dir/certs/ca.pem" ] && return
    "$PANDO" ca init --dir "$dir/certs" --domain local.example >/dev/null
    for name in $roots; do issue "$dir" root core "$name"; done
    for name in $relays; do issue "$dir" relay fra "$name"; done
    for name in $agents; do issue "$dir" agent fra "$name"; done
    issue "$dir" operator core me
    "$PANDO" gossip keygen "$dir/certs/gossip.key" >/dev/null
    for name in context $roots $relays $agents; do
        sed "s/127\.0\.0\.1:271/127.0.0.1:$PORTS/g" "$here/$name.yaml" >"$dir/$name.yaml"
    done
    # Files that the agents read: they must be there to be called readable.
    touch "$dir/in/lpara.log" "$dir/in/lparb.log" "$dir/in/checkout.json" "$dir/in/ledger.json" "$dir/in/fraud-check.json"
}

issue() { "$PANDO" ca issue --dir "$1/certs" --role "$2" --region "$3" --name "$4" >/dev/null; }

# role NAME: the command that runs a node of this name.
role() {
    case $1 in
    root*) echo root ;;
    relay*) echo relay ;;
    *) echo agent ;;
    esac
}

# start DIR NAME: start one node in the background.
start() {
    local dir=$1 name=$2
    if running "$dir" "$name"; then return; fi
    "$PANDO" "$(role "$name")" --config "$dir/$name.yaml" --log-format text >>"$dir/log/$name.log" 2>&1 </dev/null &
    echo $! >"$dir/run/$name.pid"
    disown
}

# pid DIR NAME: the process id as it was recorded, or nothing.
pid() { cat "$1/run/$2.pid" 2>/dev/null || true; }

# running DIR NAME: whether the recorded process is there and still ours; ids
# are used again by other programs.
running() {
    local id
    id=$(pid "$1" "$2")
    [ -n "$id" ] && ps -p "$id" -o args= 2>/dev/null | grep -qF -- "--config $1/$2.yaml"
}

# end DIR NAME SIGNAL: end one node, and wait until it is gone, at most 15 s.
end() {
    local dir=$1 name=$2 signal=$3 i
    running "$dir" "$name" || return 0
    kill "-$signal" "$(pid "$dir" "$name")" 2>/dev/null || true
    for i in $(seq 150); do
        running "$dir" "$name" || { rm -f "$dir/run/$name.pid"; return 0; }
        sleep 0.1
    done
    echo "$name (process $(pid "$dir" "$name")) does not end" >&2
    return 1
}

# ready DIR NAME...: wait until each node says that it is, at most 30 s.
ready() {
    local dir=$1 name addr i
    shift
    for name in "$@"; do
        addr=$(sed -n 's/^ops: //p' "$dir/$name.yaml")
        for i in $(seq 300); do
            probe "$addr" && continue 2
            running "$dir" "$name" || { tail -5 "$dir/log/$name.log" >&2; die "$name did not start; see $dir/log/$name.log"; }
            sleep 0.1
        done
        tail -5 "$dir/log/$name.log" >&2
        die "$name is not ready; see $dir/log/$name.log"
    done
}

# probe ADDR: whether /readyz answers 200. Bash opens the connection itself, so
# no other program is needed.
probe() {
    local status
    exec 9<>"/dev/tcp/${1%:*}/${1##*:}" || return 1
    printf 'GET /readyz HTTP/1.0\r\nHost: x\r\n\r\n' >&9
    read -r -t 3 status <&9 || status=
    exec 9>&-
    [[ $status == *" 200 "* ]]
} 2>/dev/null
