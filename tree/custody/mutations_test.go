package custody

import "testing"

// mutation is a fault put into the protocol on purpose; the model must see it.
type mutation string

const (
	noContiguity    mutation = "the root applies sections that do not start at the settled position"
	trimOnDurable   mutation = "the agent trims what is only durable at its relay"
	stepUnvouched   mutation = "the relay steps beyond durable-to"
	resumeElsewhere mutation = "the agent resumes from another relay's acknowledgement"
	dropFenced      mutation = "a fenced relay drops its batches"
	restCountsAll   mutation = "the rest of a closed unit counts what its agent reads again"
	closedReturns   mutation = "a closed WAL id comes into force again"
	noChain         mutation = "nobody compares chain values"
	grantsOneLane   mutation = "a claim grants one lane only"

	joinsTerms   mutation = "a middle relay joins sections of two terms"
	joinsRelays  mutation = "a middle relay joins sections of two relays"
	joinsGaps    mutation = "a middle relay joins sections that are not adjacent"
	answersEarly mutation = "a middle relay answers for a section that it has not passed on"
	dropsSkips   mutation = "a middle relay keeps skips to itself"
	answersLast  mutation = "a middle relay answers one of the sections it joined"

	neverResumes   mutation = "no section says that it resumes"
	resumesHeld    mutation = "a section says that it resumes though its relay holds what is before it"
	resumesAnyTerm mutation = "a section that resumes needs no term"
	staysFenced    mutation = "a relay takes a restored root's older term for a newer one"
	unknownStarts  mutation = "a restored root takes a WAL id that was started elsewhere for a new one"
	openStaysOpen  mutation = "a restored root skips the rest of a unit that it has open"
)

// TestModelSeesFaults puts known faults into the protocol: a model that does
// not see them proves nothing.
func TestModelSeesFaults(t *testing.T) {
	for mut, l := range map[mutation]limits{
		noContiguity:    {lines: 2, batch: 1, faults: 1, messages: 2},
		trimOnDurable:   {lines: 1, batch: 1, faults: 2, messages: 1},
		stepUnvouched:   {lines: 1, pushes: 1, batch: 1, faults: 1, messages: 1},
		resumeElsewhere: {lines: 1, batch: 1, faults: 1, messages: 1},
		dropFenced:      {pushes: 1, faults: 2, messages: 1, disks: true},
		restCountsAll:   {lines: 1, batch: 1, faults: 1, messages: 1, disks: true},
		closedReturns: {lines: 1, batch: 1, faults: 2, messages: 1, disks: true, rollbacks: true,
			only: []string{"agent 0 loses its disk", "agent 0 rolled back"}},
		noChain:       {lines: 2, pushes: 1, batch: 1, faults: 1, messages: 1, rollbacks: true, only: []string{"agent 0 rolled back"}},
		grantsOneLane: {lanes: 2, lines: 1, batch: 1, faults: 1, messages: 1},

		joinsTerms:   {lines: 2, batch: 1, faults: 1, messages: 2, coarse: true, middle: true, only: []string{"agent 0 moves"}},
		joinsRelays:  {lines: 2, batch: 1, faults: 1, messages: 2, coarse: true, middle: true, only: []string{"agent 0 moves"}},
		joinsGaps:    {lines: 2, batch: 1, faults: 1, messages: 3, coarse: true, middle: true},
		answersEarly: {lines: 1, batch: 1, faults: 1, messages: 2, coarse: true, middle: true},
		dropsSkips:   {lines: 2, batch: 1, faults: 1, messages: 2, coarse: true, middle: true},
		answersLast:  {lines: 2, batch: 1, messages: 2, coarse: true, middle: true},

		neverResumes: {lines: 2, batch: 1, faults: 1, messages: 1, coarse: true, restores: true},
		resumesHeld:  {lines: 3, batch: 1, faults: 2, messages: 2, coarse: true, restores: true},
		resumesAnyTerm: {pushes: 2, faults: 2, messages: 1, coarse: true, restores: true,
			only: []string{"agent 0 moves", "root restored"}},
		staysFenced:   {lines: 1, batch: 1, faults: 2, messages: 1, coarse: true, restores: true},
		unknownStarts: {lines: 1, batch: 1, faults: 2, messages: 1, coarse: true, restores: true, disks: true},
		openStaysOpen: {pushes: 1, faults: 2, messages: 1, coarse: true, restores: true, disks: true},
	} {
		t.Run(string(mut), func(t *testing.T) {
			l.states = 400_000
			m := newModel(l, mut)
			n, wrong := m.explore()
			if wrong == "" {
				t.Fatalf("not seen in %d states", n)
			}
			t.Logf("seen after %d states: %s", n, wrong)
		})
	}
}
