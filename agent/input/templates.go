package input

import (
	"cmp"
	"errors"
	"fmt"
	"sync"

	"pando/internal/pack"
	"pando/stream/drain"
)

// TemplateSpec has the log template of a line name it, where nothing else
// does: its event gets the signal tmpl.ID, and the template as an attribute.
// Lines beyond the bound get the signal tmpl.other. Lines that carry a
// message id or an HTTP status keep the signal that they have without.
type TemplateSpec struct {
	Field        string `yaml:"field"`         // that holds the text; default body
	Similarity   int    `yaml:"similarity"`    // percent of words that lines of one template share; default 40
	MaxTemplates int    `yaml:"max_templates"` // of the source; default 1000, limit 16384
}

func (s *TemplateSpec) config() drain.Config {
	c := drain.DefaultConfig()
	return drain.Config{Similarity: cmp.Or(s.Similarity, c.Similarity), MaxTemplates: cmp.Or(s.MaxTemplates, c.MaxTemplates)}
}

// Signals of lines that have none but their template.
const (
	templateSignal = "tmpl."
	otherTemplate  = templateSignal + "other"
)

// Templates are the log templates of one source: its connections share them,
// and it keeps them over a reload and, by their state, over a restart. Safe for
// concurrent use.
type Templates struct {
	mu    sync.Mutex
	miner *drain.Miner
	news  uint64 // lines that changed the state
}

// NewTemplates returns the templates of a source that has read nothing.
func NewTemplates(s TemplateSpec) (*Templates, error) {
	cfg := s.config()
	if err := cfg.Validate(); err != nil {
		return nil, err
	}
	miner, err := drain.New(cfg)
	return &Templates{miner: miner}, err
}

// name finds a line's template; known is false if there is no room for it.
func (t *Templates) name(line string) (id, text string, known bool) {
	t.mu.Lock()
	defer t.mu.Unlock()
	found, changed := t.miner.Add(line)
	if changed {
		t.news++
	}
	if found == nil {
		return "", "", false
	}
	return found.ID(), found.Text(), true
}

// News rises whenever the state has changed so that it is worth keeping.
func (t *Templates) News() uint64 {
	t.mu.Lock()
	defer t.mu.Unlock()
	return t.news
}

// State is what [Templates.Restore] takes.
func (t *Templates) State() []byte {
	t.mu.Lock()
	defer t.mu.Unlock()
	w := pack.NewWriter()
	t.miner.Snapshot(w)
	return w.Copy()
}

// Restore goes on from a state. After an error the templates are as before.
func (t *Templates) Restore(state []byte) error {
	t.mu.Lock()
	defer t.mu.Unlock()
	r := pack.NewReader(state)
	if err := errors.Join(t.miner.Restore(r), r.Done()); err != nil {
		return fmt.Errorf("templates: %w", err)
	}
	return nil
}
