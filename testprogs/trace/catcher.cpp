// Catches what comes out of a dlopen, and opens the next library from deeper on the stack.
#include <cstdio>
#include <dlfcn.h>

// dlfcn.h declares that dlopen throws nothing, and what throws all the same ends the program
static void *(*volatile may_throw)(const char *, int) = dlopen;

static void deeper(int levels)
{
    volatile char room[256] = {0};

    if (levels > 0)
        deeper(levels - 1);
    else
        std::printf("open libleaf.so %d\n", dlopen("libleaf.so", RTLD_NOW) != nullptr);
    room[0] = room[1];
}

int main()
{
    std::setvbuf(stdout, nullptr, _IOLBF, 0);
    try {
        may_throw("libthrower.so", RTLD_NOW);
    } catch (int number) {
        std::printf("caught %d\n", number);
    }
    deeper(3);
    std::printf("end\n"); /* break: caught */
    return 0;
}
