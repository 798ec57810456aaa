/* Calls that go astray, by argv[1]:
     pointer       a function pointer in libtarget.so's data holds an unmapped address
     noncanonical  the same, with an address that x86-64 cannot even jump to
     slot          the GOT slot of getpid in libtarget.so (partial RELRO) is overwritten with garbage
     redirect      that slot is overwritten with the address of a function of the host: no crash */
#define _GNU_SOURCE
#include <elf.h>
#include <link.h>
#include <dlfcn.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#define UNMAPPED 0x1badc0de0ul
#define NONCANONICAL 0xdeadbeefdeadbee0ul

extern int (*hook)(void);
int call_hook(void);
int call_getpid(void);
int impostor(void);

int impostor(void)
{
    return 1234567;
}

/* musl relocates no d_ptr in place and glibc does, except for the entries it never needs. */
static uintptr_t pointer_in(const struct link_map *map, uintptr_t value)
{
    return value < map->l_addr ? value + map->l_addr : value;
}

static uintptr_t *slot_of(const struct link_map *map, const char *name)
{
    const ElfW(Rela) *relocations = NULL;
    const ElfW(Sym) *symbols = NULL;
    const char *strings = NULL;
    size_t size = 0;

    for (const ElfW(Dyn) *entry = map->l_ld; entry->d_tag != DT_NULL; entry++) {
        uintptr_t pointer = pointer_in(map, entry->d_un.d_ptr);
        if (entry->d_tag == DT_JMPREL)
            relocations = (const void *)pointer;
        else if (entry->d_tag == DT_SYMTAB)
            symbols = (const void *)pointer;
        else if (entry->d_tag == DT_STRTAB)
            strings = (const void *)pointer;
        else if (entry->d_tag == DT_PLTRELSZ)
            size = entry->d_un.d_val;
    }
    for (size_t i = 0; i < size / sizeof *relocations; i++) {
        const ElfW(Sym) *symbol = &symbols[ELF64_R_SYM(relocations[i].r_info)];
        if (strcmp(strings + symbol->st_name, name) == 0)
            return (uintptr_t *)(map->l_addr + relocations[i].r_offset);
    }
    return NULL;
}

int main(int argc, char **argv)
{
    const char *mode = argc > 1 ? argv[1] : "pointer";
    uintptr_t *slot = NULL;

    setvbuf(stdout, NULL, _IOLBF, 0);
    struct link_map *map = dlopen("libtarget.so", RTLD_LAZY | RTLD_NOLOAD);
    if (map != NULL)
        slot = slot_of(map, "getpid");
    if (slot == NULL) {
        fprintf(stderr, "host: no slot\n");
        return 2;
    }
    printf("healthy %d\n", call_getpid() == getpid()); /* break: healthy */
    if (strcmp(mode, "pointer") == 0)
        hook = (int (*)(void))UNMAPPED;
    else if (strcmp(mode, "noncanonical") == 0)
        hook = (int (*)(void))NONCANONICAL;
    else if (strcmp(mode, "slot") == 0)
        *slot = UNMAPPED;
    else
        *slot = (uintptr_t)impostor;
    printf("planted %s\n", mode); /* break: planted */
    int result = call_getpid() + call_hook();
    printf("result %d\n", result);
    return 0;
}
