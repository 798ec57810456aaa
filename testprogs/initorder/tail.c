/* Optimized, its constructor and its destructor end in jumps: their frames are gone in work(). */
#include "say.h"

__attribute__((noinline)) static void work(const char *text)
{
    say(text); /* break: tail */
    __asm__ volatile("");
}

__attribute__((constructor)) static void begin(void)
{
    work("tail begins");
}

__attribute__((destructor)) static void end(void)
{
    work("tail ends");
}
