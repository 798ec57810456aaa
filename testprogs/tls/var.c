/* One thread-local variable, initialised, one zeroed, and a function that counts with them. NAME(x)
   gives each library its own names; the TLS model comes from the compiler's options. */
#define JOIN(a, b) a##_##b
#define EXPAND(a, b) JOIN(a, b)
#define NAME(x) EXPAND(x, MODEL)

__thread int NAME(initialised) = START;
__thread int NAME(zeroed);
int NAME(touch)(void);

int NAME(touch)(void)
{
    NAME(zeroed)++;
    return ++NAME(initialised);
}
