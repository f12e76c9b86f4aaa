//go:build linux

package main

import (
	"cmp"
	"fmt"
	"os"
	"path/filepath"
	"strings"
)

// Ports are the same on every node: each has an address of its own.
const (
	portNode   = "7070" // transport of relays and roots
	portRaft   = "7071"
	portGossip = "7946"
	portAPI    = "7443"
	portOps    = "9100"
	portSyslog = "6514"
)

const (
	roleRoot  = "root"
	roleRelay = "relay"
	roleAgent = "agent"

	regionCore = "core"
)

// regions are those of relays and agents; index i has the addresses
// 10.77.(i+1).0/24.
func regions() []string { return []string{"fra", "nyc"} }

// prefix is where all nodes of a region are.
func prefix(region string) string {
	for i, r := range regions() {
		if r == region {
			return fmt.Sprintf("10.77.%d.0/24", i+1)
		}
	}
	return "10.77.0.0/24"
}

// place is a node before it has been made.
type place struct {
	name, role, region, addr string
	identity                 string // whose certificate and sources it has, if not its own
	spared                   bool   // takes syslog, and so is never killed
	small                    bool   // its data lies on a file system of smallDisk bytes
}

// smallDisk is the size of the file systems that are filled.
const smallDisk = 48 << 20

// places are the nodes of the tree: 3 roots, 2 relays and 4 agents a region.
// The last agent of each region takes syslog over TCP, which has no
// acknowledgement: what a sender has written may be in the kernel's buffers
// when the reader dies, so that one is never killed.
func places() []place {
	var list []place
	for n := 1; n <= 3; n++ {
		list = append(list, place{name: fmt.Sprintf("root%d", n), role: roleRoot, region: regionCore, addr: fmt.Sprintf("10.77.0.%d", 10+n)})
	}
	for i, region := range regions() {
		for n := 1; n <= 2; n++ {
			list = append(list, place{name: fmt.Sprintf("%s-relay%d", region, n), role: roleRelay, region: region,
				addr: fmt.Sprintf("10.77.%d.%d", i+1, n), small: n == 1})
		}
	}
	for i, region := range regions() {
		for n := 1; n <= 4; n++ {
			list = append(list, place{name: fmt.Sprintf("%s-agent%d", region, n), role: roleAgent, region: region,
				addr: fmt.Sprintf("10.77.%d.%d", i+1, 10+n), spared: n == 4, small: n == 1})
		}
	}
	return list
}

// clonePlace is where the clone of an agent runs.
func clonePlace(of place) place {
	addr := of.addr[:strings.LastIndexByte(of.addr, '.')] + ".99"
	return place{name: of.region + "-clone", role: roleAgent, region: of.region, addr: addr, identity: of.name}
}

// owner names the certificate and the sources.
func (p place) owner() string { return cmp.Or(p.identity, p.name) }

// config is a node's configuration file.
func (p place) config() string {
	head := fmt.Sprintf("role: %s\ndir: data/%s\ntls: {ca: certs/ca.pem, cert: certs/%s.pem, key: certs/%[3]s-key.pem}\napi: %[4]s:%[5]s\nops: %[4]s:%[6]s\n",
		p.role, p.name, p.owner(), p.addr, portAPI, portOps)
	switch p.role {
	case roleRoot:
		return head + p.rootConfig()
	case roleRelay:
		return head + p.relayConfig()
	}
	return head + p.agentConfig()
}

func (p place) rootConfig() string {
	var b strings.Builder
	fmt.Fprintf(&b, "listen: %s:%s\nraft:\n  bind: %[1]s:%[3]s\n  bootstrap_expect: 3\n  servers:\n", p.addr, portNode, portRaft)
	for _, r := range placesOf(roleRoot, "") {
		fmt.Fprintf(&b, "    - {name: %s/%s, raft: \"%s:%s\", addr: \"%[3]s:%[5]s\", api: \"%[3]s:%[6]s\"}\n",
			r.region, r.name, r.addr, portRaft, portNode, portAPI)
	}
	return b.String()
}

// relayConfig makes the detectors nervous: no fault may open an incident, and
// patience must not be the reason.
func (p place) relayConfig() string {
	return fmt.Sprintf(`listen: %s:%s
segment_bytes: 2MiB
parents: [%s]
gossip:
  bind: %[1]s:%[4]s
  key_file: certs/gossip.key
  seeds: [%[5]s]
detectors:
  first_seen: {learn_for: 5s, min_severity: info}
  silence: {learn_for: 5s, min_events: 20, floor: 2s}
`, p.addr, portNode, addresses(placesOf(roleRoot, ""), portNode), portGossip, addresses(placesOf(roleRelay, p.region), portGossip))
}

// agentConfig reads two files: one of critical lines, by which times are
// measured, and one of bulk.
func (p place) agentConfig() string {
	var b strings.Builder
	fmt.Fprintf(&b, "segment_bytes: 2MiB\nrelays: [%s]\nsources:\n", addresses(placesOf(roleRelay, p.region), portNode))
	for _, kind := range []string{kindUrgent, kindBulk} {
		criticality := 0
		if kind == kindBulk {
			criticality = 2
		}
		fmt.Fprintf(&b, `  - name: %s
    type: tail
    path: in/%s.%[1]s.log
    entity: chaos/%[2]s/%[1]s
    signal: line
    severity: info
    pattern: "^n=(?P<n>[0-9]+)"
    value: "{n}"
    criticality: [{text: "^n=", level: %[3]d}]
`, kind, p.owner(), criticality)
	}
	if p.spared {
		fmt.Fprintf(&b, `  - name: %s
    type: syslog
    listen: %s:%s
    entity: chaos/%s/%[1]s
    signal: line
    severity: info
    pattern: "^n=(?P<n>[0-9]+)"
    value: "{n}"
`, kindSyslog, p.addr, portSyslog, p.owner())
	}
	return b.String()
}

func placesOf(role, region string) []place {
	var list []place
	for _, p := range places() {
		if p.role == role && (region == "" || p.region == region) {
			list = append(list, p)
		}
	}
	return list
}

// addresses is a YAML list.
func addresses(list []place, port string) string {
	var all []string
	for _, p := range list {
		all = append(all, fmt.Sprintf("%q", p.addr+":"+port))
	}
	return strings.Join(all, ", ")
}

// prepare writes certificates, the gossip key, every configuration file and an
// operator's context into the folder.
func prepare(dir, pando string) error {
	certs := filepath.Join(dir, "certs")
	for _, sub := range []string{"in", "log", "hooks", "data"} {
		if err := os.MkdirAll(filepath.Join(dir, sub), 0o755); err != nil {
			return err
		}
	}
	if err := tool(pando, "ca", "init", "--dir", certs, "--domain", "chaos.example"); err != nil {
		return err
	}
	issue := func(role, region, name string) error {
		return tool(pando, "ca", "issue", "--dir", certs, "--role", role, "--region", region, "--name", name)
	}
	if err := issue("operator", regionCore, "driver"); err != nil {
		return err
	}
	if err := tool(pando, "gossip", "keygen", filepath.Join(certs, "gossip.key")); err != nil {
		return err
	}
	for _, p := range places() {
		if err := issue(p.role, p.region, p.name); err != nil {
			return err
		}
		if err := os.WriteFile(filepath.Join(dir, p.name+".yaml"), []byte(p.config()), 0o644); err != nil {
			return err
		}
	}
	context := fmt.Sprintf("api: [%s]\nca: certs/ca.pem\ncert: certs/driver.pem\nkey: certs/driver-key.pem\n",
		addresses(placesOf(roleRoot, ""), portAPI))
	return os.WriteFile(filepath.Join(dir, contextFile), []byte(context), 0o644)
}

// contextFile is for pando --context.
const contextFile = "context.yaml"
