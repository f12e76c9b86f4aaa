// Package wal is Pando's write-ahead log: records of bytes, numbered without
// gaps, in segment files of one folder, with checkpoints beside them. It
// knows neither events nor Raft.
//
// # What it gives
//
//   - A record for which [Log.Wait] returned nil was covered by an fsync and
//     survives any crash; after a crash [Open] finds all of them, in order,
//     and possibly some that were appended after them.
//   - One sync covers all records that gathered while the one before it ran:
//     the disk sets the pace, there is no timer. While urgent records come
//     in, groups stay short.
//   - Damage to acknowledged bytes is never cut away and never overlooked:
//     Open refuses, and names segment and byte. Bytes that a crash tore
//     before they were acknowledged are copied to a .broken file, cut, and
//     reported.
//   - A write or sync that fails is final ([ErrFailed]). A full disk is not
//     ([ErrFull]): space is secured a segment ahead, before a record is
//     accepted.
//
// # What it assumes
//
// A sync that returns success has reached the medium. A sector that a crash
// interrupts holds bytes of its old and new content, so a write next to
// synced bytes does not harm them. One process opens a log at a time, which a
// lock sees to; on z/OS the lock does not keep two opens within one process
// apart.
//
// # How an open tells damage from a torn write
//
// Every frame carries the offset up to which its segment had been synced when
// it was written. If bytes at some place do not make sense, Open searches all
// that follows for the header of a frame that says "this place was synced
// before I was written", a voucher. With one, the bytes had been acknowledged
// and are damaged; without, they belong to the last write before a crash. A
// segment that has a successor is vouched for as a whole, because its seal is
// synced before the successor gets its first byte, and a checkpoint vouches
// for all records it covers. A header's checksum covers a random number of
// its segment and the header's own offset, so copies of frames inside
// payloads vouch for nothing; a search reads headers only and takes time
// linear in the damaged bytes. Should chance make a false voucher (2^-32 for
// each 8 bytes searched), the log is refused, not shortened.
//
// What remains: the last group has no voucher until something is written
// after it. The next group is one. An idle log writes a mark, a frame that is
// nothing but a voucher, 100 ms after its last sync; Close and Open write one
// too. So if the medium damages the last group within these 100 ms, and the
// process also dies within them, that group is cut as if it had been torn;
// the cut is reported, and its bytes are in the .broken copy. A crash alone
// does not do this: it does not change synced bytes.
//
// The sequence, the checksums and the chain find what single checksums
// cannot: a frame or segment that is missing, doubled, out of place, or from
// another history of the same log.
//
// The ideas: chained checksums, the rule for torn writes and the file that is
// prepared ahead are etcd's (server/storage/wal); group commit and the sticky
// error are those of pebble (record.LogWriter). That a log must not go on
// after a failed fsync, and that a reopen must not believe the page cache: A.
// Rebello et al., "Can Applications Recover from fsync Failures?", USENIX
// ATC 2020. Open therefore writes the last group again before it syncs it.
//
// # Files
//
//	0000000000000001.wal             segment 1; the last two may be unused
//	0000000000000007.wal.prep        a segment being prepared
//	0000000000000006.wal.N.broken    bytes cut off segment 6 at byte N; 16 are kept
//	00000000000000004711.ckpt        checkpoint that covers record 4711; two are kept
//	*.tmp                            a file being written
//	LOCK                             locked while the log is open
//
// .prep and .tmp files are worthless after a crash, and Open removes them.
//
// # Segment
//
// Integers are little-endian; CRC32C is the Castagnoli polynomial. A segment
// is preallocated and zero-filled; a preamble is followed by frames at
// multiples of 8, then zeros. Sealing cuts the zeros off. These bytes have
// fixed places, unlike Pando's other formats, because recovery must find
// frames in the midst of damage.
//
// Preamble, 64 bytes, synced before the segment gets its name:
//
//	 0   8  "PANDOWAL"
//	 8   4  format, 1
//	12   4  length of the preamble, 64
//	16   8  log id: random, not 0, the same in all segments of a log
//	24   8  segment number, from 1
//	32   8  size that was preallocated, 1 KiB to 1 GiB
//	40   8  salt: random
//	48  12  zero
//	60   4  CRC32C of bytes 0 to 59
//
// Frame, 32 bytes and a payload that is padded with zeros to a multiple of 8:
//
//	 0   4  payload length without padding (low 24 bits, at most 4 MiB);
//	        kind (high 8 bits)
//	 4   4  CRC32C of payload and padding
//	 8   8  sequence of the record; in other kinds, of the last record before
//	16   4  behind: synced-to is sequence − behind, the last record synced
//	        when the frame was written
//	20   4  synced offset: the bytes of the segment before it were synced when
//	        the frame was written; at most the frame's own offset
//	24   4  chain value before this frame
//	28   4  CRC32C over log id, segment number, salt (8 bytes each), offset of
//	        the frame (8 bytes), and bytes 0 to 27
//
// The chain value after a frame is the CRC32C of the 4 bytes at 28, continued
// from the chain value before it. It starts with 0 in segment 1 and runs on
// through all segments.
//
//	kind 1  record   the caller's bytes
//	kind 2  start    first frame of a segment, and only there; payload: the
//	                 SHA-256 in the seal of the segment before, or 32 zeros
//	kind 3  mark     no payload; all before it is synced
//	kind 4  seal     last frame of a segment; payload: SHA-256 of all bytes of
//	                 the segment before this frame
//
// # Checkpoint
//
//	0   8  "PANDOCKP"
//	8   4  length n of the header, at most 4096
//	12  n  header, msgpack: array of 6: file format 1, log id, format of the
//	       state, version of the logic, sequence, length of the state
//	    …  state, at most 1 GiB
//	   32  SHA-256 of all bytes before
package wal
