/* Opens two libraries that hold only data. */
#include <dlfcn.h>
#include <stdio.h>

int main(void)
{
    setvbuf(stdout, NULL, _IOLBF, 0);
    void *data = dlopen("libdata.so", RTLD_LAZY);
    void *pointers = dlopen("libpointers.so", RTLD_LAZY);
    if (data == NULL || pointers == NULL) {
        fprintf(stderr, "host: %s\n", dlerror());
        return 2;
    }
    const int *table = dlsym(data, "data_table");
    const char *const *text = dlsym(pointers, "pointers_public");
    printf("%d %s\n", table[3], text[0]); /* break: loaded */
    return 0;
}
