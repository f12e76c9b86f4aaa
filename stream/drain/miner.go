// Package drain finds the templates of log lines: which words a program always
// writes, and where it puts values. It is Drain (He, Zhu, Zheng and Lyu: Drain:
// An Online Log Parsing Approach with Fixed Depth Tree, ICWS 2017), made
// bounded and deterministic.
//
// A line's variable parts are masked ([AppendMasked]), its words lead down a
// tree of fixed depth (their number, then the first of them) to a few
// templates, and it belongs to the most similar one, whose words that differ
// become wildcards; or it begins a new one.
//
// A template's id is a hash of the masked text of the line that began it, and
// stays for the template's life while its text may lose words to wildcards. So
// nodes, and lives of one node, give a kind of line the same id where masking
// leaves nothing variable in it, or where the same line came first. Where an
// unmasked value stands in it, such as a user's name, the id is that of
// whichever value came first: a miner that is to go on with its ids must be
// restored from its snapshot.
//
// Lines that carry a message id (IEF450I, DFHAC2236) have a name already and
// are not for a miner.
package drain

import (
	"bytes"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"strings"
	"unicode/utf8"
)

// Bounds of what a miner holds.
const (
	// prefixWords are the levels of the tree below that of the lengths: depth
	// 4 in the paper's count, its choice for nearly every data set.
	prefixWords = 2
	// maxChildren bounds the words that a node tells apart; the others share
	// a wildcard. The paper's value.
	maxChildren = 100
	// maxLine bytes of a line are looked at, and of these, once masked,
	// maxWords and maxText bytes: what stands behind them is nearly always a
	// value, such as a stack or a document.
	maxLine  = 4 << 10
	maxWords = 64
	maxText  = 2 << 10

	// MaxTemplates bounds [Config.MaxTemplates]: 85 MB of the longest ones,
	// 5 MB of usual ones.
	MaxTemplates = 1 << 14
)

// wildcard stands for any one word of a template.
const wildcard = "<*>"

// idBytes of a hash make an id: among 16,384 templates the odds of two equal
// ones are one in two million, and then the two count as one series.
const idBytes = 6

// Config says how lines are told apart. Start from [DefaultConfig].
type Config struct {
	Similarity   int // percent of a line's words that a template must share with it; 1 to 100
	MaxTemplates int // lines that would begin a further one have none
}

// DefaultConfig is the paper's similarity, and as many templates as a large
// program has statements that log.
func DefaultConfig() Config { return Config{Similarity: 40, MaxTemplates: 1000} }

// Validate reports every fault of the configuration at once.
func (c Config) Validate() error {
	var faults []error
	if c.Similarity < 1 || c.Similarity > 100 {
		faults = append(faults, fmt.Errorf("similarity: %d: give 1 to 100 percent", c.Similarity))
	}
	if c.MaxTemplates < 1 || c.MaxTemplates > MaxTemplates {
		faults = append(faults, fmt.Errorf("max_templates: %d: give 1 to %d", c.MaxTemplates, MaxTemplates))
	}
	return errors.Join(faults...)
}

// Template is a kind of lines. Its id never changes; its text may.
type Template struct {
	id    string
	text  string   // words, joined by single blanks
	words []string // at most maxWords
	first []string // the words that led down the tree when it began
}

// ID is 12 hexadecimal digits.
func (t *Template) ID() string { return t.id }

// Text is the template as of now: words, masks such as <num>, and <*> for any
// one word.
func (t *Template) Text() string { return t.text }

func (t *Template) join() { t.text = strings.Join(t.words, " ") }

// node is an inner node of the tree, or at its lowest level a list of
// templates in the order of their beginning.
type node struct {
	children  map[string]*node
	templates []*Template
}

// Miner holds the templates of one stream of lines. It is a pure core: the
// lines in their order decide everything. Not safe for concurrent use.
type Miner struct {
	cfg       Config
	templates []*Template // in the order of their beginning
	other     uint64      // lines that found no room

	lengths [maxWords + 1]*node // the tree; it follows from the templates and their order

	masked []byte // buffers of the line at hand
	words  [][]byte
}

// New returns a miner without templates.
func New(cfg Config) (*Miner, error) {
	if err := cfg.Validate(); err != nil {
		return nil, fmt.Errorf("mine templates: %w", err)
	}
	return &Miner{cfg: cfg}, nil
}

// Add finds the template of a line, or begins one, and reports whether that
// changed a template's text or made a new one. It returns nil, and counts the
// line, when that would be one too many. A template is the miner's, and changes
// with later calls.
func (m *Miner) Add(line string) (t *Template, changed bool) {
	m.masked = AppendMasked(m.masked[:0], clip(line, maxLine))
	m.cut()
	m.split()
	at := m.leaf(m.lengths[len(m.words)])
	if at != nil {
		if t, wild := m.nearest(at.templates); t != nil {
			if wild {
				m.generalize(t)
			}
			return t, wild
		}
	}
	t = m.begin()
	return t, t != nil
}

// Len is the number of templates.
func (m *Miner) Len() int { return len(m.templates) }

// Other counts the lines that found no template, nor room for one.
func (m *Miner) Other() uint64 { return m.other }

// cut keeps at most maxText bytes of the masked line, whole characters.
func (m *Miner) cut() {
	if len(m.masked) <= maxText {
		return
	}
	n := maxText
	for n > 0 && !utf8.RuneStart(m.masked[n]) {
		n--
	}
	m.masked = bytes.TrimRight(m.masked[:n], " ")
}

// split finds the words of the masked line, and cuts it behind the last that
// counts.
func (m *Miner) split() {
	m.words = m.words[:0]
	for rest := m.masked; len(rest) > 0; {
		if len(m.words) == maxWords {
			m.masked = m.masked[:len(m.masked)-len(rest)-1]
			return
		}
		n := bytes.IndexByte(rest, ' ')
		if n < 0 {
			m.words = append(m.words, rest)
			return
		}
		m.words = append(m.words, rest[:n])
		rest = rest[n+1:]
	}
}

// leaf follows the line's first words as far as there are nodes for them; nil
// if some node is missing.
func (m *Miner) leaf(n *node) *node {
	for i := 0; n != nil && i < prefixWords && i < len(m.words); i++ {
		next := n.children[string(m.words[i])]
		if next == nil && len(n.children) >= maxChildren-1 {
			next = n.children[wildcard]
		}
		n = next
	}
	return n
}

// nearest is the template that shares the most words, if they are enough; of
// several the one with more wildcards, then the oldest. It reports also whether
// the line differs in others of its words.
func (m *Miner) nearest(templates []*Template) (*Template, bool) {
	var best *Template
	most, open := -1, 0
	for _, t := range templates {
		same, wild := 0, 0
		for i, w := range t.words {
			switch {
			case w == string(m.words[i]):
				same++
			case w == wildcard:
				wild++
			}
		}
		if same > most || same == most && wild > open {
			best, most, open = t, same, wild
		}
		if same == len(m.words) {
			break
		}
	}
	if best == nil || most*100 < m.cfg.Similarity*len(m.words) {
		return nil, false
	}
	return best, most+open < len(m.words)
}

// generalize makes wildcards of the words in which the line differs.
func (m *Miner) generalize(t *Template) {
	for i, w := range t.words {
		if w != string(m.words[i]) {
			t.words[i] = wildcard
		}
	}
	t.join()
}

// begin makes the line the first of a template.
func (m *Miner) begin() *Template {
	if len(m.templates) >= m.cfg.MaxTemplates {
		m.other++
		return nil
	}
	sum := sha256.Sum256(m.masked)
	t := &Template{id: hex.EncodeToString(sum[:idBytes])}
	for _, w := range m.words {
		t.words = append(t.words, string(w))
	}
	t.first = append(t.first, t.words[:min(prefixWords, len(t.words))]...)
	t.join()
	m.insert(t)
	return t
}

// insert enters a template behind those that began before it.
func (m *Miner) insert(t *Template) {
	m.templates = append(m.templates, t)
	at := &m.lengths[len(t.words)]
	if *at == nil {
		*at = &node{}
	}
	n := *at
	for _, word := range t.first {
		next := n.children[word]
		if next == nil && len(n.children) >= maxChildren-1 {
			word = wildcard
			next = n.children[word]
		}
		if next == nil {
			if n.children == nil {
				n.children = map[string]*node{}
			}
			next = &node{}
			n.children[word] = next
		}
		n = next
	}
	n.templates = append(n.templates, t)
}
