#!/bin/sh
# Installs programs that the tests need on a Debian-like machine, as root; elsewhere it says what is missing.
# Every argument is a program and the package that has it, as in `postgres:postgresql`. The tests start
# private servers; the packages' own cluster and daemons are neither made nor started.
# Run by the tests themselves and by .ci/test; several may run at once.
set -eu
export DEBIAN_FRONTEND=noninteractive

# The packages of the programs that are neither in PATH nor where Debian keeps PostgreSQL's.
missing() {
    for pair; do
        program=${pair%%:*}
        { command -v "$program" || ls /usr/lib/postgresql/*/bin/"$program"; } >/dev/null 2>&1 || echo "${pair#*:}"
    done
}
packages=$(missing "$@" | xargs)
if [ -z "$packages" ]; then exit 0; fi
if [ "$(id -u)" != 0 ] || ! command -v apt-get >/dev/null; then
    echo "the tests need more programs: run \"apt-get install $packages\" as root" >&2
    exit 1
fi

exec 9>/run/lock/tasks-testkit-install
flock 9
# Another one may have installed them meanwhile.
packages=$(missing "$@")
if [ -z "$packages" ]; then exit 0; fi

# What asks invoke-rc.d whether a daemon may start; 101 is "no".
policy=/usr/sbin/policy-rc.d
if [ ! -e "$policy" ]; then
    trap 'rm -f "$policy"' EXIT
    printf '#!/bin/sh\nexit 101\n' >"$policy"
    chmod 755 "$policy"
fi
# What the package `postgresql` reads before it makes a cluster.
cluster=/etc/postgresql-common/createcluster.conf
case $packages in *postgresql*)
    if [ ! -e "$cluster" ]; then
        mkdir -p "${cluster%/*}"
        echo 'create_main_cluster = false' >"$cluster"
    fi
    ;;
esac

install() {
    # shellcheck disable=SC2086 # a list of packages is to be split
    apt-get install --yes --no-install-recommends --option DPkg::Lock::Timeout=300 \
        --option Dpkg::Options::=--force-confold $packages >&2
}
# Lists that are missing or outdated are the usual reason for a failure.
install || { apt-get update >&2 && install; }
