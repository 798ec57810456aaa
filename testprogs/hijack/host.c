/* Everything that a hijack could touch, in a healthy state: a test overwrites it from outside. */
#define _GNU_SOURCE
#include <dlfcn.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/mman.h>

int twin(void);

typedef int (*function)(void);

void *heap, *mapped;

static void *open_plugin(const char *name)
{
    void *handle = dlopen(name, RTLD_LAZY | RTLD_LOCAL);
    if (handle == NULL) {
        fprintf(stderr, "host: %s\n", dlerror());
        exit(2);
    }
    return handle;
}

static int call(void *handle, const char *name)
{
    function found = (function)dlsym(handle, name);
    return found == NULL ? -1 : found();
}

int main(void)
{
    setvbuf(stdout, NULL, _IOLBF, 0);
    heap = malloc(64);
    mapped = mmap(NULL, 4096, PROT_READ | PROT_WRITE | PROT_EXEC, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    void *plugin = open_plugin("libplugin.so");
    open_plugin("libstranger.so");
    printf("%d %d\n", twin(), call(plugin, "plugin_run"));
    printf("%d\n", call(open_plugin("libifunc.so"), "sum_of_locals"));
    printf("%d\n", call(open_plugin("libtlsgd.so"), "touch_gd"));
    printf("%d\n", call(open_plugin("libtlsie.so"), "touch_ie"));
    printf("%d\n", call(open_plugin("libtlsdesc.so"), "touch_desc"));
    printf("loaded\n"); /* break: loaded */
    return 0;
}
