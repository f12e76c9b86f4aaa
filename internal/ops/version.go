package ops

import (
	"fmt"
	"runtime"
	"runtime/debug"
)

// Unknown stands where the build did not record a fact.
const Unknown = "unknown"

// Version says which binary this is, as far as the Go toolchain recorded it.
type Version struct {
	Version  string `json:"version" yaml:"version"`   // the module's version, or "devel"
	Revision string `json:"revision" yaml:"revision"` // the commit, or "unknown"
	Time     string `json:"time" yaml:"time"`         // of the commit, RFC 3339, or "unknown"
	Modified bool   `json:"modified" yaml:"modified"` // the work tree differed from the commit
	Go       string `json:"go" yaml:"go"`
	OS       string `json:"os" yaml:"os"`
	Arch     string `json:"arch" yaml:"arch"`
}

// ReadVersion reads what the toolchain built into this binary.
func ReadVersion() Version {
	info, ok := debug.ReadBuildInfo()
	if !ok {
		info = &debug.BuildInfo{}
	}
	return versionOf(info)
}

func versionOf(info *debug.BuildInfo) Version {
	v := Version{
		Version:  info.Main.Version,
		Revision: Unknown,
		Time:     Unknown,
		Go:       runtime.Version(),
		OS:       runtime.GOOS,
		Arch:     runtime.GOARCH,
	}
	if v.Version == "" || v.Version == "(devel)" {
		v.Version = "devel"
	}
	for _, s := range info.Settings {
		switch s.Key {
		case "vcs.revision":
			v.Revision = s.Value
		case "vcs.time":
			v.Time = s.Value
		case "vcs.modified":
			v.Modified = s.Value == "true"
		}
	}
	return v
}

// String is one line for people.
func (v Version) String() string {
	rev := v.Revision
	if len(rev) > 12 {
		rev = rev[:12]
	}
	if v.Modified {
		rev += "+changes"
	}
	return fmt.Sprintf("pando %s (%s, %s) %s %s/%s", v.Version, rev, v.Time, v.Go, v.OS, v.Arch)
}
