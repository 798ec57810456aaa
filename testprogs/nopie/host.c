/* A program at a fixed address: it copies the library's variable (a COPY relocation) and gives the
   library's function a canonical address in its own PLT. */
#include <stdio.h>

extern int library_counter;
int library_bump(void);
int library_sees(int (*function)(void));

int main(void)
{
    setvbuf(stdout, NULL, _IOLBF, 0);
    library_bump();
    printf("counter %d\n", library_counter);
    printf("same address %d\n", library_sees(library_bump)); /* break: loaded */
    return 0;
}
