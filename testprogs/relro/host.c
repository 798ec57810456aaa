/* Opens the same library four times over: full, partial and no RELRO, the last also without laziness. */
#include <dlfcn.h>
#include <stdio.h>

int main(void)
{
    static const char *const libraries[] = {
        "libfull.so", "libpartial.so", "libnone.so", "libnonenow.so",
    };

    setvbuf(stdout, NULL, _IOLBF, 0);
    for (unsigned i = 0; i < sizeof libraries / sizeof *libraries; i++) {
        void *handle = dlopen(libraries[i], RTLD_LAZY);
        int (*called)(void) = handle == NULL ? NULL : (int (*)(void))dlsym(handle, "called");
        if (called == NULL) {
            fprintf(stderr, "host: %s\n", dlerror());
            return 2;
        }
        printf("%s %d\n", libraries[i], called());
    }
    printf("loaded\n"); /* break: loaded */
    return 0;
}
