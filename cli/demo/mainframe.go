//go:build !zos

package demo

import (
	"fmt"
	"time"

	"pando/agent/input"
)

// lparA is the console log of LPAR A, in code page 1047.
func lparA(p Profile, seed uint64) *source {
	s := newScript(p, seed, "lpara")
	c := console{s, "LPARA"}
	c.batch("PAYRUN1", 4711, payrunAfter)
	c.cics("CICSPAY1", 4020, cicsAAfter)
	c.bystander("RECON1", 4730)
	return &source{lines: s.done(), spec: consoleLog("LPARA", "cp1047"), page: "cp1047"}
}

// lparB is the console log of LPAR B, in code page 037. A job that restarts
// over and over is its everyday noise.
func lparB(p Profile, seed uint64) *source {
	s := newScript(p, seed, "lparb")
	c := console{s, "LPARB"}
	c.batch("SETTLE2", 812, settleAfter)
	c.cics("CICSPAY2", 790, cicsBAfter)
	c.flapping("RPTFLAP", 850)
	return &source{lines: s.done(), spec: consoleLog("LPARB", "cp037"), page: "cp037"}
}

// console writes lines of the z/OS system log.
type console struct {
	*script
	system string
}

// say adds one line: record type, routing codes, system, Julian date, time to
// the hundredth, job identifier, flags, message (MVS System Messages, format
// of the system log). The running number ends the message.
func (c console) say(at time.Duration, job string, id int, signal, message string) {
	system := c.system
	c.add(at, sysplex+system+"/"+job, signal, func(n int, wall time.Time) string {
		t := wall.UTC()
		return fmt.Sprintf("NC0000000 %-8s %02d%03d %s JOB%05d 00000090  %s N=%d",
			system, t.Year()%100, t.YearDay(), t.Format("15:04:05.00"), id, message, n)
	})
}

// jobsPerSecond is the pace of a job that is well.
const jobsPerSecond = 7

// calls lets a job call the gateway until some time.
func (c console) calls(job string, id int, to time.Duration) {
	c.pace(0, to, steadily(jobsPerSecond), func(at time.Duration) {
		c.say(at, job, id, "PAY010I", "PAY010I "+job+" MT103 SENT DEST="+gateway+" RC=00")
	})
}

// batch is a job that abends once when the gateway is gone, and then says
// nothing any more.
func (c console) batch(job string, id int, after time.Duration) {
	at := c.profile.Learn + after
	c.calls(job, id, at-100*time.Millisecond)
	c.say(at-50*time.Millisecond, job, id, "PAY013E", "PAY013E "+job+" NO REPLY DEST="+gateway+" RC=12")
	c.say(at, job, id, "abend.S0C7", "IEF450I "+job+" STEP020 - ABEND=S0C7 U0000 REASON=00000000")
}

// cics is a region whose transaction abends once; then it is stuck.
func (c console) cics(applid string, id int, after time.Duration) {
	at := c.profile.Learn + after
	c.calls(applid, id, at-100*time.Millisecond)
	c.say(at, applid, id, "DFHAC2236", "DFHAC2236 "+applid+" Transaction PAYX abend ASRA in program PAYROUT term T001.")
}

// bystander is a job that has nothing to do with payments and goes on.
func (c console) bystander(job string, id int) {
	c.pace(0, c.profile.end(), steadily(jobsPerSecond), func(at time.Duration) {
		c.say(at, job, id, "REC001I", "REC001I "+job+" 100 RECORDS MATCHED")
	})
}

// flapping is a job that its scheduler restarts whenever it fails, in bursts.
func (c console) flapping(job string, id int) {
	between := func(lo, hi int) time.Duration {
		return time.Duration(lo+c.random.IntN(hi-lo)) * time.Millisecond
	}
	for at := between(50, 200); at < c.profile.end()-time.Second; {
		for range 1 + c.random.IntN(3) {
			c.say(at, job, id, "$HASP373", "$HASP373 "+job+" STARTED")
			at += between(30, 120)
			c.say(at, job, id, "$HASP395", "$HASP395 "+job+" ENDED - RC=0008")
			at += between(20, 60)
		}
		at += between(200, 2200)
	}
}

// consoleLog describes a console log to the agent.
func consoleLog(system, page string) input.Spec {
	critical := 0
	return input.Spec{
		Name: "console", Type: input.TypeTail, CodePage: page, NewLine: input.NewLineNEL,
		Pattern: `^N[CR ][0-9A-F]{7} (?P<system>\S+) +(?P<when>\d{5} \d\d:\d\d:\d\d\.\d\d) (?P<jobid>\S+) +[0-9A-F]{8} +(?P<msgid>\S+) (?P<job>\S+) .*N=(?P<n>\d+)$`,
		Entity:  sysplex + system + "/{job}", Signal: "{msgid}", Value: "{n}", Severity: "info",
		SourceTime: &input.TimeSpec{Field: "when", Layout: "julian", Zone: "UTC"},
		Match: []input.Rule{
			{Pattern: ` ABEND=(?P<code>[SU][0-9A-F]{3,4}) `, Signal: "abend.{code}", Severity: "error", Criticality: &critical},
			{Pattern: ` DFHAC2236 `, Severity: "error", Criticality: &critical},
			{Pattern: ` DEST=(?P<dest>\S+) RC=00`, Peer: "{dest}"},
			{Pattern: ` DEST=(?P<dest>\S+) RC=`, Peer: "{dest}", Severity: "error"},
			{Pattern: `ENDED - RC=0008`, Severity: "warn"},
		},
	}
}
