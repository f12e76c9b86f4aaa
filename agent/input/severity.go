package input

import (
	"strconv"
	"strings"

	"pando/event"
)

// severityNotice and the others between the named ones follow the table of
// OpenTelemetry's log data model, appendix B.
const (
	severityTrace    event.Severity = 1
	severityNotice   event.Severity = 10
	severityCritical event.Severity = 18
	severityAlert    event.Severity = 19
)

// syslogSeverity maps the eight severities of RFC 5424, section 6.2.1.
func syslogSeverity(n uint8) (word string, s event.Severity) {
	switch n {
	case 0:
		return "emerg", event.SeverityFatal
	case 1:
		return "alert", severityAlert
	case 2:
		return "crit", severityCritical
	case 3:
		return "err", event.SeverityError
	case 4:
		return "warning", event.SeverityWarn
	case 5:
		return "notice", severityNotice
	case 6:
		return "info", event.SeverityInfo
	}
	return "debug", event.SeverityDebug
}

// parseSeverity reads a word of the usual logging libraries in any case, one
// letter as z/OS and glog write it, or OpenTelemetry's number 1 to 24.
func parseSeverity(text string) (event.Severity, bool) {
	switch strings.ToLower(strings.TrimSpace(text)) {
	case "trace", "t":
		return severityTrace, true
	case "debug", "d", "dbg", "fine":
		return event.SeverityDebug, true
	case "info", "i", "information", "informational":
		return event.SeverityInfo, true
	case "notice", "n":
		return severityNotice, true
	case "warn", "warning", "w":
		return event.SeverityWarn, true
	case "error", "err", "e":
		return event.SeverityError, true
	case "crit", "critical", "c", "severe", "s":
		return severityCritical, true
	case "alert", "a":
		return severityAlert, true
	case "fatal", "f", "emerg", "emergency", "panic":
		return event.SeverityFatal, true
	}
	n, err := strconv.ParseUint(strings.TrimSpace(text), 10, 8)
	if err != nil || n < 1 || n > 24 {
		return 0, false
	}
	return event.Severity(n), true
}
