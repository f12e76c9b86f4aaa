package rootclock

import (
	"testing"

	"pando/internal/durable/faulty"
)

func mustOpen(t *testing.T, disk *faulty.Disk) (*slots, uint64) {
	t.Helper()
	s, bound, err := openBound(disk, "/n/"+boundFile)
	if err != nil {
		t.Fatal(err)
	}
	return s, bound
}

func newDisk(t *testing.T) *faulty.Disk {
	t.Helper()
	disk := faulty.New()
	if err := disk.MkdirAll("/n"); err != nil {
		t.Fatal(err)
	}
	return disk
}

// A bound that was written is never forgotten, whatever operation the machine
// crashes in and whatever is torn.
func TestBoundSurvivesEveryCrash(t *testing.T) {
	for crash := 1; crash < 40; crash++ {
		for _, keep := range []int{0, 50, 100} {
			disk := newDisk(t)
			mustOpen(t, disk)
			disk.CrashAt(crash)
			acknowledged := uint64(0)
			s, _ := mustOpen(t, disk)
			for n := uint64(1); n < 15; n++ {
				if s.write(n<<40) != nil {
					break
				}
				acknowledged = n << 40
			}
			_, bound := mustOpen(t, disk.Reboot(faulty.Fate{Keep: keep, Seed: uint64(crash)}))
			if bound < acknowledged {
				t.Fatalf("crash at operation %d, %d %% kept: bound %d, %d was acknowledged", crash, keep, bound, acknowledged)
			}
		}
	}
}

func TestBoundNeedsNoRoom(t *testing.T) {
	disk := newDisk(t)
	s, _ := mustOpen(t, disk)
	disk.SetCapacity(1) // less than there is: nothing new fits
	for n := range uint64(10) {
		if err := s.write(n + 1); err != nil {
			t.Fatalf("on a full disk: %v", err)
		}
	}
	if _, bound := mustOpen(t, disk); bound != 10 {
		t.Errorf("bound %d, want 10", bound)
	}
}

func TestTwoDamagedSlotsAreRefused(t *testing.T) {
	disk := newDisk(t)
	s, _ := mustOpen(t, disk)
	for n := range uint64(2) {
		if err := s.write(n + 1); err != nil {
			t.Fatal(err)
		}
	}
	disk.Flip("/n/"+boundFile, 3, 1)
	if _, bound := mustOpen(t, disk); bound != 2 {
		t.Errorf("with one slot damaged the bound is %d, want 2", bound)
	}
	disk.Flip("/n/"+boundFile, slotSize+3, 1)
	if _, _, err := openBound(disk, "/n/"+boundFile); err == nil {
		t.Error("two damaged slots were taken for a bound")
	}
}
