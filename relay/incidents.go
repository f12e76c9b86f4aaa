//go:build !zos

package relay

import (
	"fmt"
	"net/http"

	"pando/event"
	"pando/incident"
	"pando/internal/pack"
	"pando/stream/anomaly"
	"pando/tree/journal"
	"pando/tree/status"
	"pando/tree/tap"
)

// announce tells those who watch this relay of a provisional incident. Lost is
// how many findings of such incidents were dropped since the last ones became
// the roots'; over says that this is one of those.
func (r *Relay) announce(body []byte, lost uint64) (over bool) {
	p := pack.NewReader(body)
	kind, id, into := p.String("kind", maxText), p.String("id", maxText), p.String("into", maxText)
	first, severity, summary := p.String("first", event.MaxName), p.Uint("severity", 255), p.String("summary", anomaly.MaxText)
	if over = kind == incident.Merged.String() && into == ""; over {
		kind = "committed by the roots"
		if lost > 0 {
			kind = fmt.Sprintf("handed over to the roots without %d of the findings: more waited than are kept", lost)
		}
	}
	r.log.Warn("provisional incident", "incident", id, "change", kind, "into", into, "first", first, "summary", summary)
	if r.tap.Watched() {
		r.tap.Publish(tap.Item{Node: r.name, What: "incident", Time: tap.Time(r.clock.Now()), Entity: first,
			Severity: int(severity), Text: "provisional " + id + " " + kind + ": " + summary})
	}
	return over
}

// Incidents lists the provisional incidents: what this relay makes of its
// findings that no root has committed.
func (r *Relay) Incidents() []incident.Summary {
	list := r.provisional().Summaries()
	for i := range list {
		list[i].Provisional = true
	}
	return list
}

// Incident returns one of them, and whether there is one.
func (r *Relay) Incident(id string) (incident.Detail, bool) {
	d, ok := r.provisional().Detail(id)
	d.Provisional = ok
	return d, ok
}

func (r *Relay) provisional() (v *incident.View) {
	r.journal.View(func(k journal.Core) { v = k.(*core).local.set.Freeze() })
	return v
}

func (r *Relay) serveIncidents(mux *http.ServeMux) {
	mux.HandleFunc("GET /v1/incidents", func(w http.ResponseWriter, _ *http.Request) {
		status.WriteJSON(w, map[string]any{"incidents": r.Incidents()})
	})
	mux.HandleFunc("GET /v1/incidents/{id}", func(w http.ResponseWriter, q *http.Request) {
		d, ok := r.Incident(q.PathValue("id"))
		if !ok {
			w.Header().Set("Content-Type", "application/json")
			w.WriteHeader(http.StatusNotFound)
			status.WriteJSON(w, map[string]string{"error": q.PathValue("id") + ": no such incident at this relay: it knows those only that the roots have not committed; ask a root, where an id that was given here leads to the incident"})
			return
		}
		status.WriteJSON(w, d)
	})
}
