"""Confine a process: limit its memory, forbid network and writing.

The kernel holds the limits, whatever runs in the process later: Linux by RLIMIT_DATA and by
seccomp, which libseccomp and pyseccomp make. Elsewhere `confine` says what is missing.
"""

import ctypes
import errno
import os
import resource
import sys
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

_PROCESSES = """
socket socketpair connect bind listen accept accept4 execve execveat fork vfork kill tkill
pidfd_open pidfd_send_signal
rt_sigqueueinfo rt_tgsigqueueinfo ptrace process_vm_readv process_vm_writev kcmp
"""
"""Calls that reach the network and other processes."""
_FILES = """
creat truncate rename renameat renameat2 link linkat symlink symlinkat unlink unlinkat mkdir
mkdirat rmdir mknod mknodat
chmod fchmod fchmodat fchmodat2 chown fchown lchown fchownat setxattr lsetxattr fsetxattr
removexattr lremovexattr
fremovexattr utime utimes utimensat futimesat
"""
"""Calls that make, remove or change a file by its name; opening one to write is looked at by its
arguments."""
_SYSTEM = """
mount umount2 pivot_root chroot unshare setns bpf perf_event_open userfaultfd keyctl add_key
request_key io_uring_setup
io_uring_enter io_uring_register setrlimit ioperm iopl init_module finit_module kexec_load reboot
"""
"""Calls that change the system, or lead around these lists."""
_UNKNOWN = ("openat2", "clone3")
"""Calls whose arguments seccomp cannot see: as if the kernel had none, so that the older ones are
used instead."""
_CLONE_THREAD = 0x10000
_STACK = 1 << 20


def confine(memory: int) -> list[str]:
    """Confine this process and all its threads for good.

    Args:
        memory: Bytes that it may allocate.

    Returns:
        What could not be taken away, one line each; nothing where all is well.
    """
    notes = []
    _small_stacks()
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    if sys.platform == "linux":  # others have the name, and do not count what is mapped
        _, most = resource.getrlimit(resource.RLIMIT_DATA)
        memory = memory if most == resource.RLIM_INFINITY else min(memory, most)
        resource.setrlimit(resource.RLIMIT_DATA, (memory, memory))
    else:
        notes.append("this system does not limit the player's memory")
    try:
        _forbid()
    except (ImportError, OSError, RuntimeError) as error:
        why = (
            "pyseccomp is not installed"
            if isinstance(error, ModuleNotFoundError)
            else str(error) or "no seccomp"
        )
        notes.append(
            "packages are decoded in a process that is not kept from the network and from "
            f"files ({why})"
        )
    return notes


def _small_stacks() -> None:
    """Let threads have stacks of 1 MiB. RLIMIT_DATA counts all of a stack, and some twenty threads
    have 8 MiB each."""
    with suppress(AttributeError):  # of a C library other than glibc
        libc, attributes = ctypes.CDLL(None), ctypes.create_string_buffer(256)
        libc.pthread_attr_init(attributes)
        libc.pthread_attr_setstacksize(attributes, ctypes.c_size_t(_STACK))
        libc.pthread_setattr_default_np(attributes)


@contextmanager
def limited(more: int) -> Iterator[None]:
    """Within the block, this process may allocate so many bytes beyond what it has; on Linux."""
    held = _data()
    if held is None:
        yield
        return
    before, most = resource.getrlimit(resource.RLIMIT_DATA)
    allowed = held + more
    if before != resource.RLIM_INFINITY:
        allowed = min(allowed, before)
    resource.setrlimit(resource.RLIMIT_DATA, (allowed, most))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_DATA, (before, most))


def _data() -> int | None:
    """Bytes that RLIMIT_DATA counts of this process; None where the kernel does not tell."""
    try:
        lines = Path("/proc/self/status").read_text(encoding="utf-8").splitlines()
    except OSError:
        return None
    return next((int(line.split()[1]) << 10 for line in lines if line.startswith("VmData")), None)


def _forbid() -> None:
    """Load the filter. Raises ImportError without pyseccomp, RuntimeError without libseccomp,
    OSError as the kernel."""
    if sys.platform != "linux":
        raise OSError("Linux alone has seccomp")
    import pyseccomp as seccomp

    refused = seccomp.ERRNO(errno.EPERM)
    rules = seccomp.SyscallFilter(seccomp.ALLOW)
    rules.set_attr(seccomp.Attr.CTL_TSYNC, True)
    for name in f"{_PROCESSES} {_FILES} {_SYSTEM}".split():
        _add(rules, refused, name)
    for name in _UNKNOWN:
        _add(rules, seccomp.ERRNO(errno.ENOSYS), name)
    for name, flags in (("open", 1), ("openat", 2)):
        for mask, value in (
            (os.O_ACCMODE, os.O_WRONLY),
            (os.O_ACCMODE, os.O_RDWR),
            (os.O_CREAT, os.O_CREAT),
            (os.O_TRUNC, os.O_TRUNC),
        ):
            _add(rules, refused, name, seccomp.Arg(flags, seccomp.MASKED_EQ, mask, value))
    # A process, and no thread
    _add(rules, refused, "clone", seccomp.Arg(0, seccomp.MASKED_EQ, _CLONE_THREAD, 0))
    # abort() sends itself a signal
    _add(rules, refused, "tgkill", seccomp.Arg(0, seccomp.NE, os.getpid()))
    _add(rules, refused, "prlimit64", seccomp.Arg(2, seccomp.NE, 0))
    rules.load()


def _add(rules: Any, action: int, name: str, *arguments: Any) -> None:
    """Add a rule; a processor or a libseccomp that does not know a call has none to forbid."""
    try:
        rules.add_rule(action, name, *arguments)
    except (OSError, ValueError, RuntimeError) as error:
        if getattr(error, "errno", errno.EINVAL) not in (
            errno.EINVAL,
            errno.EFAULT,
            errno.ENOENT,
            errno.EDOM,
        ):
            raise
