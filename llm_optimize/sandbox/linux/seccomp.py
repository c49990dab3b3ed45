"""A filter of system calls (Linux): what Landlock, namespaces and limits leave open towards other processes.

The program of the filter is written here, as classic BPF, because nothing that does it for us is there wherever
Landlock is: pyseccomp had its last release in 2021 and needs libseccomp.so, which many images lack, and bubblewrap's
`--seccomp` takes a program that is compiled already. It is short: it looks at the number of a call and at the lower
halves of two arguments, which is all that the kernel itself takes of a process id, a socket family or an option.

It refuses with an error, so that programs that can do without go on. Other architectures of the same processor, which
number their calls otherwise, have none. Sources: seccomp(2), linux/seccomp.h, linux/filter.h.
"""

from __future__ import annotations

import ctypes
import errno
import os
import struct
from collections.abc import Iterable
from dataclasses import dataclass

from .landlock import checked, libc

_PR_SET_SECCOMP, _MODE_FILTER = 22, 2
_ALLOW, _ERRNO = 0x7FFF0000, 0x00050000  # SECCOMP_RET_
_LOAD, _EQUAL, _AT_LEAST, _RETURN = (
    0x20,
    0x15,
    0x35,
    0x06,
)  # BPF_LD|W|ABS, BPF_JMP|JEQ|K, BPF_JMP|JGE|K, BPF_RET|K
_NUMBER, _ARCHITECTURE, _ARGUMENTS = (
    0,
    4,
    16,
)  # offsets in struct seccomp_data; 8 bytes for each argument
_INSTRUCTION = struct.Struct(
    "HBBI"
)  # struct sock_filter: code, jump if true, jump if false, operand
_X32 = 0x40000000  # the bit of calls of x86-64 with pointers of 32 bits

# AUDIT_ARCH_ of linux/audit.h, and the numbers of unistd.h, by what os.uname() says.
_ARCHITECTURES = {"x86_64": 0xC000003E, "aarch64": 0xC00000B7}
_NUMBERS = {
    "x86_64": """
        socket 41 socketpair 53 shmget 29 shmat 30 shmctl 31 semget 64 semop 65 semctl 66 semtimedop 220 msgget 68
        msgsnd 69 msgrcv 70 msgctl 71 ptrace 101 setpriority 141 sched_setparam 142 sched_setscheduler 144 prctl 157
        sched_setaffinity 203 mq_open 240 mq_unlink 241 add_key 248 request_key 249 keyctl 250 ioprio_set 251
        perf_event_open 298 prlimit64 302 process_vm_readv 310 process_vm_writev 311 sched_setattr 314 bpf 321
        userfaultfd 323 io_uring_setup 425 io_uring_enter 426 io_uring_register 427 pidfd_getfd 438
    """,
    "aarch64": """
        socket 198 socketpair 199 shmget 194 shmat 196 shmctl 195 semget 190 semop 193 semctl 191 semtimedop 192
        msgget 186 msgsnd 189 msgrcv 188 msgctl 187 ptrace 117 setpriority 140 sched_setparam 118
        sched_setscheduler 119 prctl 167 sched_setaffinity 122 mq_open 180 mq_unlink 181 add_key 217 request_key 218
        keyctl 219 ioprio_set 30 perf_event_open 241 prlimit64 261 process_vm_readv 270 process_vm_writev 271
        sched_setattr 274 bpf 280 userfaultfd 282 io_uring_setup 425 io_uring_enter 426 io_uring_register 427
        pidfd_getfd 438
    """,
}

_KEYRINGS = ("add_key", "request_key", "keyctl")
_RINGS = (
    "io_uring_setup",
    "io_uring_enter",
    "io_uring_register",
)  # they act without calls that a filter sees
_SYSTEM_V = (
    *("shmget", "shmat", "shmctl", "semget", "semop", "semtimedop", "semctl"),
    *("msgget", "msgsnd", "msgrcv", "msgctl"),
)
_QUEUES = ("mq_open", "mq_unlink")
_INTO_OTHERS = ("ptrace", "process_vm_readv", "process_vm_writev", "pidfd_getfd")
_PR_SET_DUMPABLE = 4  # a process that clears it hides its open files from the accounting of its supervisor
_PRIO_PROCESS, _IOPRIO_WHO_PROCESS = 0, 1  # linux/resource.h, linux/ioprio.h
_UNIX, _INET, _INET6, _NETLINK = 1, 2, 10, 16  # address families
_PLAIN_PROTOCOLS = (
    0,
    1,
    6,
    17,
    58,
)  # the default, ICMP, TCP, UDP, ICMPv6; no MPTCP, SCTP, SMC
LOCAL, LOOPBACK = (
    "local",
    "loopback",
)  # which sockets there are: AF_UNIX only; also plain ones of an empty network


@dataclass(frozen=True)
class FilterPolicy:
    """What else holds a candidate, and so needs no filter, or needs one."""

    sockets: str = ""  # LOCAL, LOOPBACK; empty: all
    ipc: bool = False  # whether it has an IPC namespace of its own
    ptrace: bool = True  # whether it cannot look into processes outside; debuggers and sanitizers need that inside
    counters: bool = (
        True  # whether it may have the performance counters of its own processes
    )


@dataclass(frozen=True)
class Rule:
    """A call, and for which values of its first arguments it is allowed; refused with an error for all others."""

    call: str
    error: int
    allowed: tuple[
        tuple[tuple[int, ...], tuple[int, ...]], ...
    ] = ()  # pairs of values for arguments 0 and 1 or 2
    second: int = 1  # which argument the second of a pair is for
    but: int | None = (
        None  # allowed for all values of one argument but this: of the first
    )


def rules_for(held: FilterPolicy, pid: int) -> list[Rule]:
    """Return the rules for a process with this id: it may name itself by it, or by 0."""
    own = (0, pid)
    rules = [Rule(call, errno.ENOSYS) for call in (*_KEYRINGS, *_RINGS)]
    rules += [Rule(call, errno.EPERM) for call in ("bpf", "userfaultfd")]
    for call in (
        "prlimit64",
        "sched_setaffinity",
        "sched_setscheduler",
        "sched_setparam",
        "sched_setattr",
    ):
        rules.append(Rule(call, errno.EPERM, ((own, ()),)))
    rules.append(Rule("setpriority", errno.EPERM, (((_PRIO_PROCESS,), own),)))
    rules.append(Rule("ioprio_set", errno.EPERM, (((_IOPRIO_WHO_PROCESS,), own),)))
    rules.append(Rule("prctl", errno.EPERM, but=_PR_SET_DUMPABLE))
    refused = [] if held.ipc else [*_SYSTEM_V, *_QUEUES]
    refused += [] if held.ptrace else _INTO_OTHERS
    refused += [] if held.counters else ["perf_event_open"]
    return [
        *rules,
        *(Rule(call, errno.EPERM) for call in refused),
        *_socket_rules(held.sockets),
    ]


def _socket_rules(sockets: str) -> list[Rule]:
    """Return which sockets may be made; EACCES is what socket(2) says of those that may not."""
    if not sockets:
        return []
    allowed: list[tuple[tuple[int, ...], tuple[int, ...]]] = [((_UNIX,), ())]
    if sockets == LOOPBACK:
        allowed += [((_INET, _INET6), _PLAIN_PROTOCOLS), ((_NETLINK,), ())]
    return [
        Rule("socket", errno.EACCES, tuple(allowed), second=2),
        Rule("socketpair", errno.EACCES, (((_UNIX,), ()),)),
    ]


def has_filter_for_machine() -> bool:
    """Whether the calls of this processor are known here; whether its kernel takes filters is seen by trying."""
    return os.uname().machine in _ARCHITECTURES and struct.calcsize("P") == 8


def install_filter(held: FilterPolicy) -> None:
    """Refuse this process, and all that it starts, what another wall does not hold, for ever.

    It must have called prctl(PR_SET_NO_NEW_PRIVS). Raises OSError when the kernel refuses the filter.
    """
    machine = os.uname().machine
    code = program(machine, rules_for(held, os.getpid()))
    filled = ctypes.create_string_buffer(code, len(code))
    header = _Program(len(code) // _INSTRUCTION.size, ctypes.addressof(filled))
    set_it = libc().prctl(
        _PR_SET_SECCOMP, ctypes.c_ulong(_MODE_FILTER), ctypes.byref(header), 0, 0
    )
    checked(set_it, "prctl(PR_SET_SECCOMP)")


class _Program(ctypes.Structure):
    _fields_ = (("length", ctypes.c_ushort), ("filter", ctypes.c_void_p))


def program(machine: str, rules: Iterable[Rule]) -> bytes:
    """Return the filter as bytes. Each rule is a block that is skipped unless the call is its own.

    A foreign architecture and x32 are refused first: their numbers mean other calls.
    """
    words = _NUMBERS[machine].split()
    numbers = dict(zip(words[::2], map(int, words[1::2]), strict=True))
    refuse = _ERRNO | errno.ENOSYS
    steps = [
        (_LOAD, 0, 0, _ARCHITECTURE),
        (_EQUAL, 1, 0, _ARCHITECTURES[machine]),
        (_RETURN, 0, 0, refuse),
        (_LOAD, 0, 0, _NUMBER),
        (_AT_LEAST, 0, 1, _X32),
        (_RETURN, 0, 0, refuse),
    ]
    for rule in rules:
        block = _block(rule)
        steps += [(_EQUAL, 0, len(block), numbers[rule.call]), *block]
    steps.append((_RETURN, 0, 0, _ALLOW))
    return b"".join(_INSTRUCTION.pack(*step) for step in steps)


def _block(rule: Rule) -> list[tuple[int, int, int, int]]:
    """Return the steps that decide about one call; each way through them ends in a return."""
    refuse, allow = (_RETURN, 0, 0, _ERRNO | rule.error), (_RETURN, 0, 0, _ALLOW)
    if rule.but is not None:
        return [(_LOAD, 0, 0, _ARGUMENTS), (_EQUAL, 0, 1, rule.but), refuse, allow]
    steps: list[tuple[int, int, int, int]] = []
    for firsts, seconds in rule.allowed:
        inner = [allow]
        if seconds:
            inner = [
                (_LOAD, 0, 0, _ARGUMENTS + 8 * rule.second),
                *_if_any(seconds, [allow]),
            ]
        steps += [(_LOAD, 0, 0, _ARGUMENTS), *_if_any(firsts, inner)]
    return [*steps, refuse]


def _if_any(
    values: tuple[int, ...], then: list[tuple[int, int, int, int]]
) -> list[tuple[int, int, int, int]]:
    """Return steps that go through `then` when what was loaded is one of the values, and else past it."""
    last = len(values) - 1
    tests = [(_EQUAL, last - place, 0, value) for place, value in enumerate(values)]
    tests[-1] = (_EQUAL, 0, len(then), values[-1])
    return [*tests, *then]
