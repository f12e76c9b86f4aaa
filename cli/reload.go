package cli

import (
	"encoding/json"
	"fmt"
	"net/http"
	"reflect"
	"slices"
	"strings"
	"sync"
	"time"

	"pando/transport"
)

// reloader puts a node's configuration file and certificates into force again
// while the node runs. A fault anywhere leaves everything as it was: whatever
// can fail comes before the first change, and apply, which changes all or
// nothing, before the credentials, which then cannot fail.
type reloader struct {
	creds *transport.Credentials
	// load reads the file, judges all of it, and returns its content with a
	// function that puts it into force and says what that touched, or changes
	// nothing and says why.
	load func() (config any, apply func() ([]string, error), err error)
	// live are the keys of the file that may change while the node runs.
	live []string

	mu     sync.Mutex
	config any // in force
}

// reloaded is what a reload did.
type reloaded struct {
	Node    string   `json:"node"`
	Keys    []string `json:"keys"`    // of the file, that changed
	Touched []string `json:"touched"` // what was started, stopped or exchanged for it
	Expires string   `json:"certificate_expires"`
}

func (r *reloader) reload() (reloaded, error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	next, apply, err := r.load()
	if err != nil {
		return reloaded{}, err
	}
	out := reloaded{Node: r.creds.Identity().Node(), Keys: changedKeys(r.config, next), Touched: []string{}}
	var fixed []string
	for _, k := range out.Keys {
		if !slices.Contains(r.live, k) {
			fixed = append(fixed, k)
		}
	}
	if len(fixed) > 0 {
		return reloaded{}, withHint(fmt.Errorf("%s: cannot change while the node runs", strings.Join(fixed, ", ")),
			"restart the node, or put the old value back; these can change: %s", strings.Join(r.live, ", "))
	}
	useCreds, err := r.creds.Prepare()
	if err != nil {
		return reloaded{}, err
	}
	touched, err := apply() // also without changed keys: files that it names may have changed
	if err != nil {
		return reloaded{}, err
	}
	useCreds()
	out.Touched = append(out.Touched, touched...)
	r.config = next
	out.Expires = r.creds.Expires().UTC().Format(time.RFC3339)
	return out, nil
}

// changedKeys lists the YAML keys in which two configurations of one type
// differ: the top ones, and of what is inlined its own.
func changedKeys(a, b any) []string {
	keys := []string{}
	x, y := reflect.Indirect(reflect.ValueOf(a)), reflect.Indirect(reflect.ValueOf(b))
	for i := range x.NumField() {
		name, flags, _ := strings.Cut(x.Type().Field(i).Tag.Get("yaml"), ",")
		switch {
		case strings.Contains(flags, "inline"):
			keys = append(keys, changedKeys(x.Field(i).Interface(), y.Field(i).Interface())...)
		case !reflect.DeepEqual(x.Field(i).Interface(), y.Field(i).Interface()):
			keys = append(keys, name)
		}
	}
	return keys
}

// serveReload answers an operator's request to reload.
func (s *shell) serveReload(w http.ResponseWriter, _ *http.Request) {
	out, err := s.reloadNow("an operator's request")
	w.Header().Set("Content-Type", "application/json")
	if err != nil {
		w.WriteHeader(http.StatusUnprocessableEntity)
		_ = json.NewEncoder(w).Encode(map[string]string{"error": "the configuration was not applied, the old one stays in force: " + err.Error(), "hint": hintOf(err)})
		return
	}
	_ = json.NewEncoder(w).Encode(out) // the client has gone; there is nobody to tell
}

// reloadNow reloads and logs what came of it.
func (s *shell) reloadNow(cause string) (reloaded, error) {
	out, err := s.reloader.reload()
	if err != nil {
		s.log.Error("configuration and certificates were not reloaded; the old ones stay in force", "cause", cause, "error", err, "hint", hintOf(err))
		return out, err
	}
	s.log.Info("configuration and certificates were reloaded", "cause", cause, "keys", out.Keys, "touched", out.Touched, "certificate_expires", out.Expires)
	return out, nil
}
