/* Reads a mapped page of a file that has become shorter. */
#include <stdio.h>
#include <sys/mman.h>
#include <unistd.h>

#define SIZE 65536L /* a multiple of every page size in use */

int plugin_run(void);

int plugin_run(void)
{
    FILE *file = tmpfile();
    if (file == NULL || ftruncate(fileno(file), SIZE) != 0)
        return 2;
    const volatile char *bytes = mmap(NULL, SIZE, PROT_READ, MAP_SHARED, fileno(file), 0);
    if (bytes == MAP_FAILED || bytes[0] != 0 || ftruncate(fileno(file), 0) != 0)
        return 2;
    return bytes[1]; /* break: crash */
}
