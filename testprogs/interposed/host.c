/* The program's length_of wins over the plugin's. */
#include <dlfcn.h>
#include <stdio.h>

int length_of(const char *const *text);

int length_of(const char *const *text)
{
    int count = 0;
    while ((*text)[count] != 0)
        count++;
    return count;
}

int main(void)
{
    const char *own = "four";
    void *handle = dlopen("libplugin.so", RTLD_LAZY);
    int (*run)(void) = handle != NULL ? (int (*)(void))dlsym(handle, "plugin_run") : NULL;
    if (run == NULL)
        return 2;
    printf("%d\n", length_of(&own));
    fflush(stdout);
    return run() != 1;
}
