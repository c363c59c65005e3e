# Help and wrong command lines, by their exit codes.
export PYTHONPATH=.
for command in "" submit status list cancel requeue clear stats worker; do
    gigq $command --help >out 2>&1
    echo "$command exit $? $(grep -o -i -m 1 usage out | tr U u)"
done
gigq no-such-command >/dev/null 2>&1
echo "exit $?"
gigq submit --no-such-option >/dev/null 2>&1
echo "exit $?"
gigq status >/dev/null 2>&1
echo "exit $?"
# differs: exit 1 -> exit 0  (`gigq submit` imports the function.)
gigq submit no_such_module.function --name x >/dev/null 2>&1
echo "exit $?"
gigq submit office.no_such_function --name x >/dev/null 2>&1
echo "exit $?"
gigq submit office.add --name x -p broken >/dev/null 2>&1
[ $? -ne 0 ] && echo "refused"
gigq submit office.add --name x --priority much >/dev/null 2>&1
[ $? -ne 0 ] && echo "refused"
