package cli

import (
	"bufio"
	"encoding/csv"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"math"
	"os"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"pando/stream/detect"
)

// maxRow bounds a row of a CSV file in bytes: what is longer is no row of a time
// series but an unclosed quote, which the CSV reader would keep whole.
const maxRow = 1 << 20

func newDetect(e *env) *cobra.Command {
	var d detection
	cmd := &cobra.Command{
		Use:   "detect FILE.csv",
		Short: "Score a series of times and values for anomalies",
		Long: fmt.Sprintf(`Read a CSV file with a head line, or stdin for "-", and score each row by the rows
before it: the score is the decimal logarithm of how many samples go by, on
average, until one is as surprising, so one threshold means the same for every
series. After a surprise only a larger one is news until that is forgotten, so a
finding is a beginning. The day and the week are taken into account once two of
them are known (for samples less than a minute apart, the hour and the day).

Times are RFC 3339, "2006-01-02 15:04:05" (UTC), or seconds, milliseconds,
microseconds or nanoseconds since 1970; a time that goes back is taken as the one
before. csv and json (one object a line) have every row: time, value, score,
finding; the table has the findings, with the time between which and the row each
began. The default threshold, %g, is what comes once in 200 samples.`, detect.DefaultThreshold),
		Example: `  pando detect requests.csv --time timestamp --value count -o csv
  pando detect - --time t --value v --threshold 4 < series.csv`,
		Args: cobra.ExactArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			if err := d.check(); err != nil {
				return &usageError{err: err, command: cmd.CommandPath()}
			}
			in, name, closeFile, err := openSeries(e, args[0])
			if err != nil {
				return fmt.Errorf("detect: %w", err)
			}
			defer closeFile()
			out := bufio.NewWriter(e.stdout)
			samples, findings, err := d.run(in, out)
			if flushed := out.Flush(); err == nil && flushed != nil {
				err = fmt.Errorf("write output: %w", flushed)
			}
			if err != nil {
				return fmt.Errorf("detect: %s: %w", name, err)
			}
			fmt.Fprintf(e.stderr, "%d samples, %d findings\n", samples, findings)
			return cmd.Context().Err()
		},
	}
	flags := cmd.Flags()
	d.addColumns(cmd)
	flags.Float64Var(&d.threshold, "threshold", detect.DefaultThreshold, "score from which a row is a finding")
	flags.StringVarP(&d.format, "output", "o", "table", "output format: csv, json or table")
	return cmd
}

// detection is what the flags of one command line ask for.
type detection struct {
	timeColumn, valueColumn string
	threshold               float64
	format                  string // csv, json or table; instead of the shared flag
}

func (d *detection) addColumns(cmd *cobra.Command) {
	flags := cmd.Flags()
	flags.StringVar(&d.timeColumn, "time", "time", "name of the column of times")
	flags.StringVar(&d.valueColumn, "value", "value", "name of the column of values")
}

// openSeries opens a file, or stdin for "-".
func openSeries(e *env, file string) (in io.Reader, name string, closeFile func() error, err error) {
	if file == "-" {
		return e.stdin, "stdin", func() error { return nil }, nil
	}
	f, err := os.Open(file)
	if err != nil {
		return nil, "", nil, err
	}
	return f, file, f.Close, nil
}

func (d *detection) check() error {
	if !slices.Contains([]string{"csv", "json", "table"}, d.format) {
		return fmt.Errorf("--output: %q: want csv, json or table", d.format)
	}
	if !(d.threshold > 0) || math.IsInf(d.threshold, 1) {
		return fmt.Errorf("--threshold %g: want more than 0", d.threshold)
	}
	return nil
}

// judged is one row with its score.
type judged struct {
	Time    string  `json:"time"` // as in the file
	Value   float64 `json:"value"`
	Score   float64 `json:"score"`
	Finding bool    `json:"finding"`
	From    string  `json:"from,omitempty"` // of a finding: it began between this and the row

	value string // as in the file
}

// run scores all rows of in. Errors name the line.
func (d *detection) run(in io.Reader, out io.Writer) (samples, findings int, err error) {
	series := detect.NewSeries()
	var show func(*judged) error
	err = d.rows(in, func(at, value string) (err error) {
		if show == nil {
			if show, err = d.printer(out); err != nil {
				return fmt.Errorf("write output: %w", err)
			}
		}
		j, err := d.judge(series, at, value)
		if err != nil {
			return err
		}
		samples++
		if j.Finding {
			findings++
		}
		if err := show(&j); err != nil {
			return fmt.Errorf("write output: %w", err)
		}
		return nil
	})
	if err == nil && show == nil { // no rows: the head alone
		_, err = d.printer(out)
	}
	return samples, findings, err
}

// rows gives the time and the value of each row of in, as they stand there.
// Errors, those of each included, name the line.
func (d *detection) rows(in io.Reader, each func(at, value string) error) error {
	limit := &rowLimit{in: in}
	rows := csv.NewReader(limit)
	rows.ReuseRecord = true
	head, err := rows.Read()
	if errors.Is(err, io.EOF) {
		return withHint(errors.New("is empty"), "the first line names the columns, such as time,value")
	}
	if err != nil {
		return err
	}
	head[0] = strings.TrimPrefix(head[0], "\ufeff") // spreadsheets mark UTF-8 so
	at, of, err := d.columns(head)
	if err != nil {
		return err
	}
	for line := 1; ; {
		limit.row = 0
		row, err := rows.Read()
		if errors.Is(err, io.EOF) {
			return nil
		}
		if errors.Is(err, errLongRow) {
			return withHint(fmt.Errorf("after line %d: %w", line, err), "look for a quote that is not closed")
		}
		if err != nil {
			return err
		}
		line, _ = rows.FieldPos(of)
		if err := each(row[at], row[of]); err != nil {
			return fmt.Errorf("line %d: %w", line, err)
		}
	}
}

// columns finds the two columns in the head line.
func (d *detection) columns(head []string) (at, of int, err error) {
	find := func(flag, name string) (int, error) {
		for i, column := range head {
			if strings.TrimSpace(column) == name {
				return i, nil
			}
		}
		return 0, withHint(fmt.Errorf("line 1: there is no column %q", name),
			"name one by %s: %s", flag, strings.Join(head, ", "))
	}
	at, errTime := find("--time", d.timeColumn)
	of, errValue := find("--value", d.valueColumn)
	if errTime != nil {
		return 0, 0, errTime
	}
	return at, of, errValue
}

// judge scores one row.
func (d *detection) judge(s *detect.Series, at, value string) (judged, error) {
	t, v, err := parseSample(at, value)
	if err != nil {
		return judged{}, err
	}
	score, err := s.Step(t, v)
	if err != nil {
		return judged{}, err
	}
	j := judged{Time: at, Value: v, Score: math.Round(score.Score*1e4) / 1e4, value: value}
	if score.Score >= d.threshold {
		j.Finding, j.From = true, time.Unix(0, score.From).UTC().Format(time.RFC3339Nano)
	}
	return j, nil
}

func parseSample(at, value string) (t int64, v float64, err error) {
	if t, err = parseMoment(at); err != nil {
		return 0, 0, err
	}
	if v, err = strconv.ParseFloat(strings.TrimSpace(value), 64); err != nil {
		return 0, 0, fmt.Errorf("value %q is no number", value)
	}
	return t, v, nil
}

// printer returns what writes one row in the format asked for.
func (d *detection) printer(out io.Writer) (func(*judged) error, error) {
	switch d.format {
	case "json":
		enc := json.NewEncoder(out)
		enc.SetEscapeHTML(false)
		return func(j *judged) error { return enc.Encode(j) }, nil
	case "csv":
		w := csv.NewWriter(out)
		err := w.Write([]string{"time", "value", "score", "finding"})
		return func(j *judged) error {
			score := strconv.FormatFloat(j.Score, 'f', 4, 64)
			err := w.Write([]string{j.Time, j.value, score, strconv.FormatBool(j.Finding)})
			w.Flush()
			return errors.Join(err, w.Error())
		}, err
	}
	const layout = "%-32s  %-32s  %-16s  %s\n"
	_, err := fmt.Fprintf(out, layout, "FROM", "TIME", "VALUE", "SCORE")
	return func(j *judged) error {
		if !j.Finding {
			return nil
		}
		_, err := fmt.Fprintf(out, layout, j.From, printable(j.Time, false), printable(j.value, false), strconv.FormatFloat(j.Score, 'f', 2, 64))
		return err
	}, err
}

// parseMoment reads a time as people write it, in Unix nanoseconds.
func parseMoment(text string) (int64, error) {
	text = strings.TrimSpace(text)
	for _, layout := range []string{time.RFC3339Nano, "2006-01-02 15:04:05", "2006-01-02T15:04:05", "2006-01-02 15:04"} {
		if t, err := time.Parse(layout, text); err == nil {
			if y := t.Year(); y < 1700 || y > 2200 {
				return 0, fmt.Errorf("time %q: want a year from 1700 to 2200", text)
			}
			return t.UnixNano(), nil
		}
	}
	whole, part, _ := strings.Cut(text, ".")
	n, err := strconv.ParseInt(whole, 10, 64)
	if err != nil || n < 0 {
		return 0, fmt.Errorf("time %q: want RFC 3339, 2006-01-02 15:04:05, or a number since 1970", text)
	}
	// A number since 1970 tells its unit by its size: seconds up to the year
	// 5138, then milliseconds, and so on.
	unit := int64(time.Second)
	for limit := int64(1e11); n >= limit && unit > 1; limit *= 1000 {
		unit /= 1000
	}
	if n > math.MaxInt64/4/unit {
		return 0, fmt.Errorf("time %q is too far from now", text)
	}
	fraction := int64(0)
	if part != "" {
		digits := (part + "000000000")[:9]
		f, err := strconv.ParseUint(digits, 10, 63)
		if err != nil {
			return 0, fmt.Errorf("time %q: want RFC 3339, 2006-01-02 15:04:05, or a number since 1970", text)
		}
		fraction = int64(f) * unit / int64(time.Second)
	}
	return n*unit + fraction, nil
}

var errLongRow = fmt.Errorf("a row is longer than %d bytes", maxRow)

// rowLimit refuses endless rows. Its reader sets row to 0 at the beginning of
// each; what it reads ahead is far below the bound.
type rowLimit struct {
	in  io.Reader
	row int // bytes read for the present row
}

func (l *rowLimit) Read(p []byte) (int, error) {
	if l.row > maxRow {
		return 0, errLongRow
	}
	n, err := l.in.Read(p)
	l.row += n
	return n, err
}
