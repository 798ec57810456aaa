/* Copies a library into a memfd and opens it from there; with an argument it aborts then. GDB 13 itself can block for ever on such a
   name (/proc/self/fd/3 is another file in GDB), unless `set sysroot` names a folder without it. */
#define _GNU_SOURCE
#include <dlfcn.h>
#include <libgen.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

static int copy_to_memfd(const char *path)
{
    char bytes[4096];
    size_t count;
    FILE *file = fopen(path, "rb");
    int memory = memfd_create("library", 0);

    if (file == NULL || memory < 0)
        return -1;
    while ((count = fread(bytes, 1, sizeof bytes, file)) > 0)
        if (write(memory, bytes, count) != (ssize_t)count)
            return -1;
    fclose(file);
    return memory;
}

int main(int argc, char **argv)
{
    char program[PATH_MAX], path[PATH_MAX + 32], name[64];

    setvbuf(stdout, NULL, _IOLBF, 0);
    snprintf(program, sizeof program, "%s", argv[0]);
    snprintf(path, sizeof path, "%s/libplugin.so", dirname(program));
    int memory = copy_to_memfd(path);
    snprintf(name, sizeof name, "/proc/self/fd/%d", memory);
    void *handle = dlopen(name, RTLD_LAZY);
    int (*run)(void) = handle == NULL ? NULL : (int (*)(void))dlsym(handle, "plugin_run");
    if (run == NULL) {
        fprintf(stderr, "host: %s\n", dlerror());
        return 2;
    }
    int status = run();
    printf("returned %d\n", status); /* break: loaded */
    if (argc > 1)
        abort();
    return status;
}
