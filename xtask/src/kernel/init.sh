#!/bin/busybox sh
# Pid 1 of the emulated machine. Mounts what systemd would mount, gives every unit of the suite its own cgroup as systemd
# would, runs it under a timeout, tells on the serial line how it ended, ends what it left behind, powers off.
#
#   @@ begin N                  the unit's output follows
#   @@ end N rc=R left=L        its exit code, and how many processes it left behind

# The kernel's rootfs can't be pivoted away from; a bind mount of it over itself is a root like any other.
if [ "${1:-}" != rooted ]; then
    /bin/busybox mkdir /rooted
    /bin/busybox mount --bind / /rooted
    cd /rooted
    /bin/busybox mount --move . /
    exec /bin/busybox chroot . /init rooted
fi

/bin/busybox --install -s 2> /dev/null    # programs that are there already stay
export PATH=/usr/bin:/bin:/usr/sbin:/sbin

mount -t proc proc /proc
mount -t sysfs sys /sys
mount -t devtmpfs dev /dev
mkdir -p /dev/pts /dev/shm
mount -t devpts devpts /dev/pts
mount -t tmpfs -o mode=1777 shm /dev/shm
# A checkout below /tmp is part of this machine: its files go along into the new file system.
mkdir /tmp.new
mount -t tmpfs -o mode=1777 tmp /tmp.new
cp -a /tmp/. /tmp.new/
chmod 1777 /tmp.new
mount --move /tmp.new /tmp
rmdir /tmp.new
mount -t tmpfs -o mode=755 run /run
ln -sf /proc/self/fd /dev/fd
chown 1000:1000 /home/tester
chmod 755 /
ip link set lo up
hostname guest
ulimit -Hn 524288

CG=/sys/fs/cgroup
mount -t cgroup2 -o nsdelegate,memory_recursiveprot cgroup2 $CG
ALL="+cpu +io +memory +pids +cpuset"
echo "$ALL" > $CG/cgroup.subtree_control
USERS=$CG/user.slice/user-1000.slice/user@1000.service
mkdir -p $CG/system.slice $USERS
for dir in $CG/system.slice $CG/user.slice $CG/user.slice/user-1000.slice $USERS; do
    echo "$ALL" > $dir/cgroup.subtree_control
done
chown 1000:1000 $USERS $USERS/cgroup.procs $USERS/cgroup.threads $USERS/cgroup.subtree_control
mkdir -p /run/user/1000
chown 1000:1000 /run/user/1000

echo "@@ machine $(uname -r) controllers: $(cat $CG/cgroup.controllers)"

# Every process below a cgroup, one pid a line.
members() {
    find "$1" -name cgroup.procs -exec cat {} + 2>/dev/null
}

run_unit() {
    n=$1 user=$2 seconds=$3
    if [ "$user" = root ]; then
        dir=$CG/system.slice/unit$n.service
        mkdir $dir
        launch="exec sh /suite/$n.sh"
        home=/root
    else
        dir=$USERS/unit$n.scope
        mkdir $dir
        chown 1000:1000 $dir $dir/cgroup.procs $dir/cgroup.threads $dir/cgroup.subtree_control
        launch="exec su -s /bin/sh $user -c 'exec sh /suite/$n.sh'"
        home=/home/tester
    fi
    echo "@@ begin $n"
    # busybox's timeout leaves a watcher beside the command: it must stay outside the unit's cgroup.
    HOME=$home TMPDIR=/tmp USER=$user \
        timeout -s KILL "$seconds" sh -c "echo \$\$ > $dir/cgroup.procs; $launch" < /dev/null 2>&1
    rc=$?
    left=$(members $dir | grep -c .)
    if [ "$left" -gt 0 ]; then
        for pid in $(members $dir); do
            echo "left behind: $pid $(tr '\0' ' ' < /proc/$pid/cmdline) [$(cut -d' ' -f3 /proc/$pid/stat)]"
        done
        echo 1 > $dir/cgroup.kill
    fi
    echo "@@ end $n rc=$rc left=$left"
    find $dir -depth -type d -exec rmdir {} \; 2>/dev/null
}

while read -r n user seconds; do
    run_unit "$n" "$user" "$seconds"
done < /suite/order

echo "@@ done"
poweroff -f
