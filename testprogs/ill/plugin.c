/* An instruction that no CPU has. */
#ifdef __x86_64__
#define UNDEFINED "ud2"
#else
#define UNDEFINED ".inst 0" /* udf */
#endif

int plugin_run(void);

int plugin_run(void)
{
    __asm__ volatile(UNDEFINED); /* break: crash */
    return 1;
}
