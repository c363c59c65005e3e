# The command line's cancel, requeue and clear.
export PYTHONPATH=.
submit() { gigq submit "$@" | sed -n 's/.*Job submitted: //p'; }
status() { gigq status "$1" | grep -o "Status: .*"; }
a=$(submit office.mark --name a -p text=a)
b=$(submit office.fail --name b --max-attempts 1)
gigq cancel "$a" >out 2>&1
echo "exit $? $(grep -o -i cancelled out | head -1)"
status "$a"
gigq cancel "$a" >out 2>&1
echo "exit $?"
gigq cancel nobody >out 2>&1
echo "exit $?"
gigq worker --once >/dev/null 2>&1
status "$b"
gigq requeue "$b" >out 2>&1
echo "exit $? $(grep -o -i requeued out | head -1)"
status "$b"
gigq requeue "$b" >out 2>&1
echo "exit $?"
gigq requeue nobody >out 2>&1
echo "exit $?"
gigq requeue "$a" >out 2>&1
echo "exit $?"
gigq worker --once >/dev/null 2>&1
gigq worker --once >/dev/null 2>&1
status "$a"
cat marks
gigq cancel "$a" >out 2>&1
echo "exit $?"
c=$(submit office.nothing --name c)
gigq clear --before 3 >out 2>&1
echo "exit $? $(grep -o -E '[0-9]+' out | head -1)"
status "$a"
gigq clear >out 2>&1
echo "exit $? $(grep -o -E '[0-9]+' out | head -1)"
gigq status "$a" >out 2>&1
echo "exit $?"
status "$b"
status "$c"
gigq clear >out 2>&1
echo "exit $?"
