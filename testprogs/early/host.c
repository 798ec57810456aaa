/* Needs libregistry.so and libclient.so, in that order: ld.so runs the last one's constructor first. */
#include <stdio.h>

int main(void)
{
    printf("started\n");
    return 0;
}
