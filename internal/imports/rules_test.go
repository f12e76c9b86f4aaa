package imports

// A floor is a set of packages that build only on the floors below them.
type floor struct {
	name string
	// packages are import paths without the module's name; "x/..." is
	// everything below x but not x itself. The longest match counts.
	packages []string
	// together lets packages of one top folder on this floor import each
	// other. Without it only a folder and what lies in it may.
	together bool
}

// floors is the order of the packages, lowest first. A new package that no
// pattern covers must be given its place here, by what it has to know.
func floors() []floor {
	return []floor{
		{name: "encoding", packages: []string{"internal/pack"}},
		{name: "ground", packages: []string{"internal/durable", "internal/durable/...", "internal/exact", "internal/ops", "internal/cow", "internal/golden"}},
		{name: "leaves", packages: []string{
			"event/clock", "event/hlc", "transport", "transport/...", "ebcdic", "ebcdic/...",
			"stream/sketch", "root/rca/bayes", "root/audit",
		}},
		{name: "event and log", packages: []string{"event", "wal"}},
		{name: "streams", packages: []string{"stream", "stream/..."}, together: true},
		{name: "correlation", packages: []string{"incident"}},
		{name: "tree", packages: []string{"tree", "tree/..."}, together: true},
		{name: "parts of roles", packages: []string{"agent/...", "root/..."}, together: true},
		{name: "roles", packages: []string{"agent", "relay", "root"}},
		{name: "simulation", packages: []string{"sim", "sim/..."}, together: true},
		{name: "demonstration", packages: []string{"cli/bench", "cli/demo"}},
		{name: "command line", packages: []string{"cli"}},
		{name: "tests of whole processes", packages: []string{"scripts/..."}},
		{name: "program", packages: []string{"."}},
	}
}

// A ban forbids an import that the floors alone would allow.
type ban struct {
	// from are our packages it holds for, as in floor; none: all.
	from []string
	// except are our packages it does not hold for.
	except []string
	// what may not be imported: a path of ours as in floor, or the prefix of
	// another module's path.
	what []string
	why  string
}

func bans() []ban {
	agent, relay, root := []string{"agent", "agent/..."}, []string{"relay", "relay/..."}, []string{"root", "root/..."}
	roles := "the roles run on different machines and are released apart; what two of them need lies in a folder of its own"
	return []ban{
		{from: agent, what: append(relay, root...), why: roles},
		{from: relay, what: append(agent, root...), why: roles},
		{from: root, what: append(agent, relay...), why: roles},
		{from: []string{"wal", "transport", "transport/..."}, what: []string{"event", "event/...", "github.com/hashicorp/raft"},
			why: "they carry bytes, so that events, Raft entries and whatever comes later can ride on them"},
		{from: []string{"ebcdic", "ebcdic/..."}, what: []string{"event", "event/..."},
			why: "decoding mainframe records is useful without our model of events"},
		{except: []string{"root/..."}, what: []string{"github.com/hashicorp/raft", "go.etcd.io/bbolt"},
			why: "consensus is the root's alone; what an agent links must be free of it"},
		{except: []string{"tree/gossip"}, what: []string{"github.com/hashicorp/memberlist"},
			why: "gossip names candidates and nothing more, and its dependencies do not compile for z/OS"},
		{except: []string{"internal/pack"}, what: []string{"github.com/vmihailenco/msgpack"},
			why: "its limits on lengths do not hold; internal/pack checks them"},
		{except: []string{"cli"}, what: []string{"github.com/spf13"},
			why: "flags end at the command line; packages get plain options"},
		{except: []string{"stream/cep/pattern"}, what: []string{"github.com/expr-lang/expr"},
			why: "it parses conditions, and that is all: what runs and is replicated must not depend on its version"},
		{except: []string{"agent", "cli", "relay", "root"}, what: []string{"github.com/goccy/go-yaml"},
			why: "files are read by the command line, and rules that travel as YAML by the roles; packages get plain options"},
	}
}

// notOnZOS are the modules that the agent's closure must be free of.
func notOnZOS() []string {
	return []string{"github.com/hashicorp/memberlist", "github.com/hashicorp/raft", "go.etcd.io/bbolt"}
}

// zosPackages must compile on z/OS: the agent, and the parts that it is built
// from, so that a fault is named where it arises.
func zosPackages() []string {
	return []string{"event", "wal", "transport", "tree/custody", "internal/ops", "agent/input", "agent"}
}
