/* The host of every scenario that needs nothing but "load one plugin and run it":
   it dlopens LIBRARY (libplugin.so beside it unless argv[1] names another) and calls its plugin_run. */
#include <dlfcn.h>
#include <stdio.h>

int main(int argc, char **argv)
{
    const char *library = argc > 1 ? argv[1] : "libplugin.so";

    setvbuf(stdout, NULL, _IOLBF, 0);
    void *handle = dlopen(library, RTLD_LAZY);
    if (handle == NULL) {
        fprintf(stderr, "host: %s\n", dlerror());
        return 2;
    }
    int (*run)(void) = (int (*)(void))dlsym(handle, "plugin_run");
    if (run == NULL) {
        fprintf(stderr, "host: %s\n", dlerror());
        return 2;
    }
    printf("loaded %s\n", library); /* break: loaded */
    int status = run();
    printf("plugin_run returned %d\n", status); /* break: returned */
    return status;
}
