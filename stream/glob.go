package stream

// Match reports whether a name of an entity or a signal matches a pattern: * stands for any run of
// characters, slashes included, ? for one byte, everything else for itself. An
// empty pattern matches everything. The time is bounded by the product of the
// lengths.
func Match(pattern, name string) bool {
	if pattern == "" || pattern == "*" {
		return true
	}
	p, n := 0, 0
	star, retry := -1, 0 // the last * and where what follows it is tried next
	for n < len(name) {
		switch {
		case p < len(pattern) && pattern[p] == '*':
			star, retry = p, n
			p++
		case p < len(pattern) && (pattern[p] == '?' || pattern[p] == name[n]):
			p++
			n++
		case star >= 0:
			retry++
			p, n = star+1, retry
		default:
			return false
		}
	}
	for p < len(pattern) && pattern[p] == '*' {
		p++
	}
	return p == len(pattern)
}
