# The command line's list and stats.
export PYTHONPATH=.
for name in alpha beta gamma; do
    gigq submit office.add --name "$name" -p a=1 >/dev/null
done
gigq submit office.fail --name delta --max-attempts 1 --priority 1 >/dev/null
gigq worker --once >/dev/null 2>&1
gigq worker --once >/dev/null 2>&1
names="alpha|beta|gamma|delta"
gigq list | grep -o -E "$names"
echo "exit ${PIPESTATUS[0]}"
for status in pending running completed failed cancelled timeout; do
    echo "$status: $(gigq list --status "$status" | grep -o -E "$names" | tr '\n' ' ')"
done
gigq list --limit 2 | grep -o -E "$names"
gigq list --status pending --limit 1 | grep -o -E "$names"
gigq list | grep -o -w -E "pending|completed|failed"
gigq list --limit 1 | grep -c -E "[0-9a-f]{8}"
gigq stats | tr '[:upper:]' '[:lower:]' | tr -s ' |:│' ' ' |
    grep -o -E "(pending|running|completed|failed|cancelled|timeout|total) [0-9]+" | sort
echo "exit ${PIPESTATUS[0]}"
gigq list --status asleep >/dev/null 2>&1
[ $? -ne 0 ] && echo "refused"
