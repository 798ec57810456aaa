/* Calls a library that uses the heap, both built with AddressSanitizer. dlopen is the sanitizer's
   own there, so the library is needed, not opened: RUNPATH would be libasan's. */
#include <stdio.h>
#include <stdlib.h>

char *plugin_run(const char *text);

int main(void)
{
    setvbuf(stdout, NULL, _IOLBF, 0);
    char *text = plugin_run("four");
    printf("%s\n", text);
    free(text);
    printf("loaded\n"); /* break: loaded */
    return 0;
}
