package dedup

import (
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"pando/event"
)

// Fields of a fingerprint beside detector, rule and class, which always belong
// to it.
const (
	FieldEntity   = "entity"
	FieldSignal   = "signal"
	FieldSeverity = "severity"
	FieldPeer     = "peer"
	FieldText     = "text"  // of the deciding event, masked as by drain.AppendMasked
	FieldAttr     = "attr." // and the key of an attribute of the deciding event, as it stands
)

// Bounds of a configuration.
const (
	maxFields = 16
	maxSpan   = 24 * time.Hour
	// maxAlarmsCap bounds the alarms that one relay remembers: at 400 bytes a
	// usual one 26 MB, and as many folded findings again.
	maxAlarmsCap = 1 << 16
)

// Config says which findings are one alarm. Start from [DefaultConfig].
type Config struct {
	Enabled   bool          `yaml:"enabled"`
	Fields    []string      `yaml:"fields"`     // that must be equal: entity, signal, severity, peer, text, attr.KEY
	Window    time.Duration `yaml:"window"`     // event time that onsets may be apart
	Late      time.Duration `yaml:"late"`       // after its alarm was said, in which a duplicate may come
	MaxAlarms int           `yaml:"max_alarms"` // remembered at once
}

// DefaultConfig takes findings of one component, signal and severity, that may
// have begun within ten seconds of each other, for one.
func DefaultConfig() Config {
	return Config{
		Enabled: true, Fields: []string{FieldEntity, FieldSignal, FieldSeverity},
		Window: 10 * time.Second, Late: 10 * time.Minute, MaxAlarms: 4096,
	}
}

// Validate reports every fault of the configuration at once.
func (c *Config) Validate() error {
	if !c.Enabled {
		return nil
	}
	var faults []error
	bad := func(format string, args ...any) { faults = append(faults, fmt.Errorf(format, args...)) }
	known := []string{FieldEntity, FieldSignal, FieldSeverity, FieldPeer, FieldText}
	for i, field := range c.Fields {
		key, isAttr := strings.CutPrefix(field, FieldAttr)
		switch {
		case isAttr && (key == "" || len(key) > event.MaxName):
			bad("dedup.fields[%d]: %.40q: the key of an attribute has 1 to %d bytes", i, field, event.MaxName)
		case !isAttr && !slices.Contains(known, field):
			bad("dedup.fields[%d]: %.40q: give %s or attr.KEY", i, field, strings.Join(known, ", "))
		case slices.Contains(c.Fields[:i], field):
			bad("dedup.fields[%d]: %.40q stands there twice", i, field)
		}
	}
	if len(c.Fields) == 0 || len(c.Fields) > maxFields {
		bad("dedup.fields: %d of them: give 1 to %d; without any, all findings of a rule would be one", len(c.Fields), maxFields)
	}
	if c.Window < 0 || c.Window > maxSpan {
		bad("dedup.window is %v: want 0 to %v", c.Window, maxSpan)
	}
	if c.Late < 0 || c.Late > maxSpan {
		bad("dedup.late is %v: want 0 to %v", c.Late, maxSpan)
	}
	if c.MaxAlarms < 1 || c.MaxAlarms > maxAlarmsCap {
		bad("dedup.max_alarms is %d: want 1 to %d", c.MaxAlarms, maxAlarmsCap)
	}
	return errors.Join(faults...)
}
