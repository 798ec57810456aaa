"""Which kinds of relocation look symbols up as calls do: undefined ones do not count then."""

from __future__ import annotations

from gdbext.elf.arch import JUMP_SLOT
from gdbext.linker.tls.tlsslots import TLS_KINDS

# glibc, sysdeps/{x86_64,aarch64}/dl-machine.h, elf_machine_type_class; musl: JUMP_SLOT alone,
# and its rule for TLS symbols comes to the same
PLT_KINDS = TLS_KINDS | {JUMP_SLOT}
