/* Opens argv[1] (libv.so beside it otherwise), says "ready" and waits for a line: the test replaces
   or deletes the library meanwhile. With a second argument it crashes afterwards. */
#include <dlfcn.h>
#include <stdio.h>
#include <stdlib.h>

int main(int argc, char **argv)
{
    char line[16];

    setvbuf(stdout, NULL, _IOLBF, 0);
    void *handle = dlopen(argc > 1 ? argv[1] : "libv.so", RTLD_LAZY);
    int (*version)(void) = handle == NULL ? NULL : (int (*)(void))dlsym(handle, "library_version");
    if (version == NULL) {
        fprintf(stderr, "host: %s\n", dlerror());
        return 2;
    }
    printf("ready\n"); /* break: ready */
    if (fgets(line, sizeof line, stdin) == NULL)
        printf("no line\n");
    printf("version %d\n", version()); /* break: done */
    if (argc > 2)
        abort();
    return 0;
}
