/* Binds a plugin's lazy slot in a thread of its own, overwrites it, and unloads the plugin; then all
   of that once more with the plugin bound at once. */
#define _GNU_SOURCE
#include <dlfcn.h>
#include <link.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

typedef int (*function)(void);

static function plugin_run;

static void *find(void *handle, const char *name)
{
    void *found = handle == NULL ? NULL : dlsym(handle, name);
    if (found == NULL) {
        fprintf(stderr, "host: %s\n", dlerror());
        exit(2);
    }
    return found;
}

/* The GOT slot through which the library calls `name`, by its own DT_JMPREL. */
static void **slot_of(void *handle, const char *name)
{
    struct link_map *map;
    const ElfW(Rela) *relocations = NULL;
    const ElfW(Sym) *symbols = NULL;
    const char *strings = NULL;
    size_t size = 0;

    if (dlinfo(handle, RTLD_DI_LINKMAP, &map) != 0)
        exit(2);
    for (const ElfW(Dyn) *entry = map->l_ld; entry->d_tag != DT_NULL; entry++) {
        if (entry->d_tag == DT_JMPREL)
            relocations = (const ElfW(Rela) *)entry->d_un.d_ptr;
        if (entry->d_tag == DT_PLTRELSZ)
            size = entry->d_un.d_val;
        if (entry->d_tag == DT_SYMTAB)
            symbols = (const ElfW(Sym) *)entry->d_un.d_ptr;
        if (entry->d_tag == DT_STRTAB)
            strings = (const char *)entry->d_un.d_ptr;
    }
    for (size_t i = 0; i < size / sizeof *relocations; i++)
        if (strcmp(strings + symbols[ELF64_R_SYM(relocations[i].r_info)].st_name, name) == 0)
            return (void **)(map->l_addr + relocations[i].r_offset);
    exit(2);
}

static void *work(void *argument)
{
    *(int *)argument = plugin_run();
    return NULL;
}

static int run_in_thread(void)
{
    pthread_t thread;
    int result = 0;
    pthread_create(&thread, NULL, work, &result);
    pthread_join(thread, NULL);
    return result;
}

static void overwrite(void **slot, void *value)
{
    *slot = value; /* break: overwriting */
}

static void cycle(int flags)
{
    void *handle = dlopen("libplugin.so", flags | RTLD_LOCAL);
    plugin_run = (function)find(handle, "plugin_run");
    void **slot = slot_of(handle, "abs");
    printf("opened\n"); /* break: opened */
    printf("%d\n", run_in_thread());
    void *right = *slot;
    printf("called\n"); /* break: called */
    overwrite(slot, (void *)labs);
    overwrite(slot, right);
    dlclose(handle);
    printf("closed\n"); /* break: closed */
}

int main(void)
{
    setvbuf(stdout, NULL, _IOLBF, 0);
    printf("start\n"); /* break: start */
    cycle(RTLD_LAZY);
    cycle(RTLD_NOW);
    printf("loaded\n"); /* break: loaded */
    return 0;
}
