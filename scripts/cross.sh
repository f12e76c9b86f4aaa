#!/usr/bin/env bash
# Checks that the code is the same everywhere: it builds for every platform we
# name, the agent's packages fit z/OS, and the golden files hold on other
# processors. Those run under QEMU's user emulation (Debian: qemu-user-static);
# without it the script says so and fails, because then nothing was compared.
set -euo pipefail
go=${GO:-go}
cd "$(dirname "$0")/.."
export CGO_ENABLED=0

for platform in linux/amd64 linux/arm64 linux/s390x darwin/arm64; do
    echo "--- build $platform"
    GOOS=${platform%/*} GOARCH=${platform#*/} "$go" build ./...
done

echo "--- z/OS: the agent's packages"
"$go" test -count=1 -run ZOS ./internal/imports

# Packages with a test whose name contains Golden.
packages=$(grep -rlE --include='*_test.go' '^func Test[A-Za-z0-9_]*Golden' . | xargs -r -n1 dirname | sort -u)
if [ -z "$packages" ]; then
    echo "no package has golden tests" >&2
    exit 1
fi

# golden ARCH QEMU runs them on a processor.
golden() {
    local arch=$1 emulator=$2 exec=()
    if [ "$("$go" env GOHOSTARCH)" != "$arch" ]; then
        command -v "$emulator" >/dev/null || {
            echo "$emulator is missing: install qemu-user-static (Debian, Ubuntu) and try again" >&2
            exit 1
        }
        exec=(-exec "$emulator")
    fi
    echo "--- golden files on $arch"
    # shellcheck disable=SC2086 # one word a package
    GOOS=linux GOARCH=$arch "$go" test ${exec[@]+"${exec[@]}"} -run Golden $packages
}
golden amd64 qemu-x86_64-static
golden arm64 qemu-aarch64-static
golden s390x qemu-s390x-static
