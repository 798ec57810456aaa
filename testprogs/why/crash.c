/* libcrash.so dies in its constructor. */
static void __attribute__((constructor)) dies_early(void)
{
    *(volatile int *)16 = 1; /* break: crash */
}
