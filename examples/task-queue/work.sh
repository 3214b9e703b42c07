# One process per task: the payload comes on stdin, the result goes to stdout, another exit code than 0 is an error.
payload=$(cat)
case $payload in
*slow*)
    sleep 0.5
    echo '{"done":"slowly"}'
    ;;
*flaky*)
    [ "$GANGER_ATTEMPT" -ge 3 ] || { echo "no luck in attempt $GANGER_ATTEMPT" >&2; exit 1; }
    echo "{\"attempts\":$GANGER_ATTEMPT}"
    ;;
*letter*)
    [ -e repaired ] || { echo "the printer is on fire" >&2; exit 1; }
    echo '{"printed":true}'
    ;;
*report*)
    echo "$GANGER_TASK_ID" >> reports.txt
    echo "{\"run\":$(wc -l < reports.txt)}"
    ;;
*tick*)
    echo "$GANGER_TASK_ID" >> ticks.txt
    echo '{"ticked":true}'
    ;;
esac
