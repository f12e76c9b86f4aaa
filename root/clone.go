//go:build !zos

package root

import "slices"

// Two nodes with one certificate close each other's WAL for ever: each opens a
// new one, which is newer. No lost disk does that several times within
// minutes, so the root can tell, and says so for as long as it goes on.
const (
	// cloneReplacements is how many replacements of an agent's WAL id within
	// cloneWithin, in nanoseconds of root time, say that it has a double.
	cloneReplacements = 3
	cloneWithin       = int64(10 * 60e9)
	// cloneQuiet is how long after the last replacement that stays said: the
	// doubles pause for five minutes before they open another WAL.
	cloneQuiet = int64(30 * 60e9)
)

// replaced takes note that the WAL id in force was replaced by another, and
// reports whether this is what shows that the agent has a double.
func (o *origin) replaced(now int64) (news bool) {
	before := o.isCloned(now)
	o.replacements = append(slices.Clone(o.replacements), now)
	if extra := len(o.replacements) - cloneReplacements; extra > 0 {
		o.replacements = o.replacements[extra:]
	}
	frequent := len(o.replacements) == cloneReplacements && now-o.replacements[0] <= cloneWithin
	if before || frequent {
		o.cloned = now
	}
	return frequent && !before
}

// isCloned reports whether another node seems to use the agent's certificate.
func (o *origin) isCloned(now int64) bool { return o.cloned != 0 && now-o.cloned < cloneQuiet }

// cloned is how many agents have a double.
func (v *view) cloned(now int64) (n int) {
	v.origins.Ascend(func(_ string, o *origin) bool {
		if o.isCloned(now) {
			n++
		}
		return true
	})
	return n
}
