/* Optimized, so that a call in a return statement becomes a jump. */
#include <string.h>

#include "shapes.h"

struct parcel {
    int count;
    int *first;
    long room[4];
};

int undefined_feature(int value) __attribute__((weak));
int deliver(struct parcel parcel);

__attribute__((weak)) int setting(int value)
{
    return value;
}

int ask(int value)
{
    return setting(value) + 1;
}

int tail(int value)
{
    return undefined_feature(value);
}

int wide(unsigned size)
{
    volatile char array[size];

    array[0] = 1;
    return array[0] + array[size - 1];
}

int ping(long depth)
{
    volatile long own = depth;
    return pong(own + 1) + (int)own;
}

int rename_it(void)
{
    char *volatile name = "a name";

    strcpy(name, "x");
    return name[0];
}

int send_copy(void)
{
    struct parcel parcel = {0};
    struct parcel *volatile kept = &parcel;

    kept->count = 1;
    return deliver(parcel) + kept->count;
}
