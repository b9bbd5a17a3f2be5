#!/usr/bin/env bash
# Stands in for Apache's script in suites that start servers with it: start-foreground alone, the
# options in SERVER_JVMFLAGS, and exec, for the suites kill the process they started. Test-only.
set -u
[ "${1:-}" = start-foreground ] || { echo "only start-foreground" >&2; exit 1; }
read -r -a properties <<<"${SERVER_JVMFLAGS:-}"
exec "$ROOKEEPER_BIN" server "$2" "${properties[@]}" -Dcompat.version="${COMPAT_VERSION:-3.6.4}"
