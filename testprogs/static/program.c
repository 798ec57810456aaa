/* The same program as static-pie, as a static program at a fixed address, and that one stripped.
   With an argument it writes through a null pointer. */
#include <stdio.h>
#include <string.h>

int main(int argc, char **argv)
{
    setvbuf(stdout, NULL, _IOLBF, 0);
    if (argc > 1)
        *(volatile char *)argv[argc] = 1; /* break: crash */
    printf("static %zu\n", strlen(argv[0]) * 0 + (size_t)argc); /* break: main */
    return 0;
}
