package event

// Bounds on what a batch may hold. Encoding refuses to exceed them, and
// decoding checks them before it allocates, since peers are not trusted.
const (
	// MaxBatchBytes of one encoded batch: a frame of the WAL and of the
	// transport holds it, and one fsync of it stays near 20 ms.
	MaxBatchBytes = 1 << 20

	// MaxBatchEvents of one batch. Decoded they take some 15 MiB.
	MaxBatchEvents = 1 << 16

	// MaxBatchAttrs of one batch, over all its events; 8 MiB decoded.
	MaxBatchAttrs = 1 << 18

	// MaxPositions of one batch: an agent reads that many sources at most.
	MaxPositions = 4096

	// MaxPositionBytes of all positions' sources and files together, so that
	// with them a batch still has room for each valid event.
	MaxPositionBytes = 256 << 10

	// MaxName is the length in bytes of an origin, source, entity, signal,
	// peer, attribute key and file identity. Names become keys; they are not
	// for data.
	MaxName = 1 << 10

	// MaxString is the length in bytes of an attribute's value.
	MaxString = 64 << 10

	// MaxAttrs of one event.
	MaxAttrs = 64

	// MaxRaw is the length in bytes of an event's original: the longest
	// record that a mainframe writes (32,760) several times over.
	MaxRaw = 256 << 10

	// MaxEventBytes is the length in bytes of all strings of one event and
	// its original together, so that each valid event fits into a batch.
	MaxEventBytes = 512 << 10

	// MaxSeverity is OpenTelemetry's highest severity number.
	MaxSeverity Severity = 24
)

// allFlags are the flags that have a meaning.
const allFlags = PointFromSource | SourceClockSuspect | Backlog | OpenStart
