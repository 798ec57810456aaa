/* Calls abs() and labs() lazily, and qsort(), which calls back. */
#include <stdio.h>
#include <stdlib.h>

static int compare(const void *a, const void *b)
{
    return abs(*(const int *)a) - abs(*(const int *)b);
}

int main(void)
{
    int numbers[] = { 3, -2, 1 };
    setvbuf(stdout, NULL, _IOLBF, 0);
    printf("start\n"); /* break: start */
    qsort(numbers, 3, sizeof *numbers, compare);
    printf("%d %d %ld\n", numbers[0], abs(-5), labs(-7L));
    printf("loaded\n"); /* break: loaded */
    return 0;
}
