/* The names of the libraries before it, and calls of them all. */
int sysv(void), gnu(void), both(void), second_calls(void);

int sysv(void) { return 2; }
int gnu(void) { return 2; }
int both(void) { return 2; }

int second_calls(void)
{
    return sysv() + 10 * gnu() + 100 * both();
}
