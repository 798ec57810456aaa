/* Needs both libraries, and calls into them. */
#include <stdio.h>

int sum_of_locals(void);
int by_call(void);
int by_address(void);
int by_data(void);

int main(void)
{
    setvbuf(stdout, NULL, _IOLBF, 0);
    printf("%d %d %d %d\n", sum_of_locals(), by_call(), by_address(), by_data());
    printf("loaded\n"); /* break: loaded */
    return 0;
}
