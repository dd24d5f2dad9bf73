#!/bin/sh
# Installs PostgreSQL and Redis for the tests on a Debian-like machine, as root. The tests start private
# servers; the packages' own cluster and daemons are neither made nor started.
# Run by the tests themselves and by .ci/test; several may run at once.
set -eu
export DEBIAN_FRONTEND=noninteractive

exec 9>/run/lock/tasks-testkit-install
flock 9

postgres() { command -v postgres || ls /usr/lib/postgresql/*/bin/postgres; }
redis() { command -v redis-server; }
if postgres >/dev/null 2>&1 && redis >/dev/null 2>&1; then exit 0; fi

# What asks invoke-rc.d whether a daemon may start; 101 is "no".
policy=/usr/sbin/policy-rc.d
if [ ! -e "$policy" ]; then
    trap 'rm -f "$policy"' EXIT
    printf '#!/bin/sh\nexit 101\n' >"$policy"
    chmod 755 "$policy"
fi
# What the package `postgresql` reads before it makes a cluster.
cluster=/etc/postgresql-common/createcluster.conf
if [ ! -e "$cluster" ]; then
    mkdir -p "${cluster%/*}"
    echo 'create_main_cluster = false' >"$cluster"
fi

install() {
    apt-get install --yes --no-install-recommends --option DPkg::Lock::Timeout=300 \
        --option Dpkg::Options::=--force-confold postgresql redis-server >&2
}
# Lists that are missing or outdated are the usual reason for a failure.
install || { apt-get update >&2 && install; }
