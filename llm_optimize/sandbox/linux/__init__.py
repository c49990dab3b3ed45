"""Linux machinery of the sandbox: the process tree, the protocol, and who kills whom.

The process tree
----------------
The optimizer never runs f. Each of its sandboxes has this tree below it:

    optimizer                 your program: keeps deadlines, reads answers
     |
     +-- fork server          loaded f once; one thread; only forks       fork_server.py
          |
          +-- supervisor      one for each call at a time                 supervisor.py
          |    |
          |    +-- child      forked ahead, isolated; calls f once        child_setup.py
          |         |
          |         +-- ...   whatever f and the candidate start
          |
          +-- script broker   forked before f was loaded                  script_broker.py
               |
               +-- supervisor      one for each script at a time, asked for by f
                    |
                    +-- child      runs the script; it never held f

At the level `namespace` the fork server is pid 1 of a world that bubblewrap built, and between a
supervisor and its child stand two more: the namespace supervisor, pid 1 of a PID namespace with its
own user and network namespaces, and for each scoring an init, pid 1 again, with fresh mounts,
/proc, /tmp, /dev/shm and IPC (namespaces.py).

Why so many? A fresh interpreter that imports numpy and sklearn takes more than a second; a fork
takes a millisecond, but is safe only from a process with one thread: hence a fork server that does
nothing else. A candidate may kill or stop every process that it can see and outlive its parent:
hence a supervisor between, which adopts orphans and never runs foreign code itself. Scripts must
not find f's labels in their memory: hence a broker that was forked before f arrived.

The protocol
------------
All sockets are Unix socket pairs. A frame is a length of four bytes and so many bytes; open files
travel with the length (../wire.py).

control, optimizer <-> fork server:
    Settings and the pickle of f, answered by the isolation that works or by an error. Then, for
    each supervisor that is wanted, one frame with the far end of its link.

link, optimizer <-> supervisor:
    "supervisor" says that it lives. The optimizer puts it into a control group, then sends G. For
    each scoring follow "ready" (a child is forked and isolated), the request with two pipes, one
    byte K (end it), and a report. Each child gets exactly one K, before the report or after it.

pipes, child -> optimizer:
    One for the answer (a length, the nonce of the call, JSON), one for what is printed. The
    optimizer bounds both before it reads. It believes an answer only with its nonce, since the
    candidate may write to these pipes as well as f.

broker, child -> script broker:
    Limits as JSON, with the far end of a link to a new supervisor.

Who kills whom, and when
------------------------
Killing is always SIGKILL. Everything else ends by hanging up: a process that reads the end of
its socket stops, and the level above makes sure of it.

child:
    By its supervisor: at a K (deadline, too much output, the answer is there, the call is stopped),
    at a breach of a limit, when the link ends, or two seconds after a deadline at which no K came.
    First its process group is killed, then all descendants again and again until there are none:
    orphans are the supervisor's own children, because it is a subreaper. Only then does it report.

init:
    Ends with its child, and takes everything in its namespaces with it.

supervisor:
    Ends when its link does. One that does not report within 2.5 s, perhaps stopped by a candidate,
    is killed by the optimizer with all below it. The fork server, a subreaper as well, kills what
    is left.

scripts:
    By the broker: when the scoring is over, or when it uses more than its limits together with its
    scripts.

fork server:
    Ends when the control socket does, that is when the optimizer closes the sandbox or dies, even
    by SIGKILL. It waits one second for its supervisors, then kills all descendants. If it hangs,
    the optimizer kills it after 2.5 s.

Isolation of a child
--------------------
In the order in which it is applied: a clean environment (../environment.py), mounts and IPC of its
own (private_mounts.py), Landlock and dropped capabilities (landlock.py, capabilities.py), resource
limits (../child.py), a filter of system calls (seccomp.py). From outside come a control group where
one can be made (cgroups.py) and the accounting of the supervisor (accounting.py). isolation.py
finds out what works on this machine; docs/sandbox.md says what each mechanism stops. Where a line
ends in a comment "wall" with a name, an attack comes through without that line:
tests/sandbox/test_ablation.py takes each of them out and shows it.
"""
