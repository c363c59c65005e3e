# The command line's status, with each of its flags.
export PYTHONPATH=.
id=$(gigq submit office.add --name sum -p a=1000003 -p b=20000000 --description "two numbers" |
    sed -n 's/.*Job submitted: //p')
bad=$(gigq submit office.fail --name bad --max-attempts 1 --priority -1 |
    sed -n 's/.*Job submitted: //p')
gigq status "$id" | grep -o "Status: .*"
echo "exit ${PIPESTATUS[0]}"
gigq status "$id" | grep -c "$id"
gigq status "$id" | grep -o "sum"
gigq status "$id" --show-params | grep -o -w -e 1000003 -e 20000000
gigq worker --once >log 2>&1
echo "exit $?"
gigq status "$id" | grep -o "Status: .*"
gigq status "$id" --show-result | grep -o -w 21000003
gigq status "$id" --show-executions | grep -o -i -m 1 "executions"
gigq status "$id" --show-params --show-result --show-executions >all
for word in 1000003 20000000 21000003 completed; do grep -q -w "$word" all && echo "has $word"; done
gigq worker --once >log 2>&1
gigq status "$bad" | grep -o "Status: .*"
gigq status "$bad" | grep -o -m 1 "no paper"
gigq status "$bad" --show-executions | grep -o -m 1 -w "failed"
gigq status nobody >out 2>&1
echo "exit $?"
grep -c nobody out
