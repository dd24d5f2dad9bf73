#!/bin/sh
# shellcheck disable=SC2046 # lists of process ids are to be split
# Watches over one private server. Every line of standard input is a command, answered with its status.
# The end of the input is the end of the test process: then the server is stopped and its folder removed.
#
# Environment: DIR, the server's folder; FAST and LAST, the signals of an orderly and of a last stop.

trap '' PIPE # an answer that nobody reads must not end this shell before its work is done
server=

start() {
    "$@" </dev/null >>"$DIR/log" 2>&1 &
    server=$!
}
# PostgreSQL gives each of its processes a group of its own: they are found by their parent.
children() {
    for stat in /proc/[0-9]*/stat; do
        read -r pid _ _ parent _ <"$stat" && [ "$parent" = "$server" ] && echo "$pid"
    done
}
# The parent first: while it stands still it starts no more of them.
freeze() {
    kill -STOP "$server"
    kill -STOP $(children)
    :
}
thaw() {
    kill -CONT $(children) "$server"
}
stop() {
    thaw
    kill "-$FAST" "$server"
    wait "$server"
    server=
}
crash() {
    freeze
    kill -KILL $(children) "$server"
    wait "$server"
    server=
}
running() {
    read -r _ _ state _ <"/proc/$server/stat" && [ "$state" != Z ]
}

while read -r command; do
    eval "$command"
    echo $?
done

if [ -n "$server" ]; then
    thaw
    kill "-$LAST" "$server"
    wait "$server"
fi
# A killed PostgreSQL leaves its System V shared memory, named by the seventh line of its pid file.
if [ -e "$DIR/data/postmaster.pid" ]; then
    ipcrm --shmem-id "$(sed -n '7s/.* //p' "$DIR/data/postmaster.pid")"
fi
rm -rf "$DIR"
