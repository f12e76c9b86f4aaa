package durable_test

import (
	"bytes"
	"errors"
	"fmt"
	"io/fs"
	"path/filepath"
	"syscall"
	"testing"

	"pando/internal/durable"
	"pando/internal/durable/faulty"
)

// A crash at any operation of a rewrite leaves the old content or the new.
func TestWriteFileIsAtomic(t *testing.T) {
	const path = "/d/file"
	old, fresh := bytes.Repeat([]byte("old "), 400), bytes.Repeat([]byte("new"), 900)
	for n := 1; ; n++ {
		for keep := 0; keep <= 100; keep += 25 {
			disk := faulty.New()
			must(t, disk.MkdirAll("/d"))
			must(t, durable.WriteFile(disk, path, old))
			disk.CrashAt(n)
			err := durable.WriteFile(disk, path, fresh[:1000], fresh[1000:])
			if !disk.Crashed() {
				if err != nil || n < 5 {
					t.Fatalf("rewrite in %d operations: %v", n-1, err)
				}
				return
			}
			after := disk.Reboot(faulty.Fate{Keep: keep, Seed: uint64(n)})
			got, err := durable.ReadFile(after, path, 1<<20)
			if err != nil || !bytes.Equal(got, old) && !bytes.Equal(got, fresh) {
				t.Fatalf("crash at operation %d, keep %d: %d bytes %.20q, %v", n, keep, len(got), got, err)
			}
			must(t, durable.WriteFile(after, path, fresh)) // whatever was left behind
		}
	}
}

// Both file systems keep the same contract.
func TestFileSystems(t *testing.T) {
	for name, c := range map[string]struct {
		fs  durable.FS
		dir string
	}{
		"real":   {durable.OS(), filepath.Join(t.TempDir(), "a", "b")},
		"memory": {faulty.New(), "/a/b"},
	} {
		t.Run(name, func(t *testing.T) { conform(t, c.fs, c.dir) })
	}
}

func conform(t *testing.T, fsys durable.FS, dir string) {
	path := func(name string) string { return filepath.Join(dir, name) }
	must(t, fsys.MkdirAll(dir))
	must(t, fsys.MkdirAll(dir))
	if _, err := fsys.Open(path("none")); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("open of a missing file: %v", err)
	}
	if err := fsys.Remove(path("none")); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("remove of a missing file: %v", err)
	}
	f, err := fsys.Create(path("b"))
	must(t, err)
	if _, err := fsys.Create(path("b")); !errors.Is(err, fs.ErrExist) {
		t.Errorf("create of an existing file: %v", err)
	}
	_, err = f.WriteAt([]byte("12345"), 3)
	must(t, err)
	must(t, f.Datasync())
	must(t, f.Truncate(10))
	if size, err := f.Size(); size != 10 || err != nil {
		t.Errorf("size %d, %v", size, err)
	}
	must(t, durable.ZeroFill(f, 4, 6, nil))
	must(t, f.Close())
	must(t, fsys.Rename(path("b"), path("a")))
	must(t, durable.WriteFile(fsys, path("c"), []byte("c")))
	must(t, fsys.SyncDir(dir))
	if names, err := fsys.ReadDir(dir); err != nil || fmt.Sprint(names) != "[a c]" {
		t.Errorf("names %v, %v", names, err)
	}
	if got, err := durable.ReadFile(fsys, path("a"), 10); err != nil || string(got) != "\x00\x00\x001\x00\x0045\x00\x00" {
		t.Errorf("content %q, %v", got, err)
	}
	if _, err := durable.ReadFile(fsys, path("a"), 9); err == nil {
		t.Error("a file above the limit was read")
	}
	lock, err := fsys.Lock(path("L"))
	must(t, err)
	if _, err := fsys.Lock(path("L")); !errors.Is(err, durable.ErrLocked) {
		t.Errorf("second lock: %v", err)
	}
	must(t, lock.Close())
	lock, err = fsys.Lock(path("L"))
	must(t, err)
	must(t, lock.Close())
}

func TestFull(t *testing.T) {
	disk := faulty.New()
	disk.SetCapacity(1000)
	err := durable.WriteFile(disk, "/x", make([]byte, 2000))
	if !durable.Full(err) || durable.Full(syscall.EIO) {
		t.Errorf("full disk: %v", err)
	}
	if names, err := disk.ReadDir("/"); err != nil || len(names) != 0 {
		t.Errorf("left behind: %v, %v", names, err)
	}
}

func must(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}
