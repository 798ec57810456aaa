/* Opens one plugin of each kind, calls some functions (their lazy slots become bound) and leaves
   others uncalled (theirs stay lazy). */
#include <dlfcn.h>
#include <stdio.h>
#include <stdlib.h>

#ifndef RTLD_DEEPBIND /* musl has none */
#define RTLD_DEEPBIND 0
#endif

static void *open_plugin(const char *name, int flags)
{
    void *handle = dlopen(name, flags);
    if (handle == NULL) {
        fprintf(stderr, "host: %s\n", dlerror());
        exit(2);
    }
    return handle;
}

static int call(void *handle, const char *name)
{
    int (*function)(void) = (int (*)(void))dlsym(handle, name);
    if (function == NULL) {
        fprintf(stderr, "host: %s\n", dlerror());
        exit(2);
    }
    return function();
}

int main(void)
{
    setvbuf(stdout, NULL, _IOLBF, 0);
    printf("start\n"); /* break: start */
    void *lazy = open_plugin("liblazy.so", RTLD_LAZY | RTLD_LOCAL);
    void *now = open_plugin("libnow.so", RTLD_NOW | RTLD_LOCAL);
    void *global = open_plugin("libglobal.so", RTLD_LAZY | RTLD_GLOBAL);
    void *late = open_plugin("liblate.so", RTLD_LAZY | RTLD_LOCAL);
    void *deep = open_plugin("libdeep.so", RTLD_LAZY | RTLD_LOCAL | RTLD_DEEPBIND);
    void *keep = open_plugin("libnodelete.so", RTLD_LAZY | RTLD_LOCAL | RTLD_NODELETE);
    void *gone = open_plugin("libgone.so", RTLD_LAZY | RTLD_LOCAL);
    open_plugin("liblazy.so", RTLD_LAZY | RTLD_LOCAL); /* the open count of liblazy.so becomes 2 */
    printf("opened\n"); /* break: opened */

    printf("lazy %d\n", call(lazy, "used"));
    printf("now %d\n", call(now, "used"));
    printf("global %d\n", call(global, "who"));
    printf("late %d\n", call(late, "late_calls_twin"));
    printf("deep %d\n", call(deep, "deep_calls_twin"));
    dlclose(keep);
    dlclose(gone);
    printf("loaded\n"); /* break: loaded */
    return 0;
}
