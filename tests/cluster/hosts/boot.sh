# Become a machine of the tests: a network, mounts, a process table and a name of its own.
#
# Wants NAME, ADDRESS, FOLDER (with tmp/ and home/), NEEDED (paths, a colon between), HUB (the process
# of the machine that the cable leads to, or nothing) and, as arguments, its first program. Runs in a
# network namespace of its own; all that it makes ends with its processes.
set -e

if [ -n "$HUB" ]; then
    ip link add eth0 type veth peer name "$NAME" netns "$HUB"
    nsenter --target "$HUB" --net ip link set "$NAME" master eth0 up
else
    ip link add eth0 type bridge
fi
ip addr add "$ADDRESS/24" dev eth0
ip link set eth0 up
ip link set lo up

exec unshare --mount --uts --pid --fork --kill-child --mount-proc \
    bash -e "${BASH_SOURCE%/*}/inside.sh" "$@"
