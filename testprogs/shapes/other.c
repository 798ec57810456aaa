/* The other side of libplugin.so's calls. */
#include "shapes.h"

struct parcel {
    long count; /* an int in libplugin.so: all members are where they are there */
    int *first;
    long room[4];
};

int deliver(struct parcel parcel);

static int (*volatile handler)(int value);

int call_back(int value)
{
    return handler(value);
}

int pong(long depth)
{
    volatile long own = depth;
    return ping(own + 1) + (int)own;
}

int deliver(struct parcel parcel)
{
    return *parcel.first;
}
