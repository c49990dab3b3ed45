"""Seccomp: a filter of system calls, for what Landlock, namespaces and limits leave open.

The program of the filter is written here, as classic BPF, because no library for it is there
wherever Landlock is: pyseccomp had its last release in 2021 and needs libseccomp.so, which many
images lack, and bubblewrap's `--seccomp` takes a program that is compiled already. It is short: it
looks at the number of a call and at the lower halves of two arguments, which is all that the kernel
itself takes of a process id, a socket family or an option.

A refused call fails with an error number, so that programs that can do without it go on. Sources:
seccomp(2), linux/seccomp.h, linux/filter.h, linux/audit.h.
"""

from __future__ import annotations

import ctypes
import errno
import os
import struct
from collections.abc import Iterable
from dataclasses import dataclass

from .libc import PR_SET_SECCOMP, checked, libc

_SECCOMP_MODE_FILTER = 2
_ALLOW, _ERRNO = 0x7FFF0000, 0x00050000  # SECCOMP_RET_*
_LOAD = 0x20  # BPF_LD | BPF_W | BPF_ABS
_EQUAL = 0x15  # BPF_JMP | BPF_JEQ | BPF_K
_AT_LEAST = 0x35  # BPF_JMP | BPF_JGE | BPF_K
_RETURN = 0x06  # BPF_RET | BPF_K
_NUMBER, _ARCHITECTURE, _ARGUMENTS = 0, 4, 16  # offsets in struct seccomp_data
_ARGUMENT_BYTES = 8
_INSTRUCTION = struct.Struct("HBBI")  # code, jump if true, jump if false, operand
_X32 = 0x40000000  # the bit of calls of x86-64 with pointers of 32 bits
_Step = tuple[int, int, int, int]  # of a program; the jumps count steps
_Values = tuple[int, ...]
_Pair = tuple[_Values, _Values]  # allowed values of two arguments

# AUDIT_ARCH_*, and the numbers of unistd.h, by what os.uname() says.
_ARCHITECTURES = {"x86_64": 0xC000003E, "aarch64": 0xC00000B7}
_NUMBERS = {
    "x86_64": """
        socket 41 socketpair 53 shmget 29 shmat 30 shmctl 31 semget 64 semop 65 semctl 66
        semtimedop 220 msgget 68 msgsnd 69 msgrcv 70 msgctl 71 ptrace 101 setpriority 141
        sched_setparam 142 sched_setscheduler 144 prctl 157 sched_setaffinity 203 mq_open 240
        mq_unlink 241 add_key 248 request_key 249 keyctl 250 ioprio_set 251 perf_event_open 298
        prlimit64 302 process_vm_readv 310 process_vm_writev 311 sched_setattr 314 bpf 321
        userfaultfd 323 io_uring_setup 425 io_uring_enter 426 io_uring_register 427
        pidfd_getfd 438
    """,
    "aarch64": """
        socket 198 socketpair 199 shmget 194 shmat 196 shmctl 195 semget 190 semop 193 semctl 191
        semtimedop 192 msgget 186 msgsnd 189 msgrcv 188 msgctl 187 ptrace 117 setpriority 140
        sched_setparam 118 sched_setscheduler 119 prctl 167 sched_setaffinity 122 mq_open 180
        mq_unlink 181 add_key 217 request_key 218 keyctl 219 ioprio_set 30 perf_event_open 241
        prlimit64 261 process_vm_readv 270 process_vm_writev 271 sched_setattr 274 bpf 280
        userfaultfd 282 io_uring_setup 425 io_uring_enter 426 io_uring_register 427
        pidfd_getfd 438
    """,
}

_KEYRINGS = ("add_key", "request_key", "keyctl")
# io_uring acts without system calls that a filter would see.
_RINGS = ("io_uring_setup", "io_uring_enter", "io_uring_register")
_SYSTEM_V = (
    *("shmget", "shmat", "shmctl", "semget", "semop", "semtimedop", "semctl"),
    *("msgget", "msgsnd", "msgrcv", "msgctl"),
)
_QUEUES = ("mq_open", "mq_unlink")
_INTO_OTHERS = ("ptrace", "process_vm_readv", "process_vm_writev", "pidfd_getfd")
_ON_PROCESS_ID = (  # their first argument is the id of a process
    "prlimit64",
    "sched_setaffinity",
    "sched_setscheduler",
    "sched_setparam",
    "sched_setattr",
)
# A process that clears it hides its open files from the accounting.
_PR_SET_DUMPABLE = 4
_PRIO_PROCESS, _IOPRIO_WHO_PROCESS = 0, 1  # linux/resource.h, linux/ioprio.h
_UNIX, _INET, _INET6, _NETLINK = 1, 2, 10, 16  # address families
_ICMP, _TCP, _UDP, _ICMPV6 = 1, 6, 17, 58  # protocols; 0 is the default of a family
_PLAIN_PROTOCOLS = (0, _ICMP, _TCP, _UDP, _ICMPV6)  # no MPTCP, SCTP, SMC
LOCAL = "local"  # only AF_UNIX sockets
# Plain sockets too, in a network namespace with nothing but loopback.
LOOPBACK = "loopback"


@dataclass(frozen=True)
class FilterPolicy:
    """What other mechanisms leave to the filter."""

    sockets: str = ""  # which may be made: LOCAL, LOOPBACK; "" for all
    ipc: bool = False  # whether the candidate has an IPC namespace of its own
    # Whether Landlock keeps it from looking into processes outside. Inside its own, debuggers and
    # sanitizers need ptrace.
    ptrace: bool = True
    # Whether it may have performance counters of its own processes.
    counters: bool = True


@dataclass(frozen=True)
class Rule:
    """A system call, and for which values of its arguments it is allowed; else it fails."""

    call: str
    error: int  # with which it fails
    # Pairs of allowed values: for argument 0, and for argument `second`; () allows any value there.
    allowed: tuple[_Pair, ...] = ()
    second: int = 1
    but: int | None = None  # if set: allowed unless argument 0 has this value


def rules_for(policy: FilterPolicy, pid: int) -> list[Rule]:
    """Return the rules for the process with this id; it may name itself by the id, or by 0."""
    own = (0, pid)
    absent = [*_RINGS]
    absent += _KEYRINGS  # wall: no keyrings
    refused = ["bpf", "userfaultfd"]
    if not policy.ipc:
        refused += [*_SYSTEM_V, *_QUEUES]
    if not policy.ptrace:
        refused += _INTO_OTHERS
    if not policy.counters:
        refused.append("perf_event_open")
    return [
        *(Rule(call, errno.ENOSYS) for call in absent),
        *(Rule(call, errno.EPERM) for call in refused),
        *(Rule(call, errno.EPERM, ((own, ()),)) for call in _ON_PROCESS_ID),
        Rule("setpriority", errno.EPERM, (((_PRIO_PROCESS,), own),)),
        Rule("ioprio_set", errno.EPERM, (((_IOPRIO_WHO_PROCESS,), own),)),
        Rule("prctl", errno.EPERM, but=_PR_SET_DUMPABLE),
        *_socket_rules(policy.sockets),
    ]


def _socket_rules(sockets: str) -> list[Rule]:
    """Return the rules for sockets; EACCES is what socket(2) returns for forbidden kinds."""
    if not sockets:  # wall: sockets that stay here
        return []
    allowed: list[_Pair] = [((_UNIX,), ())]
    if sockets == LOOPBACK:
        allowed += [((_INET, _INET6), _PLAIN_PROTOCOLS), ((_NETLINK,), ())]
    return [
        Rule("socket", errno.EACCES, tuple(allowed), second=2),
        Rule("socketpair", errno.EACCES, (((_UNIX,), ()),)),
    ]


def has_filter_for_machine() -> bool:
    """Whether the system calls of this processor are known here; its kernel may still refuse."""
    return os.uname().machine in _ARCHITECTURES and struct.calcsize("P") == 8


def install_filter(policy: FilterPolicy) -> None:
    """Filter the system calls of this process, and of all that it starts, forever.

    It must have called `set_no_new_privileges`. Raises OSError when the kernel refuses the filter.
    """
    machine = os.uname().machine
    code = program(machine, rules_for(policy, os.getpid()))
    buffer = ctypes.create_string_buffer(code, len(code))
    header = _Program(len(code) // _INSTRUCTION.size, ctypes.addressof(buffer))
    mode = ctypes.c_ulong(_SECCOMP_MODE_FILTER)
    result = libc().prctl(PR_SET_SECCOMP, mode, ctypes.byref(header), 0, 0)
    checked(result, "prctl(PR_SET_SECCOMP)")


class _Program(ctypes.Structure):
    _fields_ = (("length", ctypes.c_ushort), ("filter", ctypes.c_void_p))


def program(machine: str, rules: Iterable[Rule]) -> bytes:
    """Return the filter as bytes. Each rule is a block that is skipped unless the call is its own.

    Other architectures of the same processor and x32 are refused first: they number calls
    otherwise.
    """
    words = _NUMBERS[machine].split()
    numbers: dict[str, int] = {}
    for name, number in zip(words[::2], words[1::2], strict=True):
        numbers[name] = int(number)
    refuse = (_RETURN, 0, 0, _ERRNO | errno.ENOSYS)
    steps: list[_Step] = [
        (_LOAD, 0, 0, _ARCHITECTURE),
        (_EQUAL, 1, 0, _ARCHITECTURES[machine]),
        refuse,  # wall: no calls of i386
        (_LOAD, 0, 0, _NUMBER),
        (_AT_LEAST, 0, 1, _X32),
        refuse,
    ]
    for rule in rules:
        block = _block(rule)
        steps.append((_EQUAL, 0, len(block), numbers[rule.call]))
        steps += block
    steps.append((_RETURN, 0, 0, _ALLOW))
    return b"".join(_INSTRUCTION.pack(*step) for step in steps)


def _block(rule: Rule) -> list[_Step]:
    """Return the steps that decide about one call; each way through them ends in a return."""
    refuse: _Step = (_RETURN, 0, 0, _ERRNO | rule.error)
    allow: _Step = (_RETURN, 0, 0, _ALLOW)
    load_first: _Step = (_LOAD, 0, 0, _ARGUMENTS)
    if rule.but is not None:
        return [load_first, (_EQUAL, 0, 1, rule.but), refuse, allow]
    load_second: _Step = (_LOAD, 0, 0, _ARGUMENTS + _ARGUMENT_BYTES * rule.second)
    steps: list[_Step] = []
    for firsts, seconds in rule.allowed:
        inner = [allow]
        if seconds:
            inner = [load_second, *_if_any(seconds, [allow])]
        steps += [load_first, *_if_any(firsts, inner)]
    return [*steps, refuse]


def _if_any(values: _Values, then: list[_Step]) -> list[_Step]:
    """Return steps that go through `then` if what was loaded is one of the values, else past it."""
    last = len(values) - 1
    tests: list[_Step] = []
    for index, value in enumerate(values):
        tests.append((_EQUAL, last - index, 0, value))
    tests[-1] = (_EQUAL, 0, len(then), values[-1])
    return [*tests, *then]
