//go:build !zos

package bench

import (
	"errors"
	"path/filepath"
	"slices"
	"time"

	"pando/internal/durable"
)

// Disk is how long one page takes to the disk, in milliseconds: what every
// latency with an fsync in it has to be read against.
type Disk struct {
	P50     float64 `json:"p50"`
	P99     float64 `json:"p99"`
	Samples int     `json:"samples"`
}

const (
	diskPage    = 4 << 10
	diskSamples = 1000
	// diskLimit bounds the measurement on a slow disk.
	diskLimit = 2 * time.Second
)

// measureDisk writes pages, each followed by an fdatasync, into a file that is
// filled with zeros before, as the logs are.
func measureDisk(dir string) (d Disk, err error) {
	fs, path := durable.OS(), filepath.Join(dir, "disk")
	f, err := fs.Create(path)
	if err != nil {
		return d, err
	}
	defer func() { err = errors.Join(err, f.Close(), fs.Remove(path)) }()
	page := make([]byte, diskPage)
	if _, err := f.WriteAt(make([]byte, diskSamples*diskPage), 0); err != nil {
		return d, err
	}
	if err := f.Sync(); err != nil {
		return d, err
	}
	for i := range page {
		page[i] = byte(i)
	}
	var took []time.Duration
	for begun := time.Now(); len(took) < diskSamples && time.Since(begun) < diskLimit; {
		at := time.Now()
		if _, err := f.WriteAt(page, int64(len(took))*diskPage); err != nil {
			return d, err
		}
		if err := f.Datasync(); err != nil {
			return d, err
		}
		took = append(took, time.Since(at))
	}
	slices.Sort(took)
	ms := func(share float64) float64 { return took[int(share*float64(len(took)-1))].Seconds() * 1e3 }
	return Disk{P50: ms(0.5), P99: ms(0.99), Samples: len(took)}, nil
}
