# The command line's submit: its options, and how values are read.
export PYTHONPATH=.
say() { sed -E 's/[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}/<id>/g'; }
gigq submit office.give --name first | grep -o "Job submitted: .*" | say
gigq --db other.db submit office.give --name second \
    --param number=3 -p text=hello -p 'list=[1, 2]' -p 'flag=true' -p 'nothing=null' \
    -p 'quoted="7"' -p 'equal=a=b' -p 'empty=' -p 'object={"a": 1.5}' \
    --priority 4 --max-attempts 2 --timeout 25 --description "what for" --retry-delay 6 |
    grep -o "Job submitted: .*" | say
echo "exit ${PIPESTATUS[0]}"
gigq --db other.db submit office.add --name negative -p a=-4 --priority -2 >/dev/null
echo "exit $?"
python - <<'PROGRAM'
from gigq import JobQueue

print(JobQueue("gigq.db").stats()["total"])
queue = JobQueue("other.db")
for job in reversed(queue.list_jobs()):
    status = queue.get_status(job["id"])
    for name in ("name", "priority", "max_attempts", "timeout", "description", "retry_delay"):
        print(name, repr(status[name]) if status[name] is not None else repr(""))
    print(status["function_module"], status["function_name"])
    for name, value in sorted(status["params"].items()):
        print("  ", name, repr(value))
PROGRAM
