package sim

func (p *plan) drawFaults(r interface{ IntN(int) int }) {}

type fault struct{ at int64 }
