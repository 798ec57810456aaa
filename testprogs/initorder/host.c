/* Constructors of every kind: its own, of libraries that need each other, and of opened ones. */
#define _GNU_SOURCE
#include <dlfcn.h>
#include <stdlib.h>
#include "say.h"

extern int first(void), left(void);

/* libc is relocated by now, though none of its constructors has run. */
static void before_all(void)
{
    say("main's preinit"); /* break: preinit */
}
__attribute__((section(".preinit_array"), used)) static void (*const early[])(void) = {before_all};

__attribute__((constructor)) static void begin(void)
{
    say("main begins"); /* break: own */
}

__attribute__((destructor)) static void end(void)
{
    say("main ends"); /* break: end */
}

static void *open_one(const char *name, int flags)
{
    void *handle = dlopen(name, flags);
    if (handle == NULL)
        say(dlerror());
    return handle;
}

static void by_atexit(void)
{
    say("atexit"); /* break: atexit */
}

int main(void)
{
    atexit(by_atexit);
    say(first() + left() > 2 ? "main" : "?"); /* break: main */
    open_one("libtree.so", RTLD_NOW);
    open_one("libglobal.so", RTLD_NOW | RTLD_GLOBAL);
    open_one("libopener.so", RTLD_NOW);
    open_one("libbound.so", RTLD_NOW); /* it needs global, and says so nowhere */
    open_one("libtail.so", RTLD_NOW);
    void *gone = open_one("libgone.so", RTLD_NOW);
#ifdef LM_ID_NEWLM
    void *other = dlmopen(LM_ID_NEWLM, "libtree.so", RTLD_NOW);
    if (other == NULL)
        say(dlerror());
#endif
    dlclose(gone);
    open_one("libleaf.so", RTLD_NOW);
    say("loaded"); /* break: loaded */
    return 0;
}
