/* Audit modules for LD_AUDIT. With nothing defined: watches every binding and changes none.
   HOOK: binds abs() to a function of its own. PLTENTER: wants to see each call as well, so ld.so
   never fills the slots. */
#define _GNU_SOURCE
#include <link.h>
#include <stdint.h>
#include <string.h>

unsigned int la_version(unsigned int version)
{
    return version;
}

unsigned int la_objopen(struct link_map *map, Lmid_t lmid, uintptr_t *cookie)
{
    (void)map, (void)lmid, (void)cookie;
    return LA_FLG_BINDTO | LA_FLG_BINDFROM;
}

#ifdef HOOK
static int hook(int number)
{
    return number + 1000;
}
#endif

uintptr_t la_symbind64(Elf64_Sym *symbol, unsigned int index, uintptr_t *from, uintptr_t *to,
                       unsigned int *flags, const char *name)
{
    (void)index, (void)from, (void)to, (void)flags, (void)name;
#ifdef HOOK
    if (strcmp(name, "abs") == 0)
        return (uintptr_t)hook;
#endif
    return symbol->st_value;
}

#ifdef PLTENTER
#ifdef __x86_64__
Elf64_Addr la_x86_64_gnu_pltenter(Elf64_Sym *symbol, unsigned int index, uintptr_t *from,
                                  uintptr_t *to, La_x86_64_regs *registers, unsigned int *flags,
                                  const char *name, long int *size)
#else
Elf64_Addr la_aarch64_gnu_pltenter(Elf64_Sym *symbol, unsigned int index, uintptr_t *from,
                                   uintptr_t *to, La_aarch64_regs *registers,
                                   unsigned int *flags, const char *name, long int *size)
#endif
{
    (void)index, (void)from, (void)to, (void)registers, (void)flags, (void)name, (void)size;
    return symbol->st_value;
}
#endif
