/* Functions whose names no language has: with dots, spaces, an escape sequence, a byte that is no
   UTF-8, HTML. */
#if defined __x86_64__
#define CALL(name) __asm__ volatile("call " name ::: "memory")
#define TYPE "@function"
#else
#define CALL(name) __asm__ volatile("bl " name ::: "memory", "x16", "x17", "x30")
#define TYPE "%function"
#endif
#define FUNCTION(name) \
    __asm__(".globl " name "\n.type " name "," TYPE "\n" name ":\n\tret\n.size " name ", .-" name "\n")

FUNCTION("dotted.name.1");
FUNCTION("\"with space\"");
FUNCTION("\"red\033[31m\"");
FUNCTION("\"caf\xe9\"");
FUNCTION("\"<b>&amp;\"");

int plugin_run(void);

int plugin_run(void)
{
    CALL("dotted.name.1");
    CALL("\"with space\"");
    CALL("\"red\033[31m\"");
    CALL("\"caf\xe9\"");
    CALL("\"<b>&amp;\"");
    return 0;
}
