/* Writes another function's address into its own GOT slot for `target` and calls that. */
#define _GNU_SOURCE
#include <dlfcn.h>
#include <elf.h>
#include <link.h>
#include <string.h>

int plugin_run(void);
int target(int *value);
int stranger(int *value);

static ElfW(Addr) entry(const struct link_map *map, ElfW(Sxword) tag)
{
    for (const ElfW(Dyn) *one = map->l_ld; one->d_tag != DT_NULL; one++)
        if (one->d_tag == tag)
            return one->d_un.d_ptr < map->l_addr && tag != DT_PLTRELSZ ? one->d_un.d_ptr + map->l_addr
                                                                       : one->d_un.d_ptr;
    return 0;
}

int plugin_run(void)
{
    Dl_info info;
    struct link_map *map;

    if (dladdr1((void *)plugin_run, &info, (void **)&map, RTLD_DL_LINKMAP) == 0)
        return 2;
    const ElfW(Rela) *rows = (const void *)entry(map, DT_JMPREL);
    const ElfW(Sym) *symbols = (const void *)entry(map, DT_SYMTAB);
    const char *names = (const void *)entry(map, DT_STRTAB);
    void *other = dlsym(RTLD_DEFAULT, "stranger");
    for (size_t i = 0; i < entry(map, DT_PLTRELSZ) / sizeof *rows; i++)
        if (strcmp(names + symbols[ELF64_R_SYM(rows[i].r_info)].st_name, "target") == 0)
            *(void **)(map->l_addr + rows[i].r_offset) = other;
    return target(NULL); /* break: call */
}
