# A service: says how busy the machine is, every five seconds.
while :; do
    awk '{ print "load " $1 " " $2 " " $3 ", " $4 " running/all" }' /proc/loadavg
    sleep 5
done
