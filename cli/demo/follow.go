//go:build !zos

package demo

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"time"

	"pando/transport"
)

// slower is how much slower the last seconds of the scenario are repeated
// while somebody looks around, so that disks do not fill.
const slower = 5

// repeated is how much of the end of the scenario is repeated.
const repeated = 3 * time.Second

// follow keeps the tree up, and the world around it going, until ctx ends.
func (r *run) follow(ctx context.Context) error {
	path, err := r.writeContext()
	if err != nil {
		return err
	}
	r.say.tell(bold, "the tree stays up; Ctrl-C ends it. Try in another shell:")
	for _, c := range []string{"tree", "incident list", "tap --entity 'sysplex1/*'"} {
		r.say.tell(green, "  %s %s --context %s", r.opts.Command, c, path)
	}
	var writing sync.WaitGroup
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	for _, w := range r.writers {
		writing.Go(func() {
			lines := ending(w.source.lines, r.opts.Profile.end())
			for ctx.Err() == nil {
				if err := w.run(ctx, lines, time.Now()); err != nil {
					cancel(err)
				}
			}
		})
	}
	select {
	case <-ctx.Done():
	case err := <-r.tree.failed:
		cancel(err)
	}
	writing.Wait()
	if err := context.Cause(ctx); !errors.Is(err, context.Canceled) {
		return err
	}
	return nil
}

// ending is the last part of a script, in slow motion.
func ending(script []line, end time.Duration) []line {
	from := end - repeated
	var lines []line
	for _, l := range script {
		if l.at >= from {
			l.at = slower * (l.at - from)
			lines = append(lines, l)
		}
	}
	return lines
}

// writeContext issues an operator's certificate and writes the file by which
// the other commands find the tree.
func (r *run) writeContext() (string, error) {
	files, err := r.tree.authority.issue(transport.RoleOperator, r.tree.top, operator)
	if err != nil {
		return "", err
	}
	quoted := make([]string, len(r.tree.api))
	for i, a := range r.tree.api {
		quoted[i] = fmt.Sprintf("%q", a)
	}
	text := fmt.Sprintf("api: [%s]\nca: %q\ncert: %q\nkey: %q\n", strings.Join(quoted, ", "), files.CA, files.Cert, files.Key)
	path := filepath.Join(r.dir, "context.yaml")
	return path, os.WriteFile(path, []byte(text), 0o600)
}
