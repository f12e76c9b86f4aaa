package input

import (
	"errors"
	"fmt"
	"strconv"
	"strings"
	"time"
)

// errTime says that a producer's time cannot be read.
var errTime = errors.New("no time of this layout")

// timeParser reads a producer's own time. Immutable.
type timeParser struct {
	parse func(text string, zone *time.Location) (int64, error)
	zone  *time.Location
}

func newTimeParser(layout, zone string) (*timeParser, error) {
	if zone == "" {
		zone = "Local"
	}
	loc, err := time.LoadLocation(zone)
	if err != nil {
		return nil, fmt.Errorf("zone: %w; give an IANA name, UTC or Local", err)
	}
	p := &timeParser{zone: loc}
	switch layout {
	case "", "rfc3339":
		p.parse = layoutParser(time.RFC3339Nano)
	case "epoch_s":
		p.parse = epochParser(9)
	case "epoch_ms":
		p.parse = epochParser(6)
	case "epoch_us":
		p.parse = epochParser(3)
	case "epoch_ns":
		p.parse = epochParser(0)
	case "julian":
		p.parse = parseJulian
	default:
		if !namesDay(layout) {
			return nil, fmt.Errorf("layout: %q: give rfc3339, epoch_s, epoch_ms, epoch_us, epoch_ns, julian, or a layout of Go's time package with year and day, such as 2006-01-02 15:04:05.000", layout)
		}
		p.parse = layoutParser(layout)
	}
	return p, nil
}

// namesDay reports whether times of two days and of two years differ in the
// layout: only then does a line's time say when it was.
func namesDay(layout string) bool {
	a := time.Date(2001, 2, 3, 4, 5, 6, 0, time.UTC)
	text := a.Format(layout)
	return text != layout && text != a.AddDate(0, 0, 1).Format(layout) && text != a.AddDate(1, 0, 0).Format(layout)
}

// read returns Unix nanoseconds.
func (p *timeParser) read(text string) (int64, error) {
	return p.parse(strings.TrimSpace(text), p.zone)
}

func layoutParser(layout string) func(string, *time.Location) (int64, error) {
	return func(text string, zone *time.Location) (int64, error) {
		t, err := time.ParseInLocation(layout, text, zone)
		if err != nil {
			return 0, errTime
		}
		return unixNano(t)
	}
}

// unixNano refuses what 64 bits of nanoseconds cannot say (before 1678, after
// 2261).
func unixNano(t time.Time) (int64, error) {
	if t.Year() < 1679 || t.Year() > 2261 {
		return 0, errTime
	}
	return t.UnixNano(), nil
}

// epochParser reads a decimal count of seconds, milliseconds or so since the
// Unix epoch, with or without a fraction, without floats; scale is the number
// of decimal places from the unit down to nanoseconds.
func epochParser(scale int) func(string, *time.Location) (int64, error) {
	return func(text string, _ *time.Location) (int64, error) {
		whole, fraction, _ := strings.Cut(text, ".")
		if len(fraction) > scale {
			fraction = fraction[:scale]
		}
		if strings.ContainsAny(fraction, "+-") {
			return 0, errTime
		}
		n, err := strconv.ParseInt(whole+fraction+strings.Repeat("0", scale-len(fraction)), 10, 64)
		if err != nil || whole == "" {
			return 0, errTime
		}
		return n, nil
	}
}

// parseJulian reads z/OS SYSLOG's "yyddd hh:mm:ss.th" and, with
// HCFORMAT(CENTURY), "yyyyddd hh:mm:ss.th" (MVS System Messages, format of the
// system log). The fraction may be absent. Years of two digits are 1970 to
// 2069.
func parseJulian(text string, zone *time.Location) (int64, error) {
	date, clock, ok := strings.Cut(text, " ")
	if !ok || len(date) != 5 && len(date) != 7 {
		return 0, errTime
	}
	yearText, dayText := date[:len(date)-3], date[len(date)-3:]
	year, err1 := strconv.ParseUint(yearText, 10, 16)
	day, err2 := strconv.ParseUint(dayText, 10, 16)
	if err1 != nil || err2 != nil || day < 1 || day > 366 {
		return 0, errTime
	}
	if len(yearText) == 2 {
		year += 1900
		if year < 1970 {
			year += 100
		}
	}
	at, err := time.Parse("15:04:05.99", strings.TrimSpace(clock))
	if err != nil {
		return 0, errTime
	}
	t := time.Date(int(year), 1, int(day), at.Hour(), at.Minute(), at.Second(), at.Nanosecond(), zone)
	if t.Year() != int(year) {
		return 0, errTime // day 366 of a common year
	}
	return unixNano(t)
}
