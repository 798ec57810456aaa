/* Its DT_INIT prints, and its constructor opens another library, which it closes no more. */
#include <dlfcn.h>
#include "say.h"

void own_init(void);
void own_fini(void);

void own_init(void)
{
    say("opener's DT_INIT"); /* break: init */
}

void own_fini(void)
{
    say("opener's DT_FINI"); /* break: fini */
}

__attribute__((constructor)) static void begin(void)
{
    say("opener begins");
    if (dlopen("libinner.so", RTLD_NOW) == NULL) /* break: nested */
        say(dlerror());
    say("opener has begun"); /* break: begun */
}

__attribute__((destructor)) static void end(void)
{
    say("opener ends");
}
